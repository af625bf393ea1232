"""Attacks of a page that has joined, as an unknown user and as a member called eve.

They go through a real server and the embedded router, with the rights of ``apps/club.py``.
"""

from __future__ import annotations

import contextlib
import itertools
import typing as t

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flask_wamp.router.meta import PROCEDURES as META_PROCEDURES
from flask_wamp.router.procedures import ADD_TICKET, CONFIGURE, END_LOGIN, SIGN_OUT, STATUS
from tests.conftest import eventually
from tests.support.browser import ROLES, Browser, Refused
from tests.support.served import Served

from .visitor import Visitor

pytest.importorskip("flask_login")

pytestmark = pytest.mark.slow

WHO = ["unknown", "eve"]
NOT_AUTHORIZED = "wamp.error.not_authorized"
#: Reserved URIs that the app allows to members by name, see ``apps/club.py``.
ALLOWED_META = {
    "wamp.session.add_testament",
    "wamp.subscription.get_events",
    "wamp.subscription.lookup",
}
OWN = "com.club.flask_wamp"

FORGED = {
    "forward_for": [{"session": 1, "authid": "bob", "authrole": "backend"}],
    "caller": 1,
    "caller_authid": "bob",
    "caller_authrole": "backend",
    "publisher": 1,
    "publisher_authid": "bob",
    "publisher_authrole": "backend",
    "authid": "bob",
    "authrole": "backend",
    "disclose_me": False,
}


@pytest.fixture(params=WHO)
def attacker(club: Served, request: pytest.FixtureRequest) -> t.Iterator[Browser]:
    with visitor(club, request.param).join() as browser:
        assert browser.authrole == ("member" if request.param == "eve" else "anonymous")
        yield browser


@pytest.fixture
def bob(club: Served) -> t.Iterator[Browser]:
    """A member who must not be disturbed."""
    with Visitor(club.port, "bob").join() as browser:
        browser.subscribe("com.club.user.bob.inbox")
        yield browser


def visitor(club: Served, who: str) -> Visitor:
    return Visitor(club.port, None if who == "unknown" else who)


def refused(ask: t.Callable[[], object], uri: str = NOT_AUTHORIZED) -> None:
    """Check that a request is refused, and that the text reveals nothing."""
    with pytest.raises(Refused) as error:
        ask()
    assert error.value.uri == uri
    if uri == NOT_AUTHORIZED:
        assert str(error.value) == f"{NOT_AUTHORIZED} ['not authorized']"


# Joining.


HELLOS: list[dict[str, t.Any]] = [
    {"authid": "bob"},
    {"authid": "backend", "authrole": "backend"},
    {"authrole": "backend"},
    {"authid": None},
    {"authextra": {"authid": "bob", "authrole": "backend", "role": "backend"}},
    {"authextra": {"browser": "x", "since": 9e99, "flask_wamp": {"app": "club"}}},
    {"authmethod": "unix", "authprovider": "memory"},
    {"authmethod": "unix", "authprovider": "embedded"},
    {"authmethods": ["anonymous"], "authid": "backend"},
    {"forward_for": FORGED["forward_for"]},
    {"transport": {"auth": {"authid": "bob"}}},
    {"session": 1, "resume-session": 1, "resume-token": "x"},
]


@pytest.mark.parametrize("hello", HELLOS)
@pytest.mark.parametrize("who", WHO)
def test_a_forged_hello(club: Served, who: str, hello: dict[str, t.Any]) -> None:
    with visitor(club, who).join(hello=hello) as browser:
        if who == "eve":
            assert (browser.authid, browser.authrole) == ("eve", "member")
        else:
            assert browser.authid.startswith("anonymous-")
            assert browser.authrole == "anonymous"
        assert browser.welcome["authprovider"] not in ("memory", "embedded")
        refused(lambda: browser.call("com.club.secret"))
        assert browser.call("com.club.whoami")["authid"] == browser.authid


