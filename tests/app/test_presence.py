"""``@wamp.on_session_join`` and ``@wamp.on_session_leave``: the arguments of handlers and their order."""

from __future__ import annotations

import logging
import threading
import typing as t

import pytest
from flask import Flask, current_app, g

from flask_wamp import FlaskWAMP, SessionInfo, WAMPBlueprint, event
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

ON_JOIN, ON_LEAVE = "wamp.session.on_join", "wamp.session.on_leave"
COOKIE = "session=secret-cookie"


def joe(number: int) -> dict[str, t.Any]:
    """The payload of Crossbar's ``wamp.session.on_join``."""
    transport = {"channel_framing": "websocket", "http_headers_received": {"cookie": COOKIE}}
    return {"session": number, "authid": "joe", "authrole": "user", "transport": transport}


class Seen(list[t.Any]):
    """The sessions that handlers saw."""

    def joined(self, session: SessionInfo) -> None:
        self.append(("joined", session.id, session.authid))

    def left(self, session: SessionInfo) -> None:
        self.append(("left", session.id, session.authid))


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def watched(serve: Serve, seen: Seen) -> FlaskWAMP:
    """An app that notes who joins and leaves."""

    def setup(wamp: FlaskWAMP) -> None:
        wamp.on_session_join(seen.joined)
        wamp.on_session_leave(seen.left)

    return serve(setup)[1]


def test_handlers_get_sessions_that_join_and_leave(
    watched: FlaskWAMP, router: MemoryRouter, seen: Seen
) -> None:
    router.announce(ON_JOIN, joe(4))
    router.announce(ON_LEAVE, 4)
    router.announce(ON_LEAVE, 5)
    router.announce(ON_LEAVE, 6, "jim", "user")
    eventually(lambda: len(seen) == 4)
    assert seen == [("joined", 4, "joe"), ("left", 4, "joe"), ("left", 5, None), ("left", 6, "jim")]


def test_join_is_handled_before_leave(serve: Serve, router: MemoryRouter) -> None:
    seen = Seen()
    go = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.on_session_join
        def joined(session: SessionInfo) -> None:
            go.wait(TIMEOUT)
            seen.joined(session)

        wamp.on_session_leave(seen.left)

    serve(setup)
    for number in range(50):
        router.announce(ON_JOIN, joe(number + 1))
        router.announce(ON_LEAVE, number + 1)
    go.set()
    eventually(lambda: len(seen) == 100)
    assert [number for _, number, _ in seen] == [1 + i // 2 for i in range(100)]
    assert [what for what, _, _ in seen] == ["joined", "left"] * 50


def test_all_handlers_run_each_with_its_hooks(serve: Serve, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def setup(wamp: FlaskWAMP) -> None:
        blueprint = WAMPBlueprint("staff", uri_prefix=".staff")
        wamp.register_blueprint(blueprint)

        @wamp.on_session_join()
        def first(session: SessionInfo) -> None:
            seen.append(("first", current_app.name, hasattr(g, "mark"), event.topic))
            raise RuntimeError("that does not keep the others from running")

        @blueprint.before_dispatch
        def mark(message: t.Any) -> None:
            g.mark = True
            seen.append(message.args)

        @blueprint.on_session_join(middlewares=[lambda next_, message: next_(message)])
        def second(session: SessionInfo) -> None:
            seen.append(("second", g.mark, session))

    serve(setup)
    router.announce(ON_JOIN, joe(4))
    eventually(lambda: len(seen) == 3)
    assert seen[0] == ("first", "tests", False, ON_JOIN)
    assert seen[1:] == [[SessionInfo.parse(joe(4))], ("second", True, SessionInfo.parse(joe(4)))]
    assert len(router.sent(m.Subscribe)) == 1
    assert COOKIE not in repr(seen)


def test_handlers_may_be_decorated_while_joined(
    serve: Serve, router: MemoryRouter, seen: Seen
) -> None:
    _, wamp = serve()
    wamp.on_session_leave(seen.left)
    wamp.on_session_leave(lambda session: seen.append("again"))
    wamp.on_session_join(seen.joined)
    assert {each.topic for each in router.sent(m.Subscribe)} == {ON_JOIN, ON_LEAVE}
    router.announce(ON_JOIN, joe(4))
    router.announce(ON_LEAVE, 4)
    eventually(lambda: len(seen) == 3)
    assert seen == [("joined", 4, "joe"), ("left", 4, "joe"), "again"]


def test_an_ordinary_subscriber_gets_the_same_events(
    watched: FlaskWAMP, router: MemoryRouter, seen: Seen
) -> None:
    watched.client.subscribe(lambda details: seen.append(details["session"]), ON_JOIN)
    router.announce(ON_JOIN, joe(4))
    eventually(lambda: len(seen) == 2)
    assert set(seen) == {4, ("joined", 4, "joe")}


def test_after_a_reconnect(watched: FlaskWAMP, router: MemoryRouter, seen: Seen) -> None:
    router.announce(ON_JOIN, joe(4))
    eventually(lambda: len(seen) == 1)
    router.drop()
    router.wait_for(m.Subscribe, 4)
    watched.client.wait_until_joined(TIMEOUT)
    router.announce(
        ON_LEAVE, 4
    )  # perhaps another session: ids from before the loss are no longer valid
    router.announce(ON_JOIN, joe(5))
    router.announce(ON_LEAVE, 5)
    eventually(lambda: len(seen) == 4)
    assert seen[1:] == [("left", 4, None), ("joined", 5, "joe"), ("left", 5, "joe")]


def test_invalid_events_are_ignored(
    watched: FlaskWAMP, router: MemoryRouter, seen: Seen, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        router.announce(ON_JOIN)
        router.announce(ON_JOIN, {"authid": "joe"})
        router.announce(ON_LEAVE, "x")
        router.announce(ON_JOIN, {"session": 4})
        eventually(lambda: seen == [("joined", 4, None)])
    assert caplog.text.count("is ignored: the router described a session without an id") == 3


def test_two_apps(make_app: t.Callable[..., Flask], router: MemoryRouter, seen: Seen) -> None:
    wamp = FlaskWAMP()
    wamp.on_session_join(seen.joined)
    for name in ("one", "two"):
        app = make_app(name, WAMP_ROUTER_URL="ws://router.in.memory/ws")
        wamp.init_app(app)
        with app.app_context():
            wamp.start()
            wamp.client.wait_until_joined(TIMEOUT)
    router.announce(ON_JOIN, joe(4))
    eventually(
        lambda: len(seen) == 3
    )  # both apps learn of joe, and the first app learns of the second one


def test_a_topic_is_refused() -> None:
    wamp = FlaskWAMP()
    with pytest.raises(TypeError, match="takes no topic"):
        wamp.on_session_join("com.example.topic")(print)
    with pytest.raises(TypeError, match="concurrency"):
        wamp.on_session_leave(concurrency=2)(print)
