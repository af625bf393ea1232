"""The same attacks as in ``test_attacks.py``, with Crossbar.io as the router.

Crossbar.io reveals more than the embedded router: whether a procedure exists, for example. It may also end
the session of a client that sends something malformed. These tests only check that no attack succeeds.
"""

from __future__ import annotations

import itertools
import json
import typing as t

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

from flask_wamp.router.meta import PROCEDURES as META_PROCEDURES
from tests.support.browser import Browser, Refused
from tests.support.served import Served

from .conftest import crossbar, two_workers
from .test_attacks import ALLOWED_META, FORGED, HELLOS, NARROWED, OTHERS, OWN, PRIVATE, WHO
from .visitor import Visitor

pytest.importorskip("flask_login")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.router,
    pytest.mark.parametrize("router", [crossbar], indirect=True),
]

NOT_AUTHORIZED = "wamp.error.not_authorized"
#: Errors of Crossbar.io before it asks the app.
BEFORE = {
    "wamp.error.invalid_uri",
    "wamp.error.invalid_argument",
    "wamp.error.no_such_procedure",
    "wamp.error.procedure_already_exists",
    "wamp.error.procedure_exists_with_different_invocation_policy",
}


@pytest.fixture(scope="module")
def club(router: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Served]:
    with two_workers("club", router, tmp_path_factory) as server:
        yield server


def visitor(club: Served, who: str) -> Visitor:
    return Visitor(club.port, None if who == "unknown" else who)


class Attacker:
    """A session that joins again if the router has ended it."""

    def __init__(self, club: Served, who: str) -> None:
        self._visitor = visitor(club, who)
        self.browser = self._join()

    def _join(self) -> Browser:
        return self._visitor.join_router()

    def fails(self, ask: t.Callable[[Browser], object]) -> None:
        """Check that a request is refused, or ends the session."""
        try:
            answer = ask(self.browser)
        except Refused as error:
            assert error.uri == NOT_AUTHORIZED or error.uri in BEFORE, error
        except ConnectionClosed:
            self.browser = self._join()
        else:
            raise AssertionError(f"it was allowed: {answer}")


@pytest.fixture(params=WHO)
def attacker(club: Served, request: pytest.FixtureRequest) -> t.Iterator[Attacker]:
    made = Attacker(club, request.param)
    yield made
    made.browser.__exit__()


@pytest.fixture
def bob(club: Served) -> t.Iterator[Browser]:
    """A member who must not be disturbed."""
    with Visitor(club.port, "bob").join_router() as browser:
        for topic in ("com.club.user.bob.inbox", "com.club.news"):
            browser.subscribe(topic)
        browser.subscribe("com.club.board.", match="prefix")
        yield browser
        browser.call("com.club.whoami")  # earlier events have arrived by now
        assert browser.events == []


@pytest.mark.parametrize("who", WHO)
def test_a_forged_hello(club: Served, who: str) -> None:
    for hello in HELLOS:
        try:
            browser = visitor(club, who).join_router(hello=hello)
        except (Refused, ConnectionClosed):
            continue
        with browser:
            as_anonymous = who == "unknown" or hello.get("authmethods") == ["anonymous"]
            assert browser.authrole == ("anonymous" if as_anonymous else "member"), hello
            assert browser.authid not in ("bob", "backend", "flask")
            assert browser.call("com.club.whoami")["authid"] == browser.authid
            with pytest.raises(Refused, match=NOT_AUTHORIZED):
                browser.call("com.club.secret")


@pytest.mark.parametrize("method", ["unix", "cookie", "internal", "anonymous-proxy", "trusted"])
def test_methods_that_are_not_offered(club: Served, method: str) -> None:
    hello = {"authmethods": [method], "authid": "bob"}
    with pytest.raises((Refused, ConnectionClosed)):
        Visitor(club.port).join_router(hello=hello)


@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("realm", ["realm2", "wamp", "com.club"])
def test_another_realm(club: Served, who: str, realm: str) -> None:
    with pytest.raises(Refused, match="no_such_realm"):
        visitor(club, who).join_router(realm=realm)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_another_origin(club: Served, origin: str) -> None:
    with pytest.raises(InvalidStatus, match="400"):
        Visitor(club.port, "eve").join_router(origin=origin)


def test_procedures_of_the_router(attacker: Attacker) -> None:
    known = attacker.browser.authrole != "anonymous"
    for procedure in META_PROCEDURES:
        # With these, clients would exceed their rights, so the app refuses them.
        unchecked = procedure in ("wamp.session.add_testament", "wamp.subscription.get_events")
        if unchecked or not (known and procedure in ALLOWED_META):
            attacker.fails(lambda browser, uri=procedure: browser.call(uri, 1))  # type: ignore[misc]


