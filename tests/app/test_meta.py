"""``g.wampy.meta``: the calls to the router, and the results for usual and unusual answers."""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

import pytest
from flask import g

from flask_wamp import ApplicationError, CallTimeout, InvalidURI
from flask_wamp.client.client import Client
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.meta_types import RegistrationInfo, SessionInfo, SubscriptionInfo
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

COOKIE = "session=secret-cookie"
TRANSPORT = {
    "channel_framing": "websocket",
    "peer": "tcp4:127.0.0.1:44622",
    "is_secure": True,
    "websocket_protocol": "wamp.2.json",
    "http_headers_received": {"cookie": COOKIE, "host": "127.0.0.1"},
    "http_headers_sent": {"Set-Cookie": COOKIE},
    "http_cbtid": COOKIE,
}
JOE = {
    "session": 4,
    "authid": "joe",
    "authrole": "user",
    "authmethod": "ticket",
    "authprovider": "static",
    "authextra": {"team": "tea", "transport": TRANSPORT},
    "transport": TRANSPORT,
    "resumed": False,
}


@pytest.fixture
def client(serve: Serve) -> Client:
    """A client that has joined."""
    return serve()[1].client


@pytest.fixture
def calls(router: MemoryRouter) -> t.Callable[[], list[t.Any]]:
    """The calls: procedure, positional and keyword arguments."""
    return lambda: [(c.procedure, c.args, c.kwargs) for c in router.sent(m.Call)]


def fail(uri: str, *args: t.Any) -> t.Callable[..., t.Any]:
    """A procedure that fails."""

    def procedure(*_: t.Any, **__: t.Any) -> t.NoReturn:
        raise ApplicationError(uri, *args)

    return procedure


# Sessions.


def test_count_and_list(client: Client, router: MemoryRouter, calls: t.Any) -> None:
    router.register("wamp.session.count", lambda *roles: 7)
    router.register("wamp.session.list", lambda *roles: [1, 2])
    sessions = client.meta.sessions
    assert sessions.count() == 7
    assert sessions.count(["user"]) == 7
    assert sessions.list() == [1, 2]
    assert sessions.list("user") == [1, 2]
    assert [args for _, args, _ in calls()] == [[], [["user"]], [], [["user"]]]


def test_get(client: Client, router: MemoryRouter) -> None:
    router.register("wamp.session.get", lambda number: JOE)
    joe = client.meta.sessions.get(4)
    assert (joe.id, joe.authid, joe.authrole) == (4, "joe", "user")
    assert (joe.authmethod, joe.authprovider) == ("ticket", "static")
    assert joe.transport is not None
    assert joe.transport.framing == "websocket"
    assert joe.transport.peer == "tcp4:127.0.0.1:44622"
    assert joe.transport.is_secure is True
    assert joe.transport.protocol == "wamp.2.json"
    assert joe.details["resumed"] is False
    assert joe.details["authextra"]["team"] == "tea"
    with pytest.raises(dataclasses.FrozenInstanceError):
        joe.authid = "jim"  # type: ignore[misc]
    assert {joe, SessionInfo.parse(JOE)} == {joe}


def test_cookies_are_removed_unless_requested(client: Client, router: MemoryRouter) -> None:
    router.register("wamp.session.get", lambda number: JOE)
    joe = client.meta.sessions.get(4)
    assert joe.http_headers is None
    assert COOKIE not in str(dataclasses.asdict(joe))
    joe = client.meta.sessions.get(4, headers=True)
    assert joe.http_headers == {"cookie": COOKIE, "host": "127.0.0.1"}
    assert COOKIE not in repr(joe)
    assert COOKIE not in str(joe.details) + str(joe.transport)


@pytest.mark.parametrize("told", [None, {}, {"session": "x", "transport": 1, "authid": 5}, [1]])
def test_unusual_details(client: Client, router: MemoryRouter, told: t.Any) -> None:
    router.register("wamp.session.get", lambda number: told)
    joe = client.meta.sessions.get(4)
    assert (joe.id, joe.authid, joe.transport) == (4, None, None)
    with pytest.raises(ValueError, match="without an id"):
        SessionInfo.parse(told)


NO_METHOD = "'RealmStoreMemory' object has no attribute 'get_session_by_session_id'"


