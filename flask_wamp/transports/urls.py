"""Router URLs."""

from __future__ import annotations

import re
import typing as t
import urllib.parse

_PORTS = {"ws": 80, "wss": 443, "tcp": None, "tls": None}
_FORMS = (
    "ws://host:port/path, wss://host:port/path, tcp://host:port, tls://host:port or unix:///path"
)


class RouterURL(t.NamedTuple):
    """Where a router listens, and for what."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @property
    def shown(self) -> str:
        """The URL for logs: without user and password."""
        return _without_user(self.url)

    def __repr__(self) -> str:
        return f"<RouterURL {self.shown}>"

    @property
    def transport(self) -> str:
        """``websocket`` or ``rawsocket``."""
        return "websocket" if self.websocket else "rawsocket"

    @property
    def websocket(self) -> bool:
        """Whether to speak WebSocket; else RawSocket."""
        return self.scheme in ("ws", "wss")

    @property
    def secure(self) -> bool:
        """Whether to speak TLS."""
        return self.scheme in ("wss", "tls")

    @property
    def unix(self) -> bool:
        """Whether ``path`` is a socket in the file system."""
        return self.scheme == "unix"


def _without_user(url: str) -> str:
    """A URL, or what was meant to be one, for people: up to the last @ may be a password."""
    return re.sub(r"//.*@", "//", url, flags=re.DOTALL)


def show_url(url: object) -> str:
    """What was given as a URL, for an error message: without user and password."""
    return repr(_without_user(url) if isinstance(url, str) else url)


def parse_router_url(url: str) -> RouterURL:
    """Take a router URL apart.

    :raises ValueError: It is none; says which forms there are.
    """
    wrong = ValueError(f"{show_url(url)} is not a router URL; use {_FORMS}")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        raise wrong from None  # it may show the password
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return RouterURL(url, "unix", "localhost", 0, parts.path)
    if parts.scheme not in _PORTS or not parts.hostname or parts.fragment:
        raise wrong
    port = port or _PORTS[parts.scheme]
    if port is None or parts.scheme in ("tcp", "tls") and parts.path not in ("", "/"):
        raise wrong
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return RouterURL(url, parts.scheme, parts.hostname, port, path)
