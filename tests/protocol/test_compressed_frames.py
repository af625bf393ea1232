"""Compressed WebSocket messages, and compression bombs."""

from __future__ import annotations

import zlib

import pytest
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from flask_wamp.exceptions import ProtocolError
from flask_wamp.transports.websocket import WebSocketFraming
from tests.support.websocket import WebSocketServer, take

MIB = 2**20


def connected() -> tuple[WebSocketFraming, WebSocketServer]:
    """A framing with a limit of 1 MiB that has agreed on compression."""
    framing = WebSocketFraming("ws://localhost/ws", ["wamp.2.json"], MIB, compression=True)
    server = WebSocketServer()
    server.protocol = ServerProtocol(
        subprotocols=[Subprotocol("wamp.2.json")], extensions=[ServerPerMessageDeflateFactory()]
    )
    framing.feed(server.answer(take(framing)))
    assert framing.compressed
    return framing, server


def deflated(size: int) -> bytes:
    """Return this many zeros, compressed."""
    encoder = zlib.compressobj(wbits=-15)
    data = encoder.compress(bytes(size)) + encoder.flush(zlib.Z_SYNC_FLUSH)
    return data[:-4]


def frame(data: bytes, *, first: bool = True, fin: bool = True) -> bytes:
    opcode = Opcode.TEXT if first else Opcode.CONT
    serialized = bytearray(Frame(opcode, data, fin).serialize(mask=False))
    serialized[0] |= 0x40 if first else 0  # RSV1: compressed
    return bytes(serialized)


def test_compressed_messages_are_sent_and_received() -> None:
    framing, server = connected()
    for size in (0, 1023, 1024, 5000):
        [read] = server.read(framing.frame(b"x" * size, binary=False))
        assert read.data == b"x" * size
    assert framing.feed(frame(deflated(MIB))) == [bytes(MIB)]
    assert framing.feed(Frame(Opcode.TEXT, b"as it is").serialize(mask=False)) == [b"as it is"]


def test_a_bomb_is_not_decompressed() -> None:
    for size in (MIB + 1, 200 * MIB):
        framing, _ = connected()
        with pytest.raises(ProtocolError, match="a message is too long"):
            framing.feed(frame(deflated(size)))


def test_a_bomb_in_many_fragments_is_not_decompressed() -> None:
    framing, _ = connected()
    data = deflated(100 * MIB)
    parts = [data[at : at + 1000] for at in range(0, len(data), 1000)]
    with pytest.raises(ProtocolError, match="a message is too long"):
        for number, part in enumerate(parts):
            framing.feed(frame(part, first=number == 0, fin=False))
    assert sum(map(len, framing._fragments)) <= MIB


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, b"\0" * 50])
def test_data_that_is_not_deflate(data: bytes) -> None:
    framing, _ = connected()
    try:
        received = framing.feed(frame(data))
    except ProtocolError:
        return
    assert received == [b""]
