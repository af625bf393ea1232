"""The connection of a client: it receives and sends bytes without blocking. Subclasses parse the bytes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import socket
import ssl
import typing as t

from websockets.frames import Opcode

from ...concurrency.clock import monotonic
from ...exceptions import WAMPError
from ..facts import TransportFacts
from ..session import RouterSession
from .event_loop import Watcher

#: The number of bytes to receive at a time. Many small messages arrive with one system call.
RECEIVE_SIZE = 65536

#: The number of bytes to join for one send. A larger message is sent alone, without a copy.
SEND_SIZE = 65536


class Framing(t.NamedTuple):
    """The properties of a connection on which the frame of a message depends. See :func:`framing_of`."""

    opcode: Opcode
    window_bits: int
    """The window size of the compression, as a power of two. 0 without compression."""


@functools.cache
def framing_of(opcode: Opcode, window_bits: int) -> Framing:
    """Return the framing with these properties, which is always the same object."""
    return Framing(opcode, window_bits)


@dataclasses.dataclass(slots=True)
class LastFrame:
    """A message and its frame, for other connections that get the same message."""

    message: bytes
    framing: Framing
    frame: bytes


#: Stands for no frame. Messages are compared by identity, so no message is equal to its message.
NO_FRAME: t.Final = LastFrame(b"no message", framing_of(Opcode.CONT, 0), b"")


class ServerInterface(t.Protocol):
    """The methods of the router's process that a connection uses."""

    loop: asyncio.AbstractEventLoop
    watcher: Watcher
    dirty: list[ClientConnection]
    """Connections that have bytes to send at the end of this turn of the loop."""
    last_frame: LastFrame
    """The last frame that was made. It is dropped at the end of this turn."""

    @property
    def serializers(self) -> tuple[str, ...]:
        """The serializers that clients may choose."""

    @property
    def compression(self) -> bool:
        """Whether WebSocket clients may use compression."""

    @property
    def max_message_size(self) -> int:
        """The size of the largest message that a client may send, in bytes."""

    @property
    def goodbye_timeout(self) -> float:
        """The number of seconds that an ended connection waits for the client to close it."""

    def open(
        self,
        connection: ClientConnection,
        facts: TransportFacts,
        serializer: str,
        max_message_size: int,
        headers: t.Mapping[str, str],
    ) -> RouterSession:
        """Open a session for a connection that has agreed on a serializer."""

    def flush(self) -> None:
        """Send the messages of this turn of the loop."""

    def flush_soon(self) -> None:
        """Flush at the end of this turn. Use it where no other code flushes."""

    def forget(self, connection: ClientConnection) -> None:
        """Remove a closed connection."""

    def log_rejected(self, text: str, *args: object) -> None:
        """Log why a connection is not accepted."""

    def log_violation(self, facts: TransportFacts, error: WAMPError) -> None:
        """Log a connection that broke the rules of its transport."""


