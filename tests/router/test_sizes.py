"""Payloads from empty to over the limit."""

from __future__ import annotations

import queue
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, SerializationError
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

LIMIT = 200_000
JUST_UNDER = LIMIT - 200
JUST_OVER = LIMIT

SIZES = [0, 40_000, 1_000_000]


@pytest.fixture(params=["url", "rawsocket_url", "unix_url"])
def url(request: pytest.FixtureRequest, wamp_router: DevRouter) -> str:
    return str(getattr(wamp_router, request.param))


@pytest.fixture
def wamp(join: Join, url: str) -> FlaskWAMP:
    """An extension with the default limit of 16 MiB."""
    return join(url)[1]


@pytest.fixture
def limited(join: Join, url: str) -> FlaskWAMP:
    """An extension with a limit of 200,000 bytes."""
    return join(url, WAMP_MAX_MESSAGE_SIZE=LIMIT)[1]


def sent(size: int) -> bytes:
    return b"x" * size


@pytest.mark.parametrize("size", SIZES)
def test_as_argument_and_result(wamp: FlaskWAMP, peer: AutobahnPeer, size: int) -> None:
    wamp.callee("com.example.echo")(lambda data: data)
    peer.register("com.shop.echo")
    assert wamp.client.call("com.shop.echo", sent(size)) == sent(size)
    assert peer.call("com.example.echo", sent(size)).value == sent(size)


@pytest.mark.parametrize("size", SIZES)
def test_as_text(wamp: FlaskWAMP, peer: AutobahnPeer, size: int) -> None:
    peer.register("com.shop.echo")
    text = "ü" * size
    assert wamp.client.call("com.shop.echo", text) == text


@pytest.mark.parametrize("size", SIZES)
def test_as_event(wamp: FlaskWAMP, peer: AutobahnPeer, size: int) -> None:
    seen: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    wamp.subscriber("com.example.news")(lambda data: seen.put(data))
    news = peer.subscribe("com.shop.news")
    peer.publish("com.example.news", sent(size))
    wamp.client.publish("com.shop.news", sent(size))
    assert seen.get(timeout=PATIENCE) == sent(size)
    assert news.next().value == sent(size)


def test_many_large_ones_at_once(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.callee("com.example.echo")(lambda data: data)
    peer.register("com.shop.echo")
    theirs = [peer.submit("com.example.echo", sent(300_000)) for _ in range(10)]
    ours = [wamp.client.submit("com.shop.echo", sent(300_000)) for _ in range(10)]
    assert all(call.wait().value == sent(300_000) for call in theirs)
    assert all(future.result(PATIENCE) == sent(300_000) for future in ours)


# At the limit.


def test_just_under_the_limit(limited: FlaskWAMP, peer: AutobahnPeer) -> None:
    limited.callee("com.example.give")(lambda: sent(JUST_UNDER))
    peer.register("com.shop.echo", "give", given=[["here"], {}])
    news = peer.subscribe("com.shop.news")
    assert limited.client.call("com.shop.echo", sent(JUST_UNDER)) == "here"
    assert peer.call("com.example.give").value == sent(JUST_UNDER)
    limited.client.publish("com.shop.news", sent(JUST_UNDER))
    assert news.next().value == sent(JUST_UNDER)


def test_a_message_just_over_the_limit_is_refused_and_the_session_stays(
    limited: FlaskWAMP, peer: AutobahnPeer
) -> None:
    peer.register("com.shop.echo")
    client, session_id = limited.client, limited.client.session_id
    for use in (client.call, client.submit, client.publish):
        with pytest.raises(SerializationError, match="WAMP_MAX_MESSAGE_SIZE"):
            use("com.shop.echo", sent(JUST_OVER))
    with pytest.raises(SerializationError, match="200000 bytes"):
        client.with_options(acknowledge=True).publish("com.shop.echo", sent(JUST_OVER))
    assert client.call("com.shop.echo", 1) == 1
    assert client.session_id == session_id


def test_a_result_over_the_limit_is_an_error(
    limited: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    @limited.callee
    def give(size: int) -> bytes:
        return sent(size)

    session_id = limited.client.session_id
    error = peer.error("com.example.give", JUST_OVER)
    assert error.uri == "wamp.error.payload_size_exceeded"
    assert "com.example.give" in caplog.text
    assert peer.call("com.example.give", 1).value == b"x"
    assert limited.client.session_id == session_id


def test_an_error_over_the_limit_is_another_error(limited: FlaskWAMP, peer: AutobahnPeer) -> None:
    @limited.callee
    def fail() -> None:
        raise ApplicationError("com.shop.sold_out", sent(JUST_OVER))

    session_id = limited.client.session_id
    assert peer.error("com.example.fail").uri == "wamp.error.payload_size_exceeded"
    assert limited.client.session_id == session_id


# Messages of other peers, whose limit is the router's.


@pytest.mark.parametrize("size", [JUST_OVER, 5_000_000])
def test_a_call_over_the_limit_is_refused_and_the_session_stays(
    limited: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    limited.callee("com.example.size")(lambda data: len(data))
    session_id = limited.client.session_id
    error = peer.error("com.example.size", sent(size))
    assert error.uri == "wamp.error.payload_size_exceeded"
    said = "over the limit of 200000 bytes (WAMP_MAX_MESSAGE_SIZE); refused: com.example.size"
    assert said in caplog.text
    assert peer.call("com.example.size", sent(JUST_UNDER)).value == JUST_UNDER
    assert limited.client.session_id == session_id


def test_a_result_that_is_too_large_for_us_is_an_error(
    limited: FlaskWAMP, peer: AutobahnPeer
) -> None:
    peer.register("com.shop.give", "give", given=[[sent(300_000)], {}])
    session_id = limited.client.session_id
    with pytest.raises(ApplicationError) as raised:
        limited.client.call("com.shop.give")
    assert raised.value.uri == "wamp.error.payload_size_exceeded"
    assert limited.client.session_id == session_id


def test_an_event_that_is_too_large_for_us_is_dropped(
    limited: FlaskWAMP, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    limited.subscriber("com.example.news")(lambda data: seen.put(len(data)))
    session_id = limited.client.session_id
    peer.publish("com.example.news", sent(300_000))
    peer.publish("com.example.news", sent(1))
    assert seen.get(timeout=PATIENCE) == 1
    assert "Event of 300" in caplog.text
    assert "refused: com.example.news" in caplog.text
    assert limited.client.session_id == session_id