@pytest.mark.parametrize(
    "error", [("wamp.error.no_such_session", "none"), ("wamp.error.runtime_error", NO_METHOD)]
)
def test_unknown_session(client: Client, router: MemoryRouter, error: t.Any) -> None:
    router.register("wamp.session.get", fail(*error))
    with pytest.raises(ApplicationError) as raised:
        client.meta.sessions.get(4)
    assert raised.value.uri == "wamp.error.no_such_session"


def test_other_errors_are_not_changed(client: Client, router: MemoryRouter) -> None:
    router.register("wamp.session.get", fail("wamp.error.runtime_error", "boom"))
    with pytest.raises(ApplicationError, match="boom"):
        client.meta.sessions.get(4)
    router.register("wamp.session.list", fail("wamp.error.no_such_procedure"))
    with pytest.raises(ApplicationError, match="no_such_procedure"):
        client.meta.sessions.list()


def test_all_skips_sessions_that_have_ended_meanwhile(client: Client, router: MemoryRouter) -> None:
    def get(number: int) -> t.Any:
        if number == 5:
            raise ApplicationError("wamp.error.no_such_session")
        if number == 6:
            raise ApplicationError("wamp.error.runtime_error", NO_METHOD)
        return {**JOE, "session": number}

    router.register("wamp.session.list", lambda *roles: list(range(1, 201)))
    router.register("wamp.session.get", get)
    assert [s.id for s in client.meta.sessions.all()] == [1, 2, 3, 4, *range(7, 201)]


def test_a_session_with_unreadable_details_is_still_listed(
    serve: Serve, router: MemoryRouter
) -> None:
    def get(number: int) -> t.Any:
        if number == 2:
            raise ApplicationError("wamp.error.invalid_argument", "the payload cannot be decoded")
        return {**JOE, "session": number, "authextra": "x" * 100_000 if number == 3 else {}}

    client = serve(WAMP_MAX_MESSAGE_SIZE=50_000)[1].client
    router.register("wamp.session.list", lambda: [1, 2, 3])
    router.register("wamp.session.get", get)
    sessions = client.meta.sessions.all()
    assert [(s.id, s.authid) for s in sessions] == [(1, "joe"), (2, None), (3, None)]
    router.hold("wamp.session.get")
    sessions = client.with_options(timeout=0.1).meta.sessions.all()
    assert sessions == [SessionInfo(1), SessionInfo(2), SessionInfo(3)]


def test_deeply_nested_details_are_truncated() -> None:
    deep: t.Any = []
    for _ in range(5000):
        deep = [deep]
    info = SessionInfo.parse({"session": 4, "authid": "joe", "authextra": {"deep": deep}})
    assert info.authid == "joe"
    assert len(str(info.details)) < 200


def test_kill(client: Client, router: MemoryRouter, calls: t.Any) -> None:
    router.register("wamp.session.kill", lambda number, **why: None)
    router.register("wamp.session.kill_by_authid", lambda authid, **why: [1])
    router.register("wamp.session.kill_by_authrole", lambda authrole, **why: [1, 2])
    sessions = client.meta.sessions
    sessions.kill(4)
    sessions.kill(4, reason="com.example.kicked", message="go away")
    assert sessions.kill_by_authid("joe", message="go") == [1]
    assert sessions.kill_by_authrole("user") == [1, 2]
    why = {"reason": "com.example.kicked", "message": "go away"}
    assert calls() == [
        ("wamp.session.kill", [4], {}),
        ("wamp.session.kill", [4], why),
        ("wamp.session.kill_by_authid", ["joe"], {"message": "go"}),
        ("wamp.session.kill_by_authrole", ["user"], {}),
    ]
    with pytest.raises(InvalidURI):
        sessions.kill(4, reason="not a uri")


def test_a_missing_permission_is_named(client: Client, router: MemoryRouter) -> None:
    router.register("wamp.session.list", lambda: [1])
    router.refuse("wamp.session.get")
    router.refuse("wamp.session.count")
    for ask in (client.meta.sessions.count, client.meta.sessions.all):
        with pytest.raises(ApplicationError) as raised:
            ask()
        assert raised.value.uri == "wamp.error.not_authorized"
        assert '"allow": {"call": true}' in raised.value.args[0]
        assert '"uri": "wamp.session.' in raised.value.args[0]
        assert raised.value.args[1:] == ("not today",)


def test_in_a_view(serve: Serve, router: MemoryRouter) -> None:
    app, _ = serve()
    router.register("wamp.session.count", lambda: 2)

    @app.get("/")
    def index() -> str:
        return str(g.wampy.meta.sessions.count())

    assert app.test_client().get("/").text == "2"


