"""Functions that take the browser's connection from the WSGI server that received its request.

A WSGI server closes a connection after it has answered. So the router gets a duplicate of the descriptor.

A duplicate alone is not enough: servers also shut the connection down, which ends it for every duplicate. So
the server's own descriptor is replaced by one end of a socket pair, whose other end is shut down for writing.
What the server writes to it is dropped. When the server reads, it sees the end of the stream and closes its
descriptor.
"""

from __future__ import annotations

import os
import socket
import ssl
import typing as t

Environ = t.Mapping[str, t.Any]


class NoSocket(Exception):
    """The server does not give access to its connection. The message says why and what to do."""


def connection_fd(environ: Environ) -> int:
    """Return the descriptor of the connection of a request.

    :raises NoSocket: The server does not reveal the descriptor, or the connection is not a plain socket.
    """
    sock = _socket(environ)
    if sock is None:
        return _uwsgi_fd()
    if isinstance(sock, ssl.SSLSocket) or hasattr(sock, "_sslobj"):
        raise NoSocket(
            "this server terminates TLS itself, and an encrypted connection cannot be handed over. Terminate "
            "TLS in a proxy such as nginx, or set WAMP_ROUTER_LISTEN to give the router a port of its own"
        )
    return int(sock.fileno())


def _socket(environ: Environ) -> t.Any:
    """Return the socket object of werkzeug, gunicorn or gevent.pywsgi."""
    for key in ("werkzeug.socket", "gunicorn.socket"):
        if environ.get(key) is not None:
            return environ[key]
    if str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent/"):
        body = environ[
            "wsgi.input"
        ]  # the file itself if there is an upgrade, otherwise a wrapper of it
        reader = getattr(getattr(body, "rfile", body), "raw", None)
        return getattr(reader, "_sock", None)
    return None


def _uwsgi_fd() -> int:
    try:
        import uwsgi
    except ImportError:  # the module exists only inside uWSGI
        raise NoSocket(
            "this server does not give access to its connections. Use flask run, gunicorn, uWSGI or "
            "gevent.pywsgi, or set WAMP_ROUTER_LISTEN to give the router a port of its own"
        ) from None
    return int(uwsgi.connection_fd())


class Detached:
    """A connection that was taken from its server.

    :param fd: The server's descriptor. The server keeps it, but it no longer refers to the connection.
    """

    def __init__(self, fd: int) -> None:
        self._server_fd = fd
        self.fd = os.dup(fd)
        """The descriptor of the connection."""
        mine, ours = socket.socketpair()
        ours.shutdown(socket.SHUT_WR)
        os.dup2(mine.fileno(), fd)
        mine.close()
        self._keep = ours

    @property
    def keep_fd(self) -> int:
        """The descriptor that must stay open until the server has closed its end."""
        return self._keep.fileno()

    def give_back(self) -> None:
        """Restore the server's descriptor, so that the server can answer."""
        os.dup2(self.fd, self._server_fd)
        self.close()

    def close(self) -> None:
        """Close the descriptors of this process."""
        os.close(self.fd)
        self._keep.close()


def request_bytes(environ: Environ) -> bytes:
    """Return the bytes of a WebSocket handshake without credentials, which the router answers."""
    lines = ["GET / HTTP/1.1"]  # the router ignores the path
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:].replace("_", "-").title()
            # Only the app uses credentials. The router does not.
            if name not in ("Cookie", "Authorization"):
                lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
