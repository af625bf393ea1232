"""The router's end of a WebSocket, without a socket: ``websockets``' own server protocol."""

from __future__ import annotations

import typing as t

from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from flask_wamp.transports.websocket import WebSocketFraming

SUBPROTOCOLS = ["wamp.2.msgpack", "wamp.2.json", "wamp.2.cbor"]


class WebSocketServer:
    """Does the handshake with a framing, then reads its messages."""

    def __init__(self, chooses: t.Sequence[str] = SUBPROTOCOLS) -> None:
        self.protocol = ServerProtocol(
            subprotocols=[Subprotocol(name) for name in chooses] or None,
            select_subprotocol=None if chooses else lambda protocol, offered: None,
        )
        self.request: Request | None = None

    def answer(self, handshake: bytes) -> bytes:
        """Handle the client's handshake. Return the answer."""
        self.protocol.receive_data(handshake)
        [request] = self.protocol.events_received()
        assert isinstance(request, Request)
        self.request = request
        self.protocol.send_response(self.protocol.accept(request))
        return b"".join(self.protocol.data_to_send())

    def read(self, data: bytes) -> list[Frame]:
        """Handle bytes of the client."""
        self.protocol.receive_data(data)
        assert self.protocol.parser_exc is None, self.protocol.parser_exc
        return [event for event in self.protocol.events_received() if isinstance(event, Frame)]


def frame(data: bytes, opcode: Opcode = Opcode.BINARY, *, fin: bool = True) -> bytes:
    """A frame as a server sends it."""
    return Frame(opcode, data, fin).serialize(mask=False)


def connected(
    max_receive_size: int = 2**24, *, path: str = "/ws"
) -> tuple[WebSocketFraming, WebSocketServer]:
    """A framing after its handshake, and the server."""
    framing = WebSocketFraming(f"ws://localhost:8080{path}", SUBPROTOCOLS, max_receive_size)
    server = WebSocketServer()
    assert framing.feed(server.answer(take(framing))) == []
    return framing, server


def take(framing: WebSocketFraming) -> bytes:
    """Return the bytes that the framing itself sends."""
    data, framing.control = b"".join(framing.control), []
    return data