# Registrations and subscriptions.

CREATED = "2026-11-21T07:16:58.442Z"
BY_MATCH = {"exact": [1, 2], "prefix": [3], "wildcard": []}


def test_registrations(client: Client, router: MemoryRouter, calls: t.Any) -> None:
    told = {"id": 5, "uri": "com.x", "match": "exact", "invoke": "single", "created": CREATED}
    protected = ApplicationError(
        "wamp.error.not_authorized", 'not authorized to get registration for protected URI "wamp.x"'
    )

    def get(number: int) -> t.Any:
        if number == 2:
            raise protected
        return {**told, "id": number}

    router.register("wamp.registration.list", lambda *session: BY_MATCH)
    router.register("wamp.registration.get", get)
    router.register("wamp.registration.lookup", lambda uri, options=None: None if options else 5)
    router.register("wamp.registration.match", lambda uri: 5)
    router.register("wamp.registration.list_callees", lambda number: [7])
    router.register("wamp.registration.count_callees", lambda number: 1)
    registrations = client.meta.registrations
    assert registrations.list() == [1, 2, 3]
    assert registrations.list(77) == [1, 2, 3]
    info = registrations.get(5)
    assert (info.id, info.uri, info.match, info.invoke) == (5, "com.x", "exact", "single")
    assert info.created == dt.datetime(2026, 11, 21, 7, 16, 58, 442000, dt.timezone.utc)
    assert [info.id for info in registrations.all()] == [1, 3]
    with pytest.raises(ApplicationError, match="protected URI"):
        registrations.get(2)
    assert registrations.lookup("com.x") == 5
    assert registrations.lookup("com.", match="prefix") is None
    assert registrations.match("com.x") == 5
    assert registrations.list_callees(5) == [7]
    assert registrations.count_callees(5) == 1
    asked = [(procedure, args) for procedure, args, _ in calls()]
    assert ("wamp.registration.list", [77]) in asked
    assert ("wamp.registration.lookup", ["com.", {"match": "prefix"}]) in asked


def test_subscriptions(client: Client, router: MemoryRouter) -> None:
    router.register("wamp.subscription.list", lambda *session: BY_MATCH)
    router.register("wamp.subscription.get", lambda number: {"uri": "com.x", "match": "prefix"})
    router.register("wamp.subscription.lookup", lambda uri, options=None: 5)
    router.register("wamp.subscription.match", lambda uri: None if uri == "com.y" else [5, 6])
    router.register("wamp.subscription.list_subscribers", lambda number: [7])
    router.register("wamp.subscription.count_subscribers", lambda number: 1)
    subscriptions = client.meta.subscriptions
    assert subscriptions.list() == [1, 2, 3]
    assert subscriptions.get(5) == SubscriptionInfo(
        5, "com.x", "prefix", details={"uri": "com.x", "match": "prefix"}
    )
    assert [info.id for info in subscriptions.all()] == [1, 2, 3]
    assert subscriptions.lookup("com..x", match="wildcard") == 5
    assert subscriptions.match("com.x") == [5, 6]
    assert subscriptions.match("com.y") == []
    assert subscriptions.list_subscribers(5) == [7]
    assert subscriptions.count_subscribers(5) == 1
    with pytest.raises(InvalidURI):
        subscriptions.match("com..x")
    with pytest.raises(ValueError, match="must be one of 'exact'"):
        subscriptions.lookup("com.x", match="regex")


def test_subscribers_of_a_topic_with_a_history(client: Client, router: MemoryRouter) -> None:
    text = "'RealmStoreMemory' object has no attribute '_session_id'"
    router.register("wamp.subscription.list_subscribers", fail("wamp.error.runtime_error", text))
    router.register("wamp.session.list", lambda: [11, 12])
    router.register("wamp.subscription.list", lambda session: {"exact": [session - 6]})
    assert client.meta.subscriptions.list_subscribers(5) == [11]


@pytest.mark.parametrize("told", [None, {"created": "then", "uri": 7, "id": "x"}, 5])
def test_unusual_registrations(told: t.Any) -> None:
    info = RegistrationInfo.parse(told, 9)
    assert (info.id, info.uri, info.created, info.invoke) == (9, None, None, None)


def test_options_of_a_client_view_apply(client: Client, router: MemoryRouter) -> None:
    router.hold("wamp.session.count")
    with pytest.raises(CallTimeout):
        client.with_options(timeout=0.05).meta.sessions.count()