def test_procedures_that_no_client_may_call(attacker: Attacker) -> None:
    names = ["authenticate", "authorize", "logouts", "lease.schedule", "deliver", "redeem.x"]
    procedures = [f"{OWN}.{name}" for name in names]
    procedures += [
        "flask.auth.ticket",
        "flask.auth.authorize",
        "com.club.secret",
        "com",
        "com.club",
    ]
    for procedure in procedures:
        for options in ({}, FORGED, {"receive_progress": True, "timeout": 1}):
            attacker.fails(
                lambda browser, uri=procedure, options=options: browser.ask(  # type: ignore[misc]
                    48, options, uri, ["realm1", "printer", {"authmethod": "ticket"}]
                )
            )


def test_forward_for_is_refused(attacker: Attacker) -> None:
    entry = FORGED["forward_for"]
    for options in ({"forward_for": entry}, {"forward_for": entry * 3}, FORGED):  # type: ignore[operator]
        attacker.fails(
            lambda browser, options=options: browser.ask(48, options, "com.club.whoami", [])  # type: ignore[misc]
        )
        attacker.fails(
            lambda browser, options=options: browser.ask(  # type: ignore[misc]
                16, {**options, "acknowledge": True}, "com.club.hello", ["forged"]
            )
        )
    browser = attacker.browser
    others = {key: value for key, value in FORGED.items() if key != "forward_for"}
    seen = browser.ask(48, {**others, "disclose_me": True}, "com.club.whoami", [])[3][0]
    assert (seen["authid"], seen["authrole"]) == (browser.authid, browser.authrole)


def test_nothing_can_be_registered(attacker: Attacker) -> None:
    policies = ("single", "roundrobin", "random", "first", "last")
    for procedure in ("com.club.order", "com.club.secret", "com.club.new", f"{OWN}.authorize"):
        for match, invoke, force in itertools.product(
            ("exact", "prefix", "wildcard"), policies, (False, True)
        ):
            options = {"match": match, "invoke": invoke, "force_reregister": force}
            attacker.fails(
                lambda browser, uri=procedure, options=options: browser.register(uri, **options)  # type: ignore[misc]
            )


def test_private_topics_cannot_be_subscribed(club: Served, attacker: Attacker) -> None:
    Visitor(club.port).get("/keep/plan")
    for (topic, match), retained in itertools.product(PRIVATE, (True, False)):
        attacker.fails(
            lambda browser, topic=topic, options={"match": match, "get_retained": retained}: (  # type: ignore[misc]
                browser.subscribe(topic, **options)
            )
        )
    Visitor(club.port).get("/tell/bob/secret")
    attacker.browser.call("com.club.whoami")
    assert attacker.browser.events == []


def test_topics_that_no_client_may_publish_to(attacker: Attacker, bob: Browser) -> None:
    for topic, options in itertools.product(OTHERS, NARROWED):
        attacker.fails(
            lambda browser, topic=topic, options=options: browser.ask(  # type: ignore[misc]
                16, {**options, "acknowledge": True}, topic, ["forged"]
            )
        )
        if None not in options.values():  # Crossbar.io ends the session for that
            attacker.browser.send([16, attacker.browser.next_id(), options, topic, ["forged"]])
    attacker.browser.call("com.club.whoami")


def test_testaments_and_history(attacker: Attacker, bob: Browser) -> None:
    for topic in ("com.club.user.bob.inbox", "com.club.news", "com.club.typing"):
        attacker.fails(
            lambda browser, topic=topic: browser.ask(  # type: ignore[misc]
                48, {}, "wamp.session.add_testament", [topic, ["forged"], {}]
            )
        )
    inbox = bob.subscribe("com.club.user.bob.inbox")
    attacker.fails(lambda browser: browser.call("wamp.subscription.get_events", inbox))


def test_requests_and_ids_of_others(attacker: Attacker, bob: Browser) -> None:
    inbox = bob.subscribe("com.club.user.bob.inbox")
    for code, number in itertools.product((34, 66), (inbox, 1, 2, 3)):  # UNSUBSCRIBE, UNREGISTER
        with pytest.raises(Refused, match="no_such_"):
            attacker.browser.ask(code, number)


def test_other_sessions_continue(club: Served, router: dict[str, str]) -> None:
    """This test runs after all other attacks on this module's server."""
    assert json.loads(router["FLASK_WAMP_ROUTER_LISTEN"])
    with Visitor(club.port, "bob").join_router() as bob:
        assert bob.call("com.club.order", "tea") == "tea"
    assert club.get("/ready")["joined"]
    assert "Traceback" not in club.log
