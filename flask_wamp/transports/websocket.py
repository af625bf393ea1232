"""WebSocket. Framing, masking and the handshake are done by ``websockets``, whose I/O is not used."""

from __future__ import annotations

import logging
import re
import types
import typing as t

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidMessage, InvalidStatus, NegotiationError, PayloadTooBig
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from .._text import safe_text
from ..exceptions import ProtocolError, TransportError, WAMPError
from ..protocol.serializers import Buffer, Serializer, get_serializer
from .streams import OverStream, Stream
from .urls import RouterURL

_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)

#: A logger for ``websockets``, which would log headers and payloads at DEBUG, with passwords and tickets. It
#: does not belong to the tree of loggers, so no configuration of logging can enable it.
_SILENT = logging.Logger("flask_wamp.silent", logging.CRITICAL + 1)

#: Each message is compressed separately, in both directions. So the size of one message reveals nothing about
#: the secrets of another, and a connection keeps no window in memory.
_DEFLATE = ClientPerMessageDeflateFactory(
    server_no_context_takeover=True,
    client_no_context_takeover=True,
    compress_settings={"level": 1},
)

MIN_COMPRESSED = 1024
"""A message of at least this many bytes is compressed. Shorter messages do not become much shorter."""

MAX_UNSENT_CONTROL = 1024 * 1024
"""If more bytes of pongs than this wait to be sent, the connection is closed, because the router sends pings
but does not read the answers."""

MAX_STATUS_LINE = 1024
"""If the answer to the handshake cannot be parsed, the status is searched in this many bytes of it."""

#: A status line other than that of a handshake. websockets parses only HTTP/1.1, and many servers answer
#: HTTP/1.0.
_STATUS = re.compile(rb"HTTP/1\.[01] (?!101)([1-5][0-9]{2}) ?([^\r\n]*)\r?\n")


