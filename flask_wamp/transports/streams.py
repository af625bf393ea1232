"""Byte streams: TCP, Unix sockets, TLS over them, and the part that all transports over a stream share.

TLS runs over memory buffers, because only one thread at a time may use an OpenSSL connection. With the
buffers, a lock is held only while data is encrypted or decrypted, and not while a thread waits for the
network.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
import typing as t

from ..concurrency.clock import monotonic
from ..exceptions import TransportError
from .connecting import addresses_of, connect
from .tls_settings import TLSSettings
from .urls import RouterURL

RECEIVE_SIZE = 65536
"""Bytes of one receive. Many small messages arrive with one system call."""


#: The socket option of Linux that acknowledges received bytes at once. Crossbar 26.10 uses Nagle's algorithm
#: for RawSocket. So it sends a message only after the previous one was acknowledged. Without this option,
#: Linux acknowledges after 40 ms, or with the next send.
QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Stream:
    """A connected socket."""

    answers = False
    """Whether receiving may produce data to send, as TLS does."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.stuck_since: float | None = None
        """The ``time.monotonic()`` at which the system last accepted bytes. None while nothing is sent."""
        self._deadline: float | None = None
        self.rest: bytes = b""
        """The bytes that an interrupted call of :meth:`send` has left."""
        self.quickack: int | None = None
        """The socket option that acknowledges at once, see :data:`QUICKACK`."""
        self._owes = False
        """Whether bytes were received that no later send has acknowledged."""

    def settimeout(self, deadline: float | None) -> None:
        """Let receiving and sending fail at this ``time.monotonic()``. None means never."""
        self._deadline = deadline
        if deadline is None:
            self.sock.settimeout(None)

    def receive(self) -> bytes:
        """Wait for bytes and return them. They are empty at the end of the stream."""
        try:
            if self._deadline is not None:
                self.sock.settimeout(self._time_left(self._deadline))
            if self._owes and self.quickack is not None:  # each time, because Linux resets it
                self.sock.setsockopt(socket.IPPROTO_TCP, self.quickack, 1)
            data = self.sock.recv(RECEIVE_SIZE)
        except OSError as error:
            raise _broken(error) from error
        self._owes = True
        return data

    def pending(self) -> bool:
        """Return whether there are bytes left to send."""
        return bool(self.rest)

    def send(self, data: bytes) -> None:
        """Send all bytes, after those that an interrupted call has left.

        A greenlet may be killed while it sends. Half a message would break the stream.
        """
        self._owes = False
        view = memoryview(self.rest + data if self.rest else data)
        try:
            if self._deadline is not None:
                self.sock.settimeout(self._time_left(self._deadline))
            while view:
                self.stuck_since = monotonic()
                view = view[self.sock.send(view) :]
        except OSError as error:
            raise _broken(error) from error
        finally:
            self.stuck_since = None
            self.rest = bytes(view)

    def close(self) -> None:
        """Close the socket, and wake the threads that wait in :meth:`receive` or :meth:`send`."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()

    def forget(self) -> None:
        """Close this process's copy of the socket. The connection stays open."""
        with contextlib.suppress(OSError):
            os.close(self.sock.detach())

    @staticmethod
    def _time_left(deadline: float) -> float:
        left = deadline - monotonic()
        if left <= 0:  # even if there are bytes to read, so that a slow trickle of bytes ends too
            raise TransportError(_TOO_LATE)
        return left