@pytest.mark.parametrize("method", ["unix", "cookie", "internal", "anonymous-proxy", "cryptosign"])
def test_methods_that_are_not_offered(club: Served, method: str) -> None:
    refused(
        lambda: Visitor(club.port).join(hello={"authmethods": [method], "authid": "bob"}),
        "wamp.error.no_matching_auth_method",
    )


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("realm", ["realm2", "wamp", "com.club"])
def test_another_realm(club: Served, who: str, realm: str) -> None:
    refused(lambda: visitor(club, who).join(realm=realm), "wamp.error.no_such_realm")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_origin(club: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="403"):
        Visitor(club.port, "eve").join(origin=origin)


@pytest.mark.parametrize("who", WHO)
def test_a_second_hello(club: Served, who: str, bob: Browser) -> None:
    with visitor(club, who).join() as browser:
        browser.send([1, "realm1", {"roles": ROLES, "authid": "bob", "authrole": "backend"}])
        assert browser.receive()[0] == 3
    assert bob.call("com.club.order", "tea") == "tea"


def test_a_hello_after_goodbye_keeps_the_identity(club: Served) -> None:
    eve = Visitor(club.port, "eve")
    with eve.join() as browser:
        again: list[t.Any] = [1, "realm1", {"roles": ROLES, "authid": "bob"}]
        browser.send([6, {}, "wamp.close.close_realm"])
        assert browser.receive()[0] == 6
        browser.send(again)
        welcome = browser.receive()
        assert (welcome[0], welcome[2]["authid"]) == (2, "eve")
        browser.send([6, {}, "wamp.close.close_realm"])
        assert browser.receive()[0] == 6
        eve.get("/logout")
        browser.send(again)
        answer = browser.receive()
        assert (answer[0], answer[2]) == (3, "wamp.error.authentication_denied")


# Calling.


@pytest.mark.parametrize("procedure", sorted(META_PROCEDURES))
def test_procedures_of_the_router(attacker: Browser, procedure: str) -> None:
    if attacker.authrole == "anonymous" or procedure not in ALLOWED_META:
        refused(lambda: attacker.call(procedure, 1))


@pytest.mark.parametrize(
    "procedure",
    [
        *(CONFIGURE, ADD_TICKET, SIGN_OUT, END_LOGIN, STATUS, "wamp.embedded.unknown"),
        *(f"{OWN}.{name}" for name in ("lease.schedule", "deliver", "tasks", "x", "lease.x")),
        *("com.club.secret", "com.club.unknown", "com.other", "com.club", "com"),
        *("com.club.secret.", "com.club..secret", "com.club.Secret", "COM.CLUB.SECRET"),
    ],
)
def test_procedures_that_no_client_may_call(attacker: Browser, procedure: str) -> None:
    arguments: list[t.Any] = [[["wamp.", "x"]], True]
    for options in ({}, FORGED, {"receive_progress": True, "timeout": 1}, {"rkey": 1}):
        with pytest.raises(Refused) as error:
            attacker.ask(48, options, procedure, arguments)
        assert error.value.uri in (NOT_AUTHORIZED, "wamp.error.invalid_uri")


def test_the_caller_cannot_be_forged(attacker: Browser) -> None:
    for options in (FORGED, {"forward_for": [FORGED["forward_for"][0]] * 3}):  # type: ignore[index]
        seen = attacker.ask(48, options, "com.club.whoami", [])[3][0]
        assert seen["authid"] in (attacker.authid, None)
        assert seen["authrole"] in (attacker.authrole, None)
        assert seen["caller_authid"] in (attacker.authid, None)
    assert attacker.call("com.club.whoami")["authid"] == attacker.authid


# Registering.


@pytest.mark.parametrize("match", ["exact", "prefix", "wildcard"])
@pytest.mark.parametrize("procedure", ["com.club.order", "com.club.secret", "com.club.new", "com"])
def test_nothing_can_be_registered(attacker: Browser, procedure: str, match: str) -> None:
    for invoke, force in itertools.product(
        ("single", "roundrobin", "random", "first", "last"), (False, True)
    ):
        options = {"match": match, "invoke": invoke, "force_reregister": force}
        # The same answer whether the procedure exists or not.
        refused(lambda options=options: attacker.register(procedure, **options))


@pytest.mark.parametrize("procedure", ["wamp.session.list", SIGN_OUT, f"{OWN}.deliver", "wamp."])
def test_reserved_procedures_cannot_be_registered(attacker: Browser, procedure: str) -> None:
    for match in ("exact", "prefix", "wildcard"):
        with pytest.raises(Refused) as error:
            attacker.register(procedure, match=match, force_reregister=True)
        assert error.value.uri in (NOT_AUTHORIZED, "wamp.error.invalid_uri")


