"""``WAMP_COMPRESSION`` against a real Crossbar that offers it, and one that does not."""

from __future__ import annotations

import time
import typing as t

import pytest

from flask_wamp import FlaskWAMP, NotJoined, SerializationError, SessionLost
from flask_wamp.crossbar import DevRouter, free_port, node_config
from flask_wamp.testing import MakeRouter
from tests.support.peers import AutobahnPeer

pytestmark = pytest.mark.router

URI = "com.example.echo"
LIMIT = 200_000


@pytest.fixture(scope="module")
def offering(make_wamp_router: MakeRouter) -> DevRouter:
    """A router that offers compression, and takes 200,000 bytes."""
    urls = [f"ws://127.0.0.1:{free_port()}/ws", f"tcp://127.0.0.1:{free_port()}"]
    config = node_config(urls)
    websocket = config["workers"][0]["transports"][0]["paths"]["ws"]
    websocket["options"] = {"compression": {"deflate": {}}, "max_message_size": LIMIT}
    return make_wamp_router(urls, config=config)


def transport(wamp: FlaskWAMP) -> t.Any:
    """The client's transport."""
    return wamp.client._state.connected(time.monotonic() + 10)[0].transport


@pytest.mark.parametrize("serializer", ["msgpack", "json", "cbor"])
@pytest.mark.parametrize("size", [0, 1000, 1100, 100_000])
def test_both_directions(
    join: t.Callable[..., t.Any], offering: DevRouter, serializer: str, size: int
) -> None:
    wamp = join(offering.url, WAMP_COMPRESSION=True, WAMP_SERIALIZERS=[serializer])[1]
    assert transport(wamp)._framing.compressed
    value = {"text": "tea " * (size // 4), "binary": b"\0" * min(size, 5000)}

    @wamp.callee(f"{URI}.ours")
    def ours(value: dict[str, t.Any]) -> dict[str, t.Any]:
        return value

    with AutobahnPeer(offering.rawsocket_url) as peer:
        peer.register(URI)
        topic = peer.subscribe(f"{URI}.topic")
        for _ in range(3):
            assert wamp.client.call(URI, value) == value
            wamp.client.publish(f"{URI}.topic", value)
            assert topic.next().value == value
        assert peer.call(f"{URI}.ours", value).value == value
    wamp.stop()


def test_compressed_messages_are_smaller(join: t.Callable[..., t.Any], offering: DevRouter) -> None:
    wamp = join(offering.url, WAMP_COMPRESSION=True)[1]
    framing = transport(wamp)._framing
    assert len(framing.frame(b"tea " * 5000, True)) < 1000
    assert len(framing.frame(b"t" * 1023, True)) == 1023 + 8  # short, so not compressed
    wamp.stop()


@pytest.mark.parametrize("wanted", [True, False])
def test_compression_needs_both_sides(
    join: t.Callable[..., t.Any], offering: DevRouter, historian: DevRouter, wanted: bool
) -> None:
    url = historian.url if wanted else offering.url  # ``historian`` offers none
    wamp = join(url, WAMP_COMPRESSION=wanted)[1]
    assert not transport(wamp)._framing.compressed
    assert wamp.client.call("wamp.session.count") >= 1
    wamp.stop()


def test_limits_apply_to_uncompressed_messages(
    join: t.Callable[..., t.Any], offering: DevRouter
) -> None:
    wamp = join(offering.url, WAMP_COMPRESSION=True, WAMP_MAX_MESSAGE_SIZE=100_000)[1]
    with pytest.raises(SerializationError, match="WAMP_MAX_MESSAGE_SIZE"):
        wamp.client.call(URI, "x" * 100_000)
    wamp.stop()
    wamp = join(offering.url, WAMP_COMPRESSION=True, WAMP_CALL_TIMEOUT=5)[1]
    with pytest.raises((SessionLost, NotJoined)):  # the router's own limit
        wamp.client.call(URI, "x" * (LIMIT + 1))
    wamp.stop()


def test_compression_needs_a_websocket(join: t.Callable[..., t.Any], offering: DevRouter) -> None:
    with pytest.raises(ValueError, match="WAMP_COMPRESSION"):
        join(offering.rawsocket_url, WAMP_COMPRESSION=True)
