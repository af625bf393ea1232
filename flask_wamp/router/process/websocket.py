"""WebSocket connections. The library ``websockets`` does the handshake and the framing, but no I/O."""

from __future__ import annotations

import dataclasses
import logging
import socket
import typing as t
from http import HTTPStatus

from websockets.exceptions import ConnectionClosed, PayloadTooBig
from websockets.extensions.permessage_deflate import (
    PerMessageDeflate,
    ServerPerMessageDeflateFactory,
)
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import State
from websockets.server import ServerProtocol
from websockets.typing import Origin, Subprotocol

from ...exceptions import ProtocolError, WAMPError
from ...protocol.serializers import get_serializer
from ..facts import TransportFacts
from .client_connection import TLS, ClientConnection, LastFrame, ServerInterface, framing_of

#: The logger for ``websockets``, which logs headers and payloads at DEBUG. It has no parent, so no
#: configuration of logging enables it.
_SILENT = logging.Logger("flask_wamp.silent", logging.CRITICAL + 1)

#: Each message is compressed separately. So the size of a message reveals nothing about another one, and a
#: connection keeps no window in memory.
_DEFLATE = ServerPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    compress_settings={"level": 1},
)

MIN_COMPRESSED = 1024
"""The smallest size of a message that is compressed, in bytes. Shorter ones would not become smaller."""

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)


class WebSocketConnection(ClientConnection):
    """A client over WebSocket.

    :param origins: The origins whose pages may connect. An item None stands for clients that send no origin,
        which are not web pages. If ``origins`` itself is None, the origin is not checked.
    :param path: The path that a client must request, without a query. If it is None, the path is not checked.
    """

    pings = True

    def __init__(
        self,
        server: ServerInterface,
        sock: socket.socket,
        facts: TransportFacts,
        origins: t.Sequence[str | None] | None,
        path: str | None = None,
    ) -> None:
        self._path = path
        self._subprotocols = {get_serializer(name).subprotocol: name for name in server.serializers}
        self._protocol = ServerProtocol(
            origins=t.cast("t.Sequence[Origin | None] | None", origins),
            subprotocols=[Subprotocol(name) for name in self._subprotocols],
            select_subprotocol=_first_offered,
            extensions=[_DEFLATE] if server.compression else None,
            max_size=server.max_message_size,
            logger=_SILENT,
        )
        self._fragments: list[bytes] = []
        self._framing = framing_of(Opcode.BINARY, 0)
        super().__init__(server, sock, facts)

    def _feed(self, data: bytes) -> None:
        protocol = self._protocol
        protocol.receive_data(data)
        for event in protocol.events_received():
            if isinstance(event, Frame):
                if event.opcode in _DATA:
                    self._take(event)
            elif isinstance(event, Request):
                self._answer(event)
        self._write_control()
        if protocol.close_expected():
            self.end()
        broken = protocol.parser_exc
        if broken is not None and not isinstance(broken, (EOFError, ConnectionClosed)):
            too_big = isinstance(broken, PayloadTooBig)
            raise ProtocolError(str(broken) if too_big else f"not WebSocket: {broken}")

    def _take(self, frame: Frame) -> None:
        if not frame.fin or self._fragments:
            if frame.data:  # empty fragments are not kept, so that they cannot fill the memory
                self._fragments.append(bytes(frame.data))
            if not frame.fin:
                return
            data, self._fragments = b"".join(self._fragments), []
        else:
            data = bytes(frame.data)
        if self._session is not None:
            self._session.receive(data)

    def _answer(self, request: Request) -> None:
        """Answer the handshake as ``websockets`` decides, if the path is right."""
        protocol = self._protocol
        if self._path is None or request.path.partition("?")[0] == self._path:
            response = protocol.accept(request)
        else:
            response = protocol.reject(HTTPStatus.NOT_FOUND, "No WAMP router is at this path.\n")
        protocol.send_response(response)
        if response.status_code == HTTPStatus.FORBIDDEN:
            origin = request.headers.get("Origin", "none")
            # Only ports of an app belong to one. The router command has no app.
            hint = (
                "Add it to WAMP_ORIGINS of the app" if self._facts.app else "Allow it with --origin"
            )
            self._server.log_rejected("its origin, %.200r, is not allowed. %s", origin, hint)
        if protocol.state is not State.OPEN:
            return
        serializer = self._subprotocols[str(protocol.subprotocol)]
        opcode = Opcode.BINARY if get_serializer(serializer).binary else Opcode.TEXT
        self._framing = framing_of(opcode, _window_bits(protocol))
        self._join(request, serializer)

    def _join(self, request: Request, serializer: str) -> None:
        headers = {name.lower(): value for name, value in request.headers.raw_items()}
        details = {**self._facts.details, "websocket_protocol": self._protocol.subprotocol}
        facts = dataclasses.replace(self._facts, details=details)
        self._session = self._server.open(self, facts, serializer, 2**31, headers)

    def send(self, message: bytes) -> None:
        """Send a message. The core calls this."""
        # An event goes to many connections, one after another, as the same object. So it is framed and
        # compressed only once.
        last = self._server.last_frame
        if last.message is not message or last.framing is not self._framing:
            last = LastFrame(message, self._framing, self._frame(message))
            self._server.last_frame = last
        self.write(last.frame)

    def _frame(self, message: bytes) -> bytes:
        opcode, window_bits = self._framing
        if window_bits and len(message) >= MIN_COMPRESSED:
            extensions = self._protocol.extensions
            return Frame(opcode, message).serialize(mask=False, extensions=extensions)
        return frame_header(opcode, len(message)) + message

    def _write_control(self) -> None:
        for data in self._protocol.data_to_send():
            if data:
                self.write(data)

    def _refuse(self, error: WAMPError) -> None:
        self._server.log_violation(self._facts, error)
        self._write_control()  # the close frame with the reason
        self.end()

    def end(self, at_once: bool = False) -> None:
        """Close the WebSocket, and then the connection once all bytes are sent."""
        if self._protocol.state is State.OPEN and not at_once:
            self._protocol.send_close(CloseCode.NORMAL_CLOSURE)
            self._write_control()
        super().end(at_once)

    def ping(self) -> None:
        """Send a ping."""
        if self._protocol.state is State.OPEN:
            self.write(frame_header(Opcode.PING, 0))


