"""The router's side of RawSocket and WebSocket at the lowest cost, with one class each.

A server's frames are not masked, so a framed message can be sent repeatedly.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import typing as t

import msgspec

try:
    from websockets.speedups import apply_mask
except ImportError:  # no C compiler where websockets was installed
    from websockets.utils import apply_mask

RECEIVE_SIZE = 1 << 20
_GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Codec(t.NamedTuple):
    """A serializer."""

    name: str
    encode: t.Callable[[t.Any], bytes]
    decode: t.Callable[[t.Any], t.Any]


CODECS = {
    "json": Codec("json", msgspec.json.Encoder().encode, msgspec.json.Decoder().decode),
    "msgpack": Codec("msgpack", msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode),
}


class Line:
    """A connection with one client: :meth:`receive` messages, :meth:`frame` and :meth:`send` them."""

    codec: Codec
    scheme: str
    #: The part of the stand-in's URL after ``scheme://127.0.0.1:port``.
    path = ""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._rest = b""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def receive(self) -> list[t.Any]:
        """Wait for messages and return those that are complete, decoded."""
        data = self.sock.recv(RECEIVE_SIZE)
        if not data:
            raise EOFError("the client has closed the connection")
        payloads, self._rest = self.split(self._rest + data if self._rest else data)
        return [self.codec.decode(payload) for payload in payloads]

    def send(self, *messages: t.Any) -> None:
        """Encode and send."""
        self.sock.sendall(b"".join(self.frame(self.codec.encode(each)) for each in messages))

    def split(self, data: bytes) -> tuple[list[t.Any], bytes]:
        """Split off complete payloads. Return them and the rest."""
        raise NotImplementedError

    def frame(self, payload: bytes) -> bytes:
        """A payload with its header."""
        raise NotImplementedError


class RawSocketLine(Line):
    """RawSocket."""

    scheme = "tcp"

    def shake_hands(self) -> None:
        """Accept the offered serializer."""
        offer = self.sock.recv(4)
        self.codec = CODECS[{1: "json", 2: "msgpack"}[offer[1] & 15]]
        self.sock.sendall(bytes([0x7F, 0xF0 | offer[1] & 15, 0, 0]))

    def split(self, data: bytes) -> tuple[list[t.Any], bytes]:
        """Headers of four bytes."""
        view, at, end = memoryview(data), 0, len(data)
        payloads = []
        while end - at >= 4:
            stop = at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
            if stop > end:
                break
            payloads.append(view[at + 4 : stop])
            at = stop
        return payloads, data[at:]

    def frame(self, payload: bytes) -> bytes:
        """Four bytes of length."""
        return len(payload).to_bytes(4, "big") + payload


class WebSocketLine(Line):
    """WebSocket for well-behaved clients: no fragments, and answers to pings."""

    scheme = "ws"
    path = "/ws"

    def shake_hands(self) -> None:
        """Answer the upgrade with the first known serializer."""
        request = b""
        while b"\r\n\r\n" not in request:
            request += self.sock.recv(4096)
        lines = (line.partition(b":") for line in request.split(b"\r\n"))
        headers = {name.strip().lower(): value.strip() for name, _, value in lines}
        offers = headers[b"sec-websocket-protocol"].replace(b" ", b"").split(b",")
        chosen = next(o for o in offers if o in (b"wamp.2.json", b"wamp.2.msgpack"))
        self.codec = CODECS[chosen[7:].decode()]
        self._text = b"\x81" if self.codec.name == "json" else b"\x82"
        accept = base64.b64encode(
            hashlib.sha1(headers[b"sec-websocket-key"] + _GUID, usedforsecurity=False).digest()
        )
        self.sock.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: %s\r\n\r\n" % (accept, chosen)
        )

    def split(self, data: bytes) -> tuple[list[t.Any], bytes]:
        """Headers of 6, 8 or 14 bytes, and masks."""
        at, end = 0, len(data)
        payloads = []
        while end - at >= 6:
            length, body = data[at + 1] & 127, at + 6
            if length == 126:
                length, body = int.from_bytes(data[at + 2 : at + 4], "big"), at + 8
            elif length == 127:
                length, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 14
            if body + length > end:
                break
            payload = apply_mask(data[body : body + length], data[body - 4 : body])
            opcode = data[at] & 15
            if opcode == 8:
                raise EOFError("the client has closed the WebSocket")
            if opcode == 9:
                self.sock.sendall(bytes([0x8A, len(payload)]) + payload)
            elif opcode in (1, 2):
                payloads.append(payload)
            at = body + length
        return payloads, data[at:]

    def frame(self, payload: bytes) -> bytes:
        """Two to ten bytes, no mask."""
        length = len(payload)
        if length < 126:
            return self._text + bytes([length]) + payload
        if length < 65536:
            return self._text + b"\x7e" + length.to_bytes(2, "big") + payload
        return self._text + b"\x7f" + length.to_bytes(8, "big") + payload


LINES: dict[str, type[t.Any]] = {"ws": WebSocketLine, "rawsocket": RawSocketLine}
