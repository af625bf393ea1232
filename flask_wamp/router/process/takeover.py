"""The router's side of handovers: it accepts browser connections from the app's processes."""

from __future__ import annotations

import contextlib
import os
import socket
import typing as t

from ..._text import get_logger
from ..facts import TransportFacts
from .handover import TIMEOUT, Handover, unpack
from .listeners import bind_unix, is_own_user
from .server import RouterServer
from .websocket import WebSocketConnection

logger = get_logger("flask_wamp.router")

#: The size of the largest handover, in bytes. Servers allow fewer for the headers of a request.
MAX_SIZE = 1024 * 1024


class HandoverListener:
    """Accepts handovers on a unix socket that only this user may open."""

    def __init__(self, server: RouterServer, path: str) -> None:
        self.path = path
        self.accepted = 0
        self._server = server
        self._sock = bind_unix(path)
        server.loop.add_reader(self._sock, self._accept)

    def close(self) -> None:
        """Stop listening."""
        self._server.loop.remove_reader(self._sock)
        self._sock.close()
        with contextlib.suppress(OSError):
            os.unlink(self.path)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            sock, _ = self._sock.accept()
            if is_own_user(sock):
                _Giver(self._server, sock, self._adopt)
            else:
                sock.close()

    def _adopt(self, handover: Handover, request: bytes, fd: int, keep: int | None) -> None:
        """Take over a connection that the app's server has accepted.

        :raises ConnectionRefusedError: There are too many connections.
        """
        server, address = self._server, handover.address
        if not server.admits(address):
            raise ConnectionRefusedError("too many connections are open")
        details = {
            "channel_framing": "websocket",
            "peer": f"tcp:{address}",
            "is_secure": handover.secure,
        }
        sock = socket.socket(fileno=os.dup(fd))
        with contextlib.suppress(OSError):  # a unix socket, behind a proxy
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The origin is not checked again: the app has checked it, because it knows its own origin.
        facts = TransportFacts(details=details, app_identity=handover.identity, app=handover.app)
        connection = WebSocketConnection(server, sock, facts, None)
        server.add(connection, address)
        self.accepted += 1
        if keep is not None:
            _keep_open(server, os.dup(keep))
        server.loop.call_soon(connection.begin, request)


class _Giver:
    """Receives one handover."""

    def __init__(
        self, server: RouterServer, sock: socket.socket, adopt: t.Callable[..., None]
    ) -> None:
        sock.setblocking(False)
        self._loop = server.loop
        self._sock = sock
        self._adopt = adopt
        self._data = b""
        self._fds: list[int] = []
        self._loop.add_reader(sock, self._readable)
        self._timer = self._loop.call_later(TIMEOUT, self._end, b"-it took too long")

    def _readable(self) -> None:
        try:
            data, fds, _, _ = socket.recv_fds(self._sock, 65536, 4)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._end(b"")
            return
        self._fds += fds
        self._data += data
        if len(self._data) > MAX_SIZE or len(self._fds) > 2:
            self._end(b"-it is too large")
        elif not data:
            self._end(self._take_over())

    def _take_over(self) -> bytes:
        try:
            handover, request = unpack(self._data)
            fd, *keep = self._fds
            self._adopt(handover, request, fd, keep[0] if keep else None)
        except Exception as error:
            logger.warning("refused the handover of a browser's connection: %s", error)
            return f"-{error}".encode()
        return b"+"

    def _end(self, answer: bytes) -> None:
        self._timer.cancel()
        self._loop.remove_reader(self._sock)
        with contextlib.suppress(OSError):
            self._sock.send(answer)
        self._sock.close()
        for fd in self._fds:
            os.close(fd)


def _keep_open(server: RouterServer, fd: int) -> None:
    """Read and drop what the server writes to its end of a socket pair, until the server closes it."""
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)

    def drain() -> None:
        try:
            data = sock.recv(65536)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            server.loop.remove_reader(sock)
            sock.close()

    server.loop.add_reader(sock, drain)
