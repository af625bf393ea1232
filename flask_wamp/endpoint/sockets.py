"""The browser's connection, taken from under the server that has got its request.

A WSGI server closes a connection that it has answered. So the connection itself (a duplicate of its
descriptor) goes to the router, and under the server's own descriptor comes one end of a socket pair
whose other end says nothing more: what the server still writes goes nowhere, and when it reads on it
sees the end of the stream and closes *its* descriptor. A duplicate alone would not do, for servers shut
down the connection, which ends it for every copy.
"""

from __future__ import annotations

import os
import socket
import ssl
import typing as t

Environ = t.Mapping[str, t.Any]


class NoSocket(Exception):
    """This server does not give its connection away; says why, and what to do."""


def connection_fd(environ: Environ) -> int:
    """Return the descriptor of the connection that a request came on.

    :raises NoSocket: The server does not say, or the connection is not a plain socket.
    """
    sock = _socket(environ)
    if sock is None:
        return _uwsgi_fd()
    if isinstance(sock, ssl.SSLSocket) or hasattr(sock, "_sslobj"):
        raise NoSocket(
            "this server ends TLS itself, and an encrypted connection cannot be handed over. End "
            "TLS in a proxy such as nginx, or set WAMP_ROUTER_LISTEN to a port of the router's own"
        )
    return int(sock.fileno())


def _socket(environ: Environ) -> t.Any:
    """The server's socket object: werkzeug's, gunicorn's, gevent.pywsgi's."""
    for key in ("werkzeug.socket", "gunicorn.socket"):
        if environ.get(key) is not None:
            return environ[key]
    if str(environ.get("SERVER_SOFTWARE", "")).startswith("gevent/"):
        body = environ["wsgi.input"]  # with an upgrade the file itself, otherwise around it
        reader = getattr(getattr(body, "rfile", body), "raw", None)
        return getattr(reader, "_sock", None)
    return None


def _uwsgi_fd() -> int:
    try:
        import uwsgi
    except ImportError:  # the module exists inside of uWSGI only
        raise NoSocket(
            "this server does not give its connections away. Use flask run, gunicorn, uWSGI or "
            "gevent.pywsgi, or set WAMP_ROUTER_LISTEN to a port of the router's own"
        ) from None
    return int(uwsgi.connection_fd())


class Detached:
    """A connection that the server does not hold any more.

    :param fd: The server's descriptor; it stays the server's, and is not the connection afterwards.
    """

    def __init__(self, fd: int) -> None:
        self._server_fd = fd
        self.fd = os.dup(fd)
        """The connection."""
        mine, ours = socket.socketpair()
        ours.shutdown(socket.SHUT_WR)
        os.dup2(mine.fileno(), fd)
        mine.close()
        self._keep = ours

    @property
    def keep_fd(self) -> int:
        """What has to stay open until the server has closed its end."""
        return self._keep.fileno()

    def give_back(self) -> None:
        """Put the connection under the server's descriptor again: the server answers after all."""
        os.dup2(self.fd, self._server_fd)
        self.close()

    def close(self) -> None:
        """Close our copies."""
        os.close(self.fd)
        self._keep.close()


def request_bytes(environ: Environ) -> bytes:
    """Return the handshake as it came, for the router to answer."""
    lines = ["GET / HTTP/1.1"]  # the path was the app's
    for key, value in environ.items():
        if key.startswith("HTTP_"):
            name = key[5:].replace("_", "-").title()
            # A cookie is for the app: the router has no use for it.
            if name not in ("Cookie", "Authorization"):
                lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