# Subscribing.


#: Topics that are private, and patterns that reach them.
PRIVATE: list[tuple[str, t.Any]] = [
    ("com.club.user.bob.inbox", "exact"),
    ("com.club.user.bob.inbox", "prefix"),
    ("com.club.user.bob.inbox", "wildcard"),
    ("com.club.user.eve.inbox", "prefix"),
    ("com.club.user.", "prefix"),
    ("com.club.user..inbox", "wildcard"),
    ("com.club.user.eve.", "wildcard"),
    ("com.club..eve.inbox", "wildcard"),
    ("....", "wildcard"),
    ("com.club.private.plans", "exact"),
    ("com.club.private.", "prefix"),
    ("com.club.news", "prefix"),
    ("com.club.news", "wildcard"),
    ("com.club.", "prefix"),
    ("com.club.board", "prefix"),
    ("com.club..x", "wildcard"),
    ("com", "prefix"),
    ("", "prefix"),
    ("wamp.", "prefix"),
    ("wamp", "prefix"),
    ("w", "prefix"),
    ("wamp.session.on_join", "exact"),
    ("wamp.session.on_join", "prefix"),
    ("wamp.session.", "wildcard"),
    ("..on_join", "wildcard"),
    ("wamp..on_join", "wildcard"),
    (f"{OWN}.", "prefix"),
    (f"{OWN}.lease.x", "exact"),
    ("com.club..lease.x", "wildcard"),
    ("com.club.news", "else"),
    ("com.club.user.bob.inbox", 7),
]


@pytest.mark.parametrize(("topic", "match"), PRIVATE)
def test_private_topics_cannot_be_subscribed(
    club: Served, attacker: Browser, bob: Browser, topic: str, match: t.Any
) -> None:
    text = f"for bob, {attacker.session_id}"
    for retained in (True, False):
        with pytest.raises(Refused) as error:
            attacker.subscribe(topic, match=match, get_retained=retained)
        assert error.value.uri in (
            NOT_AUTHORIZED,
            "wamp.error.invalid_uri",
            "wamp.error.invalid_argument",
        )
    http = Visitor(club.port)
    http.get(f"/tell/bob/{text.replace(' ', '%20')}")
    assert bob.next_event() == [text]
    attacker.call("com.club.whoami")  # earlier events have arrived by now
    assert attacker.events == []


def test_retained_events_of_private_topics(club: Served, attacker: Browser) -> None:
    Visitor(club.port).get("/keep/plan")
    attacker.subscribe("com.club.news", get_retained=True)
    assert attacker.next_event() == ["plan"]
    for topic, match in [
        ("com.club.private.plans", "exact"),
        ("com.club.private.", "prefix"),
        ("com.club..plans", "wildcard"),
    ]:
        refused(
            lambda topic=topic, match=match: attacker.subscribe(
                topic, match=match, get_retained=True
            )
        )
    attacker.call("com.club.whoami")
    assert attacker.events == []


@pytest.mark.parametrize("name", ["x.y", "bob.inbox", "eve.", "."])
def test_an_authid_with_dots_has_no_inbox(club: Served, name: str) -> None:
    with Visitor(club.port, name).join() as browser:
        assert browser.authid == name
        for topic in (f"com.club.user.{name}.inbox", f"com.club.user.{name}"):
            with pytest.raises(Refused):
                browser.subscribe(topic)


def test_the_history_of_private_topics(club: Served, bob: Browser) -> None:
    with Visitor(club.port, "eve").join() as eve:
        subscription = eve.call("wamp.subscription.lookup", "com.club.user.bob.inbox")
        assert subscription is not None
        with pytest.raises(Refused):
            eve.call("wamp.subscription.get_events", subscription)


# Publishing.

#: Topics that no client outside the app may publish to.
OTHERS = [
    *("com.club.user.bob.inbox", "com.club.news", "com.club.board.x", "com.club.private.plans"),
    *("wamp.session.on_join", f"{OWN}.lease.schedule", "com.club.hello.x", "com"),
]