class ClientConnection:
    """One connection of a client.

    All methods run in the thread of the event loop.

    :param sock: A connected socket. The connection closes it.
    :param facts: The facts about the client that are known before its first message.
    """

    address = ""
    """The IP address to which the limits apply. Empty if there is none."""

    #: Whether the transport has pings, which a client must answer.
    pings = False

    def __init__(self, server: ServerInterface, sock: socket.socket, facts: TransportFacts) -> None:
        sock.setblocking(False)
        self.heard = monotonic()
        """The ``time.monotonic()`` of the last bytes from the client."""
        self.opened = self.heard
        """The ``time.monotonic()`` at which the connection was opened."""
        self.pinged = 0.0
        """The ``time.monotonic()`` of the last ping. 0 if there was none."""
        self.on_close: t.Callable[[ClientConnection], object] | None = None
        self._server = server
        self._sock = sock
        self._facts = facts
        self._session: RouterSession | None = None
        self._is_idle = True
        """Whether the connection is open and has no bytes to send."""
        self._single: bytes | None = None
        """The bytes of this turn, if there is no queue."""
        self._out: list[bytes | memoryview] = []
        self._unsent = 0
        self._is_dirty = False
        self._is_writing = False
        self._is_ending = False
        self._is_closed = False
        server.watcher.add(sock, self)

    @property
    def has_session(self) -> bool:
        """Whether the handshake of the transport is complete. Then the core handles timeouts."""
        return self._session is not None

    # Reading.

    def readable(self) -> None:
        """Handle the bytes that have arrived. The watcher calls this."""
        try:
            data = self._receive()
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        self.take(data)
        self._server.flush()

    def _receive(self) -> bytes:
        return self._sock.recv(RECEIVE_SIZE)

    def begin(self, data: bytes) -> None:
        """Handle bytes that another process has read from the connection."""
        self.take(data)
        self._server.flush()

    def send(self, message: bytes) -> None:
        """Send a message. The core calls this."""
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Handle bytes of the client. If they are empty, it has closed the connection."""
        if self._is_closed:
            return
        if not data:
            self.close()
            return
        self.heard = monotonic()
        if self._is_ending:
            return  # the connection has ended, and later messages are ignored
        try:
            self._feed(data)
        except WAMPError as error:
            self._refuse(error)

    def _feed(self, data: bytes) -> None:
        """Parse bytes, and pass the messages to the session.

        :raises WAMPError: The client broke the rules of the transport.
        """
        raise NotImplementedError

    def _refuse(self, error: WAMPError) -> None:
        """End a connection that breaks the rules of its transport."""
        self._server.log_violation(self._facts, error)
        self.close()

    # Writing. The messages of one turn of the loop leave with one system call. In most turns, a connection
    # has one message, and all of it is sent at once.

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn, or later if the client does not read."""
        if self._is_idle:
            self._is_idle = False
            self._single = data
            self._server.dirty.append(self)
        elif not self._is_closed:
            self._flush_soon()
            self._queue(data)

    def _queue(self, data: bytes | memoryview) -> None:
        self._out.append(data)
        self._unsent += len(data)

    def _flush_soon(self) -> None:
        """Flush the queue at the end of this turn, even if it is empty."""
        self._is_idle = False
        if self._single is not None:  # so this connection is in ``dirty`` already
            self._queue(self._single)
            self._single = None
        elif not self._is_dirty:
            self._server.dirty.append(self)
        self._is_dirty = True

    def flush(self) -> None:
        """Send the bytes that the system accepts now. The rest follows when the client reads."""
        data = self._single
        if data is None:
            self._flush_queue()
            return
        self._single = None
        try:
            sent = self._sock.send(data)
        except OSError:  # the system does not accept bytes now, or the connection is lost
            sent = 0
        if sent == len(data):
            self._is_idle = True
        else:
            self._queue(memoryview(data)[sent:])
            self._flush_queue()

    def _flush_queue(self) -> None:
        self._is_dirty = False
        out = self._out
        if self._is_closed:
            return
        try:
            while out:
                data = out[0] if len(out) == 1 else self._joined()
                sent = self._sock.send(data)
                self._unsent -= sent
                if sent < len(data):
                    # Not a copy: copying the rest each time would take quadratic time.
                    out[0] = memoryview(data)[sent:]
                    break
                del out[0]
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError:
            self.close()
            return
        self._watch_writing(bool(out))
        if out:
            if self._session is not None:
                self._session.report_unsent(self._unsent)
        elif self._is_ending:
            self._shut_down()
        else:
            self._is_idle = True

    def _joined(self) -> bytes | memoryview:
        """Join the first pieces, up to the size of one send, and return them."""
        out, size, count = self._out, 0, 0
        for piece in out:
            size += len(piece)
            if size > SEND_SIZE and count:
                break
            count += 1
        if count > 1:
            out[:count] = [b"".join(out[:count])]
        return out[0]

    def _watch_writing(self, wanted: bool) -> None:
        if wanted is self._is_writing:
            return
        self._is_writing = wanted
        self._server.watcher.watch_writing(self._sock, self, wanted)

    def writable(self) -> None:
        """Send bytes that wait. The watcher calls this."""
        self.flush()

    # The end.

    def end(self, at_once: bool = False) -> None:
        """Close the connection once all bytes are sent. The core calls this when a session has ended.

        :param at_once: Do not wait for unsent bytes.
        """
        if self._is_closed or self._is_ending:
            return
        self._is_ending = True
        self._flush_soon()
        loop = self._server.loop
        if at_once:  # not now, because the core still uses the session
            loop.call_soon(self.close)
            return
        loop.call_later(self._server.goodbye_timeout, self.close)

    def _shut_down(self) -> None:
        """Shut down the sending side, and wait until the client closes."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection at once, and end its session."""
        if self._is_closed:
            return
        self._is_closed = True
        self._server.watcher.remove(self._sock)
        self._sock.close()
        self._is_idle = False
        self._single = None
        self._out.clear()
        self._unsent = 0
        session, self._session = self._session, None
        self._server.forget(self)
        if self.on_close is not None:
            self.on_close(self)
        if session is not None:
            session.lost()
            self._server.flush_soon()

    def ping(self) -> None:
        """Send a ping, if the transport has :attr:`pings`."""


class TLS:
    """A mixin for connections with TLS.

    ``recv`` and ``send`` of an ``SSLSocket`` do the handshake. If a renegotiation has to write while this
    side reads, it waits for the next turn.
    """

    _sock: ssl.SSLSocket

    def _receive(self) -> bytes:
        data = self._sock.recv(RECEIVE_SIZE)
        # The selector does not report bytes that are already decrypted.
        while data and self._sock.pending():
            data += self._sock.recv(self._sock.pending())
        return data

    def _shut_down(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._sock.unwrap()


def secured(context: ssl.SSLContext, sock: socket.socket) -> ssl.SSLSocket:
    """Begin TLS on an accepted socket."""
    sock.setblocking(False)
    return context.wrap_socket(
        sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
    )
