"""One deadline covers a request from its start to its answer, and leaves no pending record."""

from __future__ import annotations

import typing as t

import pytest
from flask import g

from flask_wamp import CallTimeout, FlaskWAMP, NotJoined
from flask_wamp.client.client import Client
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

MakeApp = t.Callable[..., t.Any]


@pytest.fixture(autouse=True)
def nothing_hangs(router: MemoryRouter, make_app: MakeApp) -> t.Iterator[None]:
    """End the attempts to join a router that does not answer, before the clients are stopped."""
    yield
    router.give_up()


#: Waiting for a session.
REQUESTS: dict[str, t.Callable[[Client], object]] = {
    "call": lambda client: client.call("com.example.add", 1),
    "submit": lambda client: client.submit("com.example.add", 1),
    "stream": lambda client: client.stream("com.example.add", 1),
    "publish": lambda client: client.publish("com.example.news", 1),
    "acknowledged": lambda client: client.with_options(acknowledge=True).publish(
        "com.example.news"
    ),
    "meta": lambda client: client.meta.sessions.count(),
    "history": lambda client: client.history("com.example.news"),
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
def test_the_timeout_covers_the_wait_for_a_session(
    make_app: MakeApp, router: MemoryRouter, request_: t.Callable[[Client], object]
) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL="ws://in.memory/ws", WAMP_CONNECT_TIMEOUT=60.0))
    with pytest.raises(NotJoined, match="still connecting"):
        request_(wamp.client.with_options(timeout=0.05))
    assert wamp.client.peer is not None
    assert wamp.client.peer.failure is None, "the first attempt has not ended yet"


def test_a_stream_of_events_opens_after_its_timeout_without_a_session(
    make_app: MakeApp, router: MemoryRouter
) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL="ws://in.memory/ws", WAMP_CONNECT_TIMEOUT=60.0))
    with wamp.client.with_options(timeout=0.05).events("com.example.news") as events:
        router.wait_for(m.Hello)
        router.welcome()
        eventually(lambda: "com.example.news" in router.topics)
        router.publish("com.example.news", 1)
        assert next(events).args == [1]


@pytest.mark.parametrize("name", ["call", "publish"])
def test_the_deadline_of_a_handler_covers_the_wait_for_a_session(
    serve: Serve, router: MemoryRouter, name: str
) -> None:
    raised: list[BaseException] = []

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee(timeout=0.3)
        def outer() -> None:
            router.silent = True
            router.drop()
            client = g.wampy
            eventually(lambda: not client.joined)
            try:
                REQUESTS[name](client)
            except BaseException as error:  # gevent.Timeout, too
                raised.append(error)
                raise

    _, wamp = serve(setup, WAMP_CONNECT_TIMEOUT=60.0)
    router.invoke("com.example.outer")
    eventually(lambda: raised)
    assert wamp.client.peer is not None
    assert wamp.client.peer.failure is None, "the first attempt has not ended yet"


def test_many_short_timeouts_of_a_stream_take_a_short_time(
    serve: Serve, router: MemoryRouter
) -> None:
    """It takes twenty times 0.01 seconds, not twenty times a second."""
    _, wamp = serve()
    held = router.hold("com.example.slow")
    submitted = wamp.client.with_options(timeout=10).submit("com.example.slow")
    for _ in range(20):
        with pytest.raises(CallTimeout):
            next(wamp.client.with_options(timeout=0.01).stream("com.example.slow"))
    assert not submitted.done(), "it would have timed out meanwhile"
    held.get(timeout=1).answer(1)
    assert submitted.result(10) == 1


# Leftovers of a request that timed out.


@pytest.mark.parametrize(
    "request_",
    [
        REQUESTS["call"],
        REQUESTS["acknowledged"],
        lambda client: client.submit("com.example.add").result(),
        lambda client: next(client.stream("com.example.add")),
        lambda client: client.testament("com.example.gone"),
        lambda client: client.meta.sessions.count(),
    ],
    ids=["call", "acknowledged", "submit", "stream", "testament", "meta"],
)
def test_timeouts_leave_no_pending_record(
    serve: Serve, router: MemoryRouter, request_: t.Callable[[Client], object]
) -> None:
    _, wamp = serve()
    router.silent = True
    client = wamp.client.with_options(timeout=0.01)
    for _ in range(20):
        with pytest.raises(CallTimeout):
            request_(client)
    assert wamp.client.peer is not None and wamp.client.peer.connection is not None
    session = wamp.client.peer.connection.session
    eventually(lambda: not session._pending)
