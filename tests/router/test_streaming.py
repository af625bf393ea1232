"""Progressive results, in both directions: generators that are called, ``g.wampy.stream``."""

from __future__ import annotations

import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP, TooSlow, invocation
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

LINES = [("url", "json"), ("url", "msgpack"), ("rawsocket_url", "msgpack")]


@pytest.fixture(params=LINES, ids=["ws-json", "ws-msgpack", "rawsocket-msgpack"])
def line(
    request: pytest.FixtureRequest, join: t.Callable[..., t.Any], wamp_router: DevRouter
) -> FlaskWAMP:
    """An extension that has joined over one transport with one serializer."""
    url, serializer = request.param
    _, wamp = join(getattr(wamp_router, url), WAMP_SERIALIZERS=[serializer])
    return t.cast(FlaskWAMP, wamp)


def _forever(wamp: FlaskWAMP) -> threading.Event:
    """A generator that continues until it is closed, and records that."""
    closed = threading.Event()

    @wamp.callee
    def forever() -> t.Iterator[int]:
        number = 0
        pause = threading.Event()
        try:
            while True:
                yield number
                number += 1
                pause.wait(0.01)
        finally:
            assert invocation.procedure == "com.example.forever"
            assert g.wampy is not None  # in its app context
            closed.set()

    return closed


def test_autobahn_gets_what_a_generator_yields(line: FlaskWAMP, peer: AutobahnPeer) -> None:
    @line.callee
    def count(upto: int) -> t.Any:
        yield from range(upto)
        return "end"

    call = peer.submit("com.example.count", 3, progress=True)
    assert [call.progress() for _ in range(3)] == [0, 1, 2]
    assert call.wait().value == "end"
    assert peer.call("com.example.count", 3).value == "end"


def test_the_result_contains_all_items_without_receive_progress(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    @wamp.callee
    def count(upto: int) -> t.Any:
        yield from range(upto)

    assert peer.call("com.example.count", 3).value == [0, 1, 2]
    call = peer.submit("com.example.count", 2, progress=True)
    assert call.wait().value is None


def test_a_stream_of_autobahn_results(line: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.shop.steps", "progress", items=[1, "two", {"three": 3}])
    stream = line.client.stream("com.shop.steps", "end")
    assert list(stream) == [1, "two", {"three": 3}, "end"]
    assert list(stream) == []


def test_a_final_none_is_not_an_item(wamp: FlaskWAMP) -> None:
    @wamp.callee
    def count(upto: int) -> t.Any:
        yield from range(upto)

    @wamp.callee
    def nothing() -> None:
        pass

    assert list(wamp.client.stream("com.example.count", 3)) == [0, 1, 2]
    assert list(wamp.client.stream("com.example.count", 0)) == []
    assert list(wamp.client.stream("com.example.nothing")) == [None]


def test_an_error_follows_the_items(wamp: FlaskWAMP) -> None:
    @wamp.callee
    def broken() -> t.Any:
        yield 1
        raise ApplicationError("com.example.error.broken")

    stream = wamp.client.stream("com.example.broken")
    assert next(stream) == 1
    with pytest.raises(ApplicationError, match=r"error\.broken"):
        next(stream)


def test_closing_a_stream_closes_the_generator(line: FlaskWAMP) -> None:
    closed = _forever(line)
    with line.client.stream("com.example.forever") as stream:
        assert [next(stream) for _ in range(3)] == [0, 1, 2]
    assert closed.wait(PATIENCE)
    assert list(stream) == []


def test_a_forgotten_stream_closes_the_generator(wamp: FlaskWAMP) -> None:
    closed = _forever(wamp)
    for item in wamp.client.stream("com.example.forever"):
        assert item == 0
        break
    assert closed.wait(PATIENCE)


def test_a_silence_is_limited(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.shop.slow", "hold")
    with pytest.raises(CallTimeout):
        next(wamp.client.with_options(timeout=0.1).stream("com.shop.slow"))
    procedure.next()
    procedure.interrupted()


def test_the_stream_of_a_slow_consumer_is_closed(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], wamp_router: DevRouter
) -> None:
    _, wamp = join(wamp_router.rawsocket_url, WAMP_EVENT_QUEUE=10)
    closed = _forever(wamp)
    stream = wamp.client.stream("com.example.forever")
    assert closed.wait(PATIENCE)
    assert [next(stream) for _ in range(10)] == list(range(10))
    with pytest.raises(TooSlow, match="com.example.forever"):
        next(stream)


def test_one_worker_streams_from_itself(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    _, wamp = join(wamp_router.rawsocket_url, WAMP_WORKERS=1)

    @wamp.callee
    def inner() -> t.Any:
        yield from range(3)

    @wamp.callee
    def outer() -> t.Any:
        yield from g.wampy.stream("com.example.inner")

    assert peer.call("com.example.outer").value == [0, 1, 2]


# The caller cancels.


def test_a_caller_that_cancels_closes_the_generator(line: FlaskWAMP, peer: AutobahnPeer) -> None:
    closed = _forever(line)
    call = peer.submit("com.example.forever", progress=True)
    assert call.progress() == 0
    call.cancel()
    assert closed.wait(PATIENCE)


def test_a_caller_that_dies_closes_the_generator(line: FlaskWAMP, wamp_router: DevRouter) -> None:
    closed = _forever(line)
    with AutobahnPeer(wamp_router.rawsocket_url) as other:
        assert other.submit("com.example.forever", progress=True).progress() == 0
        other.kill()
        assert closed.wait(PATIENCE)


def test_the_deadline_closes_the_generator(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    closed = threading.Event()

    @wamp.callee(timeout=0.2)
    def forever() -> t.Any:
        try:
            while True:
                yield threading.Event().wait(0.01)
        finally:
            closed.set()

    assert peer.error("com.example.forever").uri == "wamp.error.timeout"
    assert closed.wait(PATIENCE)


def test_the_end_of_the_session_closes_the_generator(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    closed = _forever(wamp)
    assert peer.submit("com.example.forever", progress=True).progress() == 0
    connection = wamp.client.peer.connection  # type: ignore[union-attr]
    connection.close()  # type: ignore[union-attr]
    assert closed.wait(PATIENCE)
    eventually(lambda: wamp.client.joined)
