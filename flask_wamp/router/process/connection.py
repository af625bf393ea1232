"""A client's socket: bytes in and out, without blocking. What the bytes mean is the subclasses' business."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import typing as t

from ...exceptions import WAMPError
from ..facts import TransportFacts
from ..session import RouterSession

#: Bytes of one receive: many small messages arrive with one system call.
RECEIVE_SIZE = 65536

#: Bytes that are joined for one send. What is larger is sent by itself, without a copy.
SEND_SIZE = 65536


class Host(t.Protocol):
    """What a connection needs of the process it is in."""

    loop: asyncio.AbstractEventLoop
    dirty: list[Connection]
    """Connections with something to send, at the end of this turn of the loop."""

    @property
    def serializers(self) -> tuple[str, ...]:
        """The serializers that clients may choose."""

    @property
    def compression(self) -> bool:
        """Whether WebSocket clients may have messages compressed."""

    @property
    def max_message_size(self) -> int:
        """Bytes of the largest message a client may send."""

    @property
    def goodbye_timeout(self) -> float:
        """Seconds in which a client has to close a connection that we have ended."""

    def open(
        self,
        connection: Connection,
        facts: TransportFacts,
        serializer: str,
        max_message_size: int,
        headers: t.Mapping[str, str],
    ) -> RouterSession:
        """Open a session for a connection that has agreed on a serializer."""

    def flush(self) -> None:
        """Send what this turn of the loop has left."""

    def flush_soon(self) -> None:
        """Flush at the end of this turn, where nothing else does."""

    def forget(self, connection: Connection) -> None:
        """A connection is closed."""

    def log_refusal(self, facts: TransportFacts, error: WAMPError) -> None:
        """Note a connection that broke the rules."""


class Connection:
    """One connection of a client, from accepting it to its end.

    Everything runs in the thread of the event loop.

    :param sock: Connected; the connection closes it.
    :param facts: What is known of the client before it says anything.
    """

    address = ""
    """The IP address that the limits count it by; empty where there is none."""

    #: Whether the transport has a question for an idle client, which it has to answer.
    pings = False

    def __init__(self, host: Host, sock: socket.socket, facts: TransportFacts) -> None:
        sock.setblocking(False)
        self.heard = host.loop.time()
        """When the client said something last, by the clock of the loop."""
        self.opened = self.heard
        """When the connection was opened."""
        self.on_close: t.Callable[[Connection], object] | None = None
        self._host = host
        self._sock = sock
        self._facts = facts
        self._session: RouterSession | None = None
        self._out: list[bytes | memoryview] = []
        self._unsent = 0
        self._is_dirty = False
        self._is_writing = False
        self._is_ending = False
        self._is_closed = False
        host.loop.add_reader(sock, self._readable)

    @property
    def has_session(self) -> bool:
        """Whether the handshake of the transport is complete; from then on the core watches the time."""
        return self._session is not None

    @property
    def unsent(self) -> int:
        """How many bytes wait for a client that does not read."""
        return self._unsent

    # Reading.

    def _readable(self) -> None:
        try:
            data = self._receive()
        except (BlockingIOError, InterruptedError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return
        except OSError:
            data = b""
        self.take(data)
        self._host.flush()

    def _receive(self) -> bytes:
        return self._sock.recv(RECEIVE_SIZE)

    def begin(self, data: bytes) -> None:
        """Take in what somebody else has read from the connection before."""
        self.take(data)
        self._host.flush()

    def send(self, message: bytes) -> None:
        """Send a message; the core calls it."""
        raise NotImplementedError

    def take(self, data: bytes) -> None:
        """Take in what the client sent; nothing: it has closed the connection."""
        if self._is_closed:
            return
        if not data:
            self.close()
            return
        self.heard = self._host.loop.time()
        if self._is_ending:
            return  # it was told goodbye: what it still says does not count
        try:
            self._feed(data)
        except WAMPError as error:
            self._refuse(error)

    def _feed(self, data: bytes) -> None:
        """Take bytes apart and give the session its messages.

        :raises WAMPError: This is not what a client may send.
        """
        raise NotImplementedError

    def _refuse(self, error: WAMPError) -> None:
        """End a connection that breaks the rules of its transport."""
        self._host.log_refusal(self._facts, error)
        self.close()

    # Writing. What one turn of the loop has to say leaves with one system call.

    def write(self, data: bytes) -> None:
        """Send bytes at the end of this turn, or as soon as the client reads."""
        if self._is_closed:
            return
        self._out.append(data)
        self._unsent += len(data)
        if not self._is_dirty:
            self._is_dirty = True
            self._host.dirty.append(self)

    def flush(self) -> None:
        """Send what the system takes now; the rest follows when the client reads."""
        self._is_dirty = False
        out = self._out
        if self._is_closed or not out:
            return
        try:
            while out:
                data = out[0] if len(out) == 1 else self._joined()
                sent = self._send(data)
                self._unsent -= sent
                if sent < len(data):
                    out[0] = memoryview(data)[sent:]  # a copy each time would cost the square of it
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

    def _send(self, data: bytes | memoryview) -> int:
        return self._sock.send(data)

    def _watch_writing(self, wanted: bool) -> None:
        if wanted is self._is_writing:
            return
        self._is_writing = wanted
        if wanted:
            self._host.loop.add_writer(self._sock, self._writable)
        else:
            self._host.loop.remove_writer(self._sock)

    def _writable(self) -> None:
        self.flush()

    # The end.

    def end(self, at_once: bool = False) -> None:
        """Close the connection when everything was sent; the core calls it when a session has ended.

        :param at_once: Do not wait for what is still to be sent.
        """
        if self._is_closed or self._is_ending:
            return
        self._is_ending = True
        loop = self._host.loop
        if at_once:  # not now: the core has not finished with the session
            loop.call_soon(self.close)
            return
        if not self._is_dirty:
            self._is_dirty = True
            self._host.dirty.append(self)
        loop.call_later(self._host.goodbye_timeout, self.close)

    def _shut_down(self) -> None:
        """Everything was sent: say so, and wait for the client to close."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the connection at once; its session ends."""
        if self._is_closed:
            return
        self._is_closed = True
        loop = self._host.loop
        loop.remove_reader(self._sock)
        self._watch_writing(False)
        self._sock.close()
        self._out.clear()
        self._unsent = 0
        session, self._session = self._session, None
        self._host.forget(self)
        if self.on_close is not None:
            self.on_close(self)
        if session is not None:
            session.lost()
            self._host.flush_soon()

    def ping(self) -> None:
        """Ask an idle client for a sign of life, where :attr:`pings`."""


class TLS:
    """Mixed into a connection: TLS on its socket, without blocking.

    ``recv`` and ``send`` of an ``SSLSocket`` do the handshake on their own. A renegotiation that wants
    to write while we read waits for the next turn.
    """

    _sock: ssl.SSLSocket

    def _receive(self) -> bytes:
        data = self._sock.recv(RECEIVE_SIZE)
        while data and self._sock.pending():  # decrypted already: the selector does not see it
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