NARROWED: list[dict[str, t.Any]] = [
    {},
    FORGED,
    {"eligible_authid": ["bob"]},
    {"eligible_authrole": ["member", "backend"]},
    {"exclude_authid": ["eve"], "exclude_me": False},
    {"exclude": [], "eligible": None},
    {"retain": True},
]


@pytest.mark.parametrize("options", NARROWED)
@pytest.mark.parametrize("topic", OTHERS)
def test_topics_that_no_client_may_publish_to(
    club: Served, attacker: Browser, bob: Browser, topic: str, options: dict[str, t.Any]
) -> None:
    bob.subscribe("com.club.news")
    bob.subscribe("com.club.board.", match="prefix")
    while bob.events:
        bob.events.pop()
    with pytest.raises(Refused) as error:
        attacker.ask(16, {**options, "acknowledge": True}, topic, ["forged"])
    assert error.value.uri in (NOT_AUTHORIZED, "wamp.error.invalid_uri"), error.value
    attacker.send([16, attacker.next_id(), options, topic, ["forged"]])
    attacker.call("com.club.whoami")  # the router has seen it by now
    bob.call("com.club.whoami")
    assert [event for event in bob.events if "forged" in event[4:5]] == []
    assert not any("forged" in map(str, event) for event in bob.events)


def test_the_publisher_cannot_be_forged(club: Served, attacker: Browser) -> None:
    text = f"hello of {attacker.session_id}"
    attacker.ask(16, {**FORGED, "acknowledge": True}, "com.club.hello", [text])

    def heard() -> list[t.Any]:
        found: list[t.Any] = []
        for _ in range(8):  # of any worker
            found += [each for each in attacker.call("com.club.hellos") if each[2] == text]
        return found

    for authid, authrole, _ in eventually(heard):
        assert authid in (attacker.authid, None)
        assert authrole in (attacker.authrole, None)


@pytest.mark.parametrize(
    "topic", ["com.club.user.bob.inbox", "com.club.news", "wamp.session.on_join", f"{OWN}.x"]
)
def test_testaments_for_others(club: Served, bob: Browser, topic: str) -> None:
    bob.subscribe("com.club.news")
    bob.call("com.club.whoami")
    bob.events.clear()
    with Visitor(club.port, "eve").join() as eve:
        with pytest.raises(Refused) as error:
            eve.ask(48, {}, "wamp.session.add_testament", [topic, ["forged"], {}])
        assert error.value.uri in (NOT_AUTHORIZED, "wamp.error.invalid_uri")
        # One's own topic is allowed.
        eve.ask(48, {}, "wamp.session.add_testament", ["com.club.typing", ["gone"], {}])
    bob.call("com.club.whoami")
    assert bob.events == []


# Requests and ids of other sessions.


def test_requests_and_ids_of_others(club: Served, attacker: Browser, bob: Browser) -> None:
    inbox = bob.subscribe("com.club.user.bob.inbox")
    for code in (34, 66):  # UNSUBSCRIBE, UNREGISTER
        for number in (inbox, 1, 2, 3):
            with pytest.raises(Refused) as error:
                attacker.ask(code, number)
            assert error.value.uri in (
                "wamp.error.no_such_subscription",
                "wamp.error.no_such_registration",
            )
    for mode in ("kill", "killnowait", "skip"):
        attacker.send([49, 1, {"mode": mode}])  # CANCEL
    Visitor(club.port).get("/tell/bob/still")
    assert bob.next_event() == ["still"]


@pytest.mark.parametrize("message", [[70, 1, {}, ["forged"]], [8, 68, 1, {}, "x.y", ["forged"]]])
def test_answers_to_calls_of_others(
    club: Served, attacker: Browser, bob: Browser, message: list[t.Any]
) -> None:
    with contextlib.suppress(ConnectionClosed):
        attacker.send(message)
        assert attacker.call("com.club.whoami")["authid"] == attacker.authid
    assert bob.call("com.club.order", "tea") == "tea"


def test_other_sessions_continue(club: Served, bob: Browser) -> None:
    """This test runs after all other attacks on this module's server."""
    assert bob.call("com.club.order", "tea") == "tea"
    assert club.get("/ready")["joined"]
    assert "Traceback" not in club.log