class SecureWebSocketConnection(TLS, WebSocketConnection):  # type: ignore[misc]
    """A client over WebSocket and TLS."""


def _first_offered(
    protocol: ServerProtocol, offered: t.Sequence[Subprotocol]
) -> Subprotocol | None:
    """Return the first subprotocol of the client that the router supports.

    The client names the subprotocols it "wishes to speak, ordered by preference". Source: RFC 6455, 4.1.
    """
    for name in offered:
        if name in (protocol.available_subprotocols or ()):
            return name
    return ServerProtocol.select_subprotocol(protocol, offered)  # refuses the handshake


def _window_bits(protocol: ServerProtocol) -> int:
    """Return the window size of a connection's compression, or 0 without compression."""
    for extension in protocol.extensions:
        if isinstance(extension, PerMessageDeflate):
            # Otherwise, frames would depend on earlier ones.
            assert extension.local_no_context_takeover
            return extension.local_max_window_bits
    return 0


def frame_header(opcode: Opcode, size: int) -> bytes:
    """Return the frame header of an unfragmented message. A server masks no frames.

    ``websockets`` makes the same header, but takes four times as long. Source: RFC 6455, 5.2.
    """
    first = 0x80 | opcode
    if size < 126:
        return bytes((first, size))
    if size < 0x10000:
        return bytes((first, 126, size >> 8, size & 0xFF))
    return bytes((first, 127)) + size.to_bytes(8, "big")
