"""Router URLs: where a client connects to, and where a router listens."""

from __future__ import annotations

import dataclasses
import functools
import ipaddress
import re
import socket
import sys
import typing as t
import urllib.parse

FORMS = (
    "embedded:, embedded:/path/of/a.sock, memory:, ws://host:port/path, wss://host:port/path, "
    "tcp://host:port, tls://host:port or unix:///path"
)
"""The forms of a router URL, for error messages."""

#: The default port by scheme. None means that the URL has to name one.
_PORTS: dict[str, int | None] = {"ws": 80, "wss": 443, "tcp": None, "tls": None}

#: The length, in bytes, of the longest path of a Unix socket: ``sun_path`` without its closing NUL.
LONGEST_UNIX_PATH = 107 if sys.platform == "linux" else 103

#: The same for ``embedded:/path``. The router has a second socket, whose name is longer by ``.browsers``.
LONGEST_EMBEDDED_PATH = LONGEST_UNIX_PATH - len(".browsers")

Address: t.TypeAlias = str | tuple[str, int]
"""An argument of ``socket.connect`` and ``socket.bind``."""


@dataclasses.dataclass(frozen=True, repr=False)
class RouterURL:
    """The parts of a router URL. :func:`parse_router_url` returns one."""

    url: str
    scheme: str
    host: str
    port: int
    path: str
    """The request target of a WebSocket with its query, or the path of a Unix socket. Otherwise ``/``."""

    shown: str = dataclasses.field(init=False, compare=False)
    """The URL for logs and errors: without user, password and query."""
    websocket: bool = dataclasses.field(init=False, compare=False)
    """Whether peers speak WebSocket there."""
    secure: bool = dataclasses.field(init=False, compare=False)
    """Whether peers speak TLS there."""
    unix: bool = dataclasses.field(init=False, compare=False)
    """Whether :attr:`path` is a socket in the file system."""
    embedded: bool = dataclasses.field(init=False, compare=False)
    """Whether this is the app's own router. :attr:`path` is empty if the app chooses the path."""
    memory: bool = dataclasses.field(init=False, compare=False)
    """Whether the router is in this process."""

    def __post_init__(self) -> None:
        scheme = self.scheme
        vars(self).update(  # because the class is frozen
            shown=_without_secrets(self.url),
            websocket=scheme in ("ws", "wss"),
            secure=scheme in ("wss", "tls"),
            unix=scheme in ("unix", "embedded"),
            embedded=scheme == "embedded",
            memory=scheme == "memory",
        )

    def __repr__(self) -> str:
        return f"<RouterURL {self.shown}>"

    @functools.cached_property
    def has_password(self) -> bool:
        """Whether a password is in the URL."""
        return urllib.parse.urlsplit(self.url).password is not None

    @functools.cached_property
    def transport(self) -> str:
        """``websocket``, ``rawsocket`` or ``memory``."""
        if self.memory:
            return "memory"
        return "websocket" if self.websocket else "rawsocket"

    @functools.cached_property
    def local(self) -> bool:
        """Whether the router is on this machine."""
        if self.scheme not in _PORTS or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @functools.cached_property
    def family(self) -> socket.AddressFamily:
        """The address family of :attr:`address`. The host must be an address."""
        if self.unix:
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @functools.cached_property
    def address(self) -> Address:
        """The argument of ``socket.connect`` and ``socket.bind``. The host must be an address."""
        return self.path if self.unix else (self.host, self.port)


class InvalidRouterURL(ValueError):
    """A value is not a router URL.

    :param url: The value, as it may be shown.
    """

    def __init__(self, url: str, why: str) -> None:
        super().__init__(f"{url} is not a router URL: {why}; use {FORMS}")
        self.why = why
        """The reason, without the value."""


def parse_router_url(url: object) -> RouterURL:
    """Parse a router URL.

    :raises InvalidRouterURL: It is not a router URL. The text says why and lists the forms. It never
        contains a password.
    """
    try:
        if not isinstance(url, str):
            raise ValueError("it is not text")
        return _parse(url)
    except ValueError as error:
        why = str(error)
    # Raised here and not above, because the error of ``urllib`` may show the password.
    raise InvalidRouterURL(show_url(url), why)


def _parse(url: str) -> RouterURL:
    parts = _split(url)
    if parts.scheme in ("unix", "embedded", "memory"):
        return RouterURL(url, parts.scheme, "localhost", 0, _local_path(parts, url))
    if parts.scheme not in _PORTS:
        raise ValueError("no transport has this scheme")
    if not parts.hostname:
        raise ValueError("it names no host")
    if parts.fragment:
        raise ValueError("it has a fragment")
    port = _port(parts)
    if parts.scheme in ("tcp", "tls") and (parts.path not in ("", "/") or parts.query):
        raise ValueError("RawSocket has no path")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return RouterURL(url, parts.scheme, parts.hostname, port, path)


def _split(url: str) -> urllib.parse.SplitResult:
    try:
        return urllib.parse.urlsplit(url)
    except ValueError:
        raise ValueError("its host is not a valid one") from None


def _port(parts: urllib.parse.SplitResult) -> int:
    try:
        port = parts.port
    except ValueError:
        raise ValueError("it has no valid port") from None
    port = port or _PORTS[parts.scheme]
    if port is None:
        raise ValueError(f"it needs a port, as in {parts.scheme}://127.0.0.1:8081")
    return port


def _local_path(parts: urllib.parse.SplitResult, url: str) -> str:
    """Return the path of ``unix:///path`` or ``embedded:/path``. Without a path, return ``""``."""
    scheme, path = parts.scheme, parts.path
    if scheme != "unix" and url.lower() == f"{scheme}:":
        return ""
    if scheme == "memory":
        raise ValueError("it takes nothing after the colon, as in memory:")
    example = "unix:///run/router.sock" if scheme == "unix" else "embedded:/run/router.sock"
    if parts.netloc or not path.startswith("/"):
        raise ValueError(f"it needs an absolute path, as in {example}")
    if "\0" in path or parts.query or parts.fragment:
        raise ValueError("a path of a Unix socket has no NUL, no ? and no #")
    size, longest = len(path.encode("utf-8", "surrogateescape")), LONGEST_UNIX_PATH
    if scheme == "embedded":
        longest = LONGEST_EMBEDDED_PATH
    if size > longest:
        raise ValueError(
            f"its path is too long for a Unix socket: it has {size} bytes, and may have {longest}"
        )
    return path


def show_url(url: object) -> str:
    """Return a URL as it was given, for an error message, without user, password and query."""
    if isinstance(url, str):
        return repr(_without_secrets(url))
    return (
        repr(url)
        if url is None or isinstance(url, bool | int | float)
        else f"<{type(url).__name__}>"
    )


#: Everything up to the last @ may be a password, because people put unquoted @ and / into passwords.
_USER = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*://)?.*@", flags=re.DOTALL)

#: A query may hold a token. A fragment has no meaning in a router URL.
_QUERY = re.compile(r"[?#].*", flags=re.DOTALL)


def _without_secrets(url: str) -> str:
    # The user and password go first, because a password may contain a question mark.
    return _QUERY.sub(lambda found: f"{found[0][0]}...", _USER.sub(r"\1", url))
