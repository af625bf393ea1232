"""Router URLs."""

from __future__ import annotations

import re
import typing as t
import urllib.parse

_PORTS = {"ws": 80, "wss": 443, "tcp": None, "tls": None}
FORMS = (
    "embedded:, embedded:/path/of/a.sock, memory:, ws://host:port/path, wss://host:port/path, "
    "tcp://host:port, tls://host:port or unix:///path"
)
"""The router URLs that there are."""


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
        return self.scheme in ("unix", "embedded")

    @property
    def embedded(self) -> bool:
        """Whether it is the app's own router, which is started on demand.

        ``path`` is empty where the app has not said which socket to use.
        """
        return self.scheme == "embedded"

    @property
    def memory(self) -> bool:
        """Whether the router is in this process, without a socket."""
        return self.scheme == "memory"


def _without_user(url: str) -> str:
    """A URL, or what was meant to be one, for people: up to the last @ may be a password."""
    return re.sub(r"//.*@", "//", url, flags=re.DOTALL)


def _is_path(text: str) -> bool:
    """Whether this can be the path of a unix socket, or is nothing: that of the app's own."""
    return not text or (text.startswith("/") and not text.startswith("//") and "\0" not in text)


def show_url(url: object) -> str:
    """What was given as a URL, for an error message: without user and password."""
    return repr(_without_user(url) if isinstance(url, str) else url)


def parse_router_url(url: str) -> RouterURL:
    """Take a router URL apart.

    :raises ValueError: It is none; says which forms there are.
    """
    wrong = ValueError(f"{show_url(url)} is not a router URL; use {FORMS}")
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        raise wrong from None  # it may show the password
    if url == "memory:" or parts.scheme == "embedded" and _is_path(url.partition(":")[2]):
        return RouterURL(url, parts.scheme, "localhost", 0, url.partition(":")[2])
    if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/"):
        return RouterURL(url, "unix", "localhost", 0, parts.path)
    if parts.scheme not in _PORTS or not parts.hostname or parts.fragment:
        raise wrong
    port = port or _PORTS[parts.scheme]
    if port is None or parts.scheme in ("tcp", "tls") and parts.path not in ("", "/"):
        raise wrong
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return RouterURL(url, parts.scheme, parts.hostname, port, path)