class WebSocketFraming:
    """Converts bytes to messages and back, without I/O.

    :param max_receive_size: Bytes. A longer message ends the connection before it is read, or while it
        is decompressed.
    :param compression: Offer permessage-deflate.
    :param headers: HTTP headers for the handshake.
    """

    def __init__(
        self,
        url: str,
        subprotocols: t.Sequence[str],
        max_receive_size: int,
        compression: bool = False,
        headers: t.Mapping[str, str] = types.MappingProxyType({}),
    ) -> None:
        self.control: list[bytes] = []
        """Bytes that the protocol itself has to send: the handshake, pings, pongs, the answer to a close."""
        self.failure: WAMPError | None = None
        """The error that ended the connection, raised after the messages before it were read."""
        self._protocol = ClientProtocol(
            parse_uri(url),
            subprotocols=[Subprotocol(name) for name in subprotocols],
            extensions=[_DEFLATE] if compression else None,
            max_size=max_receive_size,
            logger=_SILENT,
        )
        self._offers_compression = compression
        self._fragments: list[Buffer] = []
        self._beginning = b""
        request = self._protocol.connect()
        for name, value in headers.items():
            if name in request.headers:  # Authorization, if the URL has a password
                del request.headers[name]
            request.headers[name] = value
        self._protocol.send_request(request)
        self._collect()

    @property
    def connected(self) -> bool:
        """Whether the handshake is complete."""
        return self._protocol.state is not State.CONNECTING

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the router chose. None if it chose none."""
        return self._protocol.subprotocol

    def feed(self, data: bytes) -> list[Buffer]:
        """Accept bytes and return the messages that are complete. No bytes mean the end of the stream.

        :raises TransportError: The router declined, or closed the connection.
        :raises ProtocolError: The bytes are not WebSocket, or a message is too long.
        """
        protocol = self._protocol
        if not self.connected:
            self._beginning = (self._beginning + data)[:MAX_STATUS_LINE]
        if data:
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        messages: list[Buffer] = []
        try:
            self._collect()
            for event in protocol.events_received():
                if isinstance(event, Frame):
                    self._take(event, messages)
            self._check()
        except WAMPError as error:
            if not messages:
                raise
            self.failure = error  # ABORT often arrives together with the close that follows it
        return messages

    def _take(self, frame: Frame, messages: list[Buffer]) -> None:
        if frame.opcode is Opcode.CLOSE:
            close = self._protocol.close_rcvd
            why = (
                f"{close.code} {safe_text(close.reason)}".rstrip() if close else "without a reason"
            )
            raise TransportError(f"the router closed the WebSocket: {why}")
        if frame.opcode not in _DATA:
            return
        if frame.fin and not self._fragments:
            messages.append(frame.data)
            return
        if frame.data:  # so that a message of endless empty fragments does not fill the memory
            self._fragments.append(frame.data)
        if frame.fin:
            messages.append(b"".join(self._fragments))
            self._fragments.clear()

    def _check(self) -> None:
        declined = self._protocol.handshake_exc
        if isinstance(declined, InvalidStatus):
            response = declined.response
            raise TransportError(
                _explain(response.status_code, response.reason_phrase)
            ) from declined
        if isinstance(declined, InvalidMessage) and (found := _STATUS.match(self._beginning)):
            raise TransportError(_explain(int(found[1]), found[2].decode("latin-1"))) from declined
        if isinstance(declined, NegotiationError):
            what = "serializer or compression" if self._offers_compression else "serializer"
            raise TransportError(f"no common {what}: {safe_text(declined)}") from declined
        if declined is not None:
            raise ProtocolError(
                f"this is not a WebSocket router: {safe_text(declined)}"
            ) from declined
        broken = self._protocol.parser_exc
        if isinstance(broken, PayloadTooBig):
            raise ProtocolError(f"a message is too long: {broken}")
        if broken is not None and not isinstance(broken, EOFError):
            raise ProtocolError(f"not WebSocket: {safe_text(broken)}")

    def _collect(self) -> None:
        if sum(map(len, self.control)) > MAX_UNSENT_CONTROL:
            raise ProtocolError("it pings faster than it reads the answers")
        self.control += [data for data in self._protocol.data_to_send() if data]

    @property
    def compressed(self) -> bool:
        """Whether the router accepts compressed messages."""
        return bool(self._protocol.extensions)

    def frame(self, message: bytes, binary: bool) -> bytes:
        """Return a message as a masked frame. Does not use the state of the receiving side."""
        frame = Frame(Opcode.BINARY if binary else Opcode.TEXT, message)
        extensions = self._protocol.extensions
        if extensions and len(message) >= MIN_COMPRESSED:
            return frame.serialize(mask=True, extensions=extensions)
        return frame.serialize(mask=True)

    def ping(self) -> None:
        """Put a ping into :attr:`control`."""
        self.control.append(Frame(Opcode.PING, b"wamp").serialize(mask=True))


def _explain(code: int, phrase: str) -> str:
    status = f"{code} {safe_text(phrase, 100)}".rstrip()
    hint = "check the path of WAMP_ROUTER_URL" if code != 400 else "see its log"
    return f"the router answered HTTP {status} instead of opening a WebSocket; {hint}"


class WebSocketTransport(OverStream):
    """A WebSocket connection."""

    has_ping = True

    def __init__(self, stream: Stream, framing: WebSocketFraming, serializer: Serializer) -> None:
        super().__init__(stream)
        self.serializer = serializer
        self.max_send_size = 2**31
        self._framing = framing
        self._received: list[Buffer] = []

    @classmethod
    def open(
        cls,
        stream: Stream,
        url: RouterURL,
        serializers: t.Sequence[str],
        max_message_size: int,
        deadline: float,
        compression: bool = False,
        headers: t.Mapping[str, str] = types.MappingProxyType({}),
    ) -> WebSocketTransport:
        """Do the handshake over a connected stream.

        :raises TransportError: The connection broke, or the router declines.
        :raises ProtocolError: The server that answers is not a WebSocket router.
        """
        by_subprotocol = {get_serializer(name).subprotocol: name for name in serializers}
        framing = WebSocketFraming(
            url.url, list(by_subprotocol), max_message_size, compression, headers
        )
        early: list[Buffer] = []
        try:
            _send_control(stream, framing)
            while not framing.connected:
                early += framing.feed(stream.receive())
            name = by_subprotocol.get(framing.subprotocol or "")
            if name is None:
                raise TransportError("the router chose no serializer, so it does not speak WAMP")
        except BaseException:
            stream.close()
            raise
        transport = cls(stream, framing, get_serializer(name))
        transport._received = early
        return transport

    def receive(self) -> list[Buffer] | None:
        """Wait for messages and return them. None at the end of the connection."""
        if self._received:
            early, self._received = self._received, []
            return early
        if self._framing.failure is not None:
            raise self._framing.failure
        data = self._stream.receive()
        messages = self._framing.feed(data)
        return messages if data else None

    def pending(self) -> bool:
        """Return whether there is a pong or data of TLS to send."""
        stream = self._stream
        return bool(self._framing.control or stream.rest) or (stream.answers and stream.pending())

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Send messages with one system call."""
        frames = []
        control = self._framing.control
        while control:
            frames.append(control.pop(0))
        binary = self.serializer.binary
        frames.extend(self._framing.frame(message, binary) for message in messages)
        self._stream.send(b"".join(frames))

    def ping(self) -> None:
        """Send a ping with the next :meth:`send`."""
        self._framing.ping()


def _send_control(stream: Stream, framing: WebSocketFraming) -> None:
    data, framing.control[:] = b"".join(framing.control), []
    stream.send(data)