class TLSStream(Stream):
    """TLS over a connected socket."""

    answers = True

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        super().__init__(sock)
        self._lock = threading.Lock()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)

    def handshake(self) -> None:
        """Do the handshake, which agrees on keys and checks the certificate."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                super().send(self._outgoing.read())
                self._feed(super().receive())
            except ssl.SSLError as error:
                with contextlib.suppress(TransportError):
                    super().send(self._outgoing.read())  # the alert, which says why
                raise TransportError(f"no TLS connection: {_reason(error)}") from error
            else:
                return super().send(self._outgoing.read())

    def receive(self) -> bytes:
        """Wait for bytes and return them. They are empty at the end of the stream."""
        while True:
            data = self._decrypted()
            if data is not None:
                return data
            with self._lock:
                closed = self._incoming.eof
            if closed:
                return b""
            self._feed(super().receive())

    def pending(self) -> bool:
        """Return whether there are bytes to send, such as the answer to a key update of TLS."""
        return bool(self._outgoing.pending) or super().pending()

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        with self._lock:
            if data:
                self._tls.write(data)
            encrypted = self._outgoing.read()
        super().send(encrypted)

    def _feed(self, data: bytes) -> None:
        with self._lock:
            if data:
                self._incoming.write(data)
            else:
                self._incoming.write_eof()

    def _decrypted(self) -> bytes | None:
        """Return what can be decrypted. None if more has to be received first."""
        parts = []
        with self._lock:
            try:
                while part := self._tls.read(RECEIVE_SIZE):
                    parts.append(part)
            except ssl.SSLWantReadError:
                return b"".join(parts) if parts else None
            except ssl.SSLError as error:
                if not parts and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                    raise TransportError(f"TLS failed: {_reason(error)}") from error
        return b"".join(parts)


class OverStream:
    """The part that all transports over a byte stream share."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def stuck_since(self) -> float | None:
        """The ``time.monotonic()`` at which the system last accepted bytes. None while nothing is sent."""
        return self._stream.stuck_since

    def settimeout(self, deadline: float | None) -> None:
        """Let receiving and sending fail at this ``time.monotonic()``. None means never."""
        self._stream.settimeout(deadline)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def forget(self) -> None:
        """Close this process's copy of the socket. The connection stays open."""
        self._stream.forget()


def open_stream(
    url: RouterURL,
    settings: TLSSettings,
    deadline: float,
    opened: t.Callable[[Stream], None] = lambda stream: None,
    proxy: str | None = None,
) -> Stream:
    """Connect, and start TLS if the URL requires it.

    :param opened: Called with the stream before it connects, or, with a proxy, when the proxy has
        connected. Close the stream to end the attempt.
    :param proxy: The URL of a proxy to connect through.
    :raises TransportError: The connection was refused or not made in time, or the certificate is not trusted.
    """
    try:
        if proxy is None:
            sock = _connect(url, deadline, opened)
        else:
            from .proxy import connect_through

            sock = connect_through(proxy, url, deadline)
    except OSError as error:
        raise TransportError(f"cannot connect to {url.shown}: {_reason(error)}") from error
    try:
        stream = TLSStream(sock, _context(settings), url.host) if url.secure else Stream(sock)
        if proxy is not None:
            opened(stream)
        stream.settimeout(deadline)
        if not (url.websocket or url.unix):
            stream.quickack = QUICKACK
        if isinstance(stream, TLSStream):
            stream.handshake()
        return stream
    except BaseException:
        sock.close()
        raise


def _context(settings: TLSSettings) -> ssl.SSLContext:
    try:
        return settings.context()
    except ValueError as error:  # a file was removed since the start
        raise TransportError(str(error)) from error


def _connect(url: RouterURL, deadline: float, opened: t.Callable[[Stream], None]) -> socket.socket:
    if url.unix:
        return _connect_unix(url.path, deadline, opened)
    addresses = addresses_of(url.host, url.port)
    sock = connect(addresses, deadline, lambda sock: opened(Stream(sock)))
    # Answers are small, and a caller waits for each.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _connect_unix(path: str, deadline: float, opened: t.Callable[[Stream], None]) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        opened(Stream(sock))
        sock.settimeout(max(0.001, deadline - monotonic()))
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


_TOO_LATE = "the router did not answer in time"


def _broken(error: OSError) -> TransportError:
    """Return the error for a socket operation that failed."""
    if isinstance(error, TimeoutError):
        return TransportError(_TOO_LATE)
    return TransportError(f"the connection broke: {_reason(error)}")


_UNTRUSTED = "set WAMP_TLS_CA to the PEM file of the authority that signed it"

#: Hints about certificates, by OpenSSL's ``X509_V_ERR_*``.
_HINTS = {
    9: "check the clocks, or give the router another certificate; WAMP_TLS_CA does not help",
    10: "the router needs a new one; WAMP_TLS_CA does not help",
    62: "WAMP_ROUTER_URL must have the name the certificate is for",
    64: "WAMP_ROUTER_URL must have the address the certificate is for",
}


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = _HINTS.get(error.verify_code, _UNTRUSTED)
        return f"the router's certificate was refused: {error.verify_message}; {hint}"
    alert = getattr(error, "reason", None) or ""
    if "_ALERT_" in alert and ("CERT" in alert or alert.endswith("UNKNOWN_CA")):
        return (
            f"the router requires a client certificate that it trusts ({alert}): see WAMP_TLS_CERT"
        )
    return error.strerror or str(error) or (os.strerror(error.errno) if error.errno else "unknown")
