"""Listeners, which accept connections on router URLs."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import ssl
import struct
import typing as t

from ..._text import get_logger
from ...protocol.identity import Identity
from ...transports.urls import RouterURL
from ..facts import TransportFacts
from .client_connection import ClientConnection, secured
from .errors import ListenError
from .rawsocket import RawSocketConnection, SecureRawSocketConnection
from .server import RouterServer
from .websocket import SecureWebSocketConnection, WebSocketConnection

logger = get_logger("flask_wamp.router")

BACKLOG = 1024

#: The errors of ``accept()`` when this process has too many open files.
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

#: Seconds for which no connection is accepted after such an error.
PAUSE = 0.5


class Listener:
    """Accepts connections on one router URL.

    :param app: The app whose clients connect, see :class:`.TransportFacts`.
    :param identity: The identity of every client, if the socket proves it. None if the authenticator decides.
    :param own_user: Accept only processes of this process's user or of root. For unix sockets.
    :param origins: See :class:`.WebSocketConnection`.
    :param tls: The context for ``wss`` and ``tls``.
    :param loopback_only: Accept only programs on this machine.
    :raises ListenError: The router cannot listen at the URL.
    """

    def __init__(
        self,
        server: RouterServer,
        url: RouterURL,
        *,
        app: str = "",
        identity: Identity | None = None,
        own_user: bool = False,
        origins: t.Sequence[str | None] | None = (None,),
        tls: ssl.SSLContext | None = None,
        loopback_only: bool = False,
    ) -> None:
        if url.secure and tls is None:
            raise ListenError(f"{url.shown} needs a certificate: pass --tls-cert and --tls-key")
        self.url = url
        self.connections: set[ClientConnection] = set()
        """The open connections."""
        self.emptied: float | None = None
        """The time when a connection was last closed, by the clock of the loop. None if none was."""
        self._server = server
        self._app = app
        self._identity = identity
        self._own_user = own_user
        self._origins = origins
        self._tls = tls
        self._loopback_only = loopback_only
        self._sock = bind_unix(url.path) if url.unix else _bind(url)
        server.loop.add_reader(self._sock, self._accept)

    @property
    def port(self) -> int:
        """The port. 0 for a unix socket."""
        return 0 if self.url.unix else int(self._sock.getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        self._server.loop.remove_reader(self._sock)
        self._sock.close()
        if self.url.unix:
            with contextlib.suppress(OSError):
                os.unlink(self.url.path)

    def _accept(self) -> None:
        for _ in range(BACKLOG):
            try:
                sock, address = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionError):
                return
            except OSError as error:
                if error.errno in _FULL:
                    self._pause(error)
                    return
                raise
            self._admit(sock, address)

    def _pause(self, error: OSError) -> None:
        logger.error("cannot accept connections: %s", error)
        loop = self._server.loop
        loop.remove_reader(self._sock)
        loop.call_later(
            PAUSE, lambda: self._sock.fileno() != -1 and loop.add_reader(self._sock, self._accept)
        )

    def _admit(self, sock: socket.socket, address: t.Any) -> None:
        where = "" if self.url.unix else str(address[0])
        if not self._lets_in(sock, where):
            sock.close()
            return
        details: dict[str, t.Any] = {
            "channel_framing": self.url.transport,
            "peer": "unix" if self.url.unix else f"tcp:{where}:{address[1]}",
            "is_secure": self.url.secure,
        }
        facts = TransportFacts(details=details, identity=self._identity, app=self._app)
        if not self.url.unix:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        try:
            connection = self._connection(sock, facts)
        except OSError as error:  # the client has already disconnected
            logger.debug("a connection from %s failed: %s", details["peer"], error)
            sock.close()
            return
        except BaseException:  # a bug in Flask-WAMP: the client must not wait for an answer
            sock.close()
            raise
        self._server.add(connection, where)
        self.connections.add(connection)
        connection.on_close = self._closed

    def _closed(self, connection: ClientConnection) -> None:
        self.connections.discard(connection)
        self.emptied = self._server.loop.time()

    def _lets_in(self, sock: socket.socket, address: str) -> bool:
        if self._own_user and not is_own_user(sock):
            return False
        if self._loopback_only and address and not is_loopback(address):
            self._server.log_rejected(
                "%s is another machine. Without principals, only programs on this machine may join: "
                "pass a file of principals with --principals",
                address,
            )
            return False
        return self._server.admits(address)

    def _connection(self, sock: socket.socket, facts: TransportFacts) -> ClientConnection:
        server, tls = self._server, self._tls if self.url.secure else None
        if tls is not None:
            sock = secured(tls, sock)
        if self.url.websocket:
            websocket = SecureWebSocketConnection if tls is not None else WebSocketConnection
            path = self.url.path.partition("?")[0]
            return websocket(server, sock, facts, self._origins, path)
        return (SecureRawSocketConnection if tls is not None else RawSocketConnection)(
            server, sock, facts
        )


def _bind(url: RouterURL) -> socket.socket:
    try:
        found = socket.getaddrinfo(
            url.host, url.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"cannot listen on {url.shown}: {error}") from error
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {url.shown}: {error.strerror}") from error
    return sock


def bind_unix(path: str, kind: int = socket.SOCK_STREAM) -> socket.socket:
    """Listen on a unix socket that only this user may open. Replace the socket of a router that has ended.

    :raises ListenError: The path is in use, or this user may not use it.
    """
    sock = socket.socket(socket.AF_UNIX, kind)
    try:
        if _is_stale(path):
            os.unlink(path)
        mask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(mask)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise ListenError(f"cannot listen on {path}: {error.strerror or error}") from error
    return sock


def _is_stale(path: str) -> bool:
    """Return whether there is a unix socket on which no process listens."""
    if not os.path.exists(path):
        return False
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
    return False


def is_loopback(address: str) -> bool:
    """Return whether an IP address is a loopback address."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(found, "ipv4_mapped", None)
    return (mapped or found).is_loopback


def is_own_user(sock: socket.socket) -> bool:
    """Return whether the process at the other end of a unix socket runs as this user or as root."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True  # other users cannot enter the folder of the socket
    credentials = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return uid in (os.geteuid(), 0)
