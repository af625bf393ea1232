"""A configuration for a Crossbar node that serves this machine, for development and tests."""

from __future__ import annotations

import ipaddress
import re
import socket
import typing as t
from dataclasses import dataclass
from urllib.parse import urlsplit

from .errors import RouterError

DEFAULT_URL = "ws://127.0.0.1:8080/ws"
"""Where a development router listens when nothing else is said."""

DEFAULT_REALM = "realm1"
"""The realm it serves when nothing else is said."""

#: Scheme -> the port when a URL has none; None where a URL needs one.
_PORTS: dict[str, int | None] = {"ws": 80, "wss": 443, "tcp": None, "tls": None, "unix": None}

#: What Crossbar accepts as one segment of a Web path.
_SEGMENT = re.compile(r"[a-z0-9A-Z_\-]+\Z")

#: ``sun_path`` has 108 bytes on Linux, 104 elsewhere, the closing NUL included.
_LONGEST_UNIX_PATH = 103

_ANONYMOUS = {"anonymous": {"type": "static", "role": "anonymous"}}


@dataclass(frozen=True)
class Endpoint:
    """Where a router listens on this machine: a router URL, taken apart."""

    url: str
    scheme: str
    host: str
    port: int
    path: str

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """Take apart a router URL.

        :raises RouterError: Not a router URL, or not one of this machine.
        """
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise RouterError(
                f"{url!r} is not a router URL: it starts with ws://, tcp:// or unix://"
            )
        if parts.scheme == "unix":
            return cls(url, "unix", "", 0, _unix_path(url, parts.netloc + parts.path))
        host, port = _host(url, parts.hostname), _port(url, parts.scheme)
        return cls(url, parts.scheme, host, port, parts.path.strip("/"))

    @property
    def secure(self) -> bool:
        """Whether it speaks TLS."""
        return self.scheme in ("wss", "tls")

    @property
    def websocket(self) -> bool:
        """Whether it speaks WebSocket; RawSocket otherwise."""
        return self.scheme in ("ws", "wss")

    @property
    def family(self) -> socket.AddressFamily:
        """The address family of :attr:`address`."""
        if self.scheme == "unix":
            return socket.AF_UNIX
        return socket.AF_INET6 if ":" in self.host else socket.AF_INET

    @property
    def address(self) -> t.Any:
        """What ``socket.connect`` and ``socket.bind`` take."""
        return self.path if self.scheme == "unix" else (self.host, self.port)


def _unix_path(url: str, path: str) -> str:
    if not path.startswith("/"):
        raise RouterError(f"{url!r} needs an absolute path, as in unix:///run/router.sock")
    if len(path.encode()) > _LONGEST_UNIX_PATH:
        raise RouterError(f"the path of {url!r} is too long for a Unix socket")
    return path


def _host(url: str, host: str | None) -> str:
    if host == "localhost":
        return "127.0.0.1"
    try:
        local = ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        local = False
    if not local:
        raise RouterError(
            f"a development router serves this machine only, and {url} names another host: "
            "use 127.0.0.1, or start a Crossbar of your own there"
        )
    return t.cast(str, host)


def _port(url: str, scheme: str) -> int:
    try:
        port = urlsplit(url).port
    except ValueError:
        raise RouterError(f"{url!r} has no valid port") from None
    port = port or _PORTS[scheme]
    if port is None:
        raise RouterError(f"{url!r} needs a port, as in {scheme}://127.0.0.1:8081")
    return port


def node_config(
    urls: t.Iterable[str] = (DEFAULT_URL,),
    realm: str = DEFAULT_REALM,
    *,
    auto_ping_interval_ms: int | None = None,
    auto_ping_timeout_ms: int | None = None,
    max_message_size: int | None = None,
    auth: t.Mapping[str, t.Any] | None = None,
    roles: t.Sequence[t.Mapping[str, t.Any]] = (),
    realms: t.Sequence[t.Mapping[str, t.Any]] = (),
    event_history: t.Sequence[t.Mapping[str, t.Any]] = (),
    tls: t.Mapping[str, t.Any] | None = None,
) -> dict[str, t.Any]:
    """Build the configuration of a Crossbar node with one router worker.

    Everybody joins as ``anonymous``, a role that may do everything, ``wamp.`` meta calls and
    subscriptions included, and whose callers and publishers are disclosed.

    :param urls: Router URLs of this machine, one transport each.
    :param auto_ping_interval_ms: Ping WebSocket clients this often; off by default.
    :param auto_ping_timeout_ms: Drop a client that has not answered a ping after this time.
    :param max_message_size: Bytes, both directions; Crossbar's default is 16 MiB.
    :param auth: Crossbar's ``auth`` for all transports, in place of anonymous.
    :param roles: More roles of ``realm``, as Crossbar writes them.
    :param realms: More realms, as Crossbar writes them.
    :param event_history: Topics of ``realm`` whose events are kept:
        ``{"uri": "com.example.news", "match": "exact", "limit": 100}``.
    :param tls: Crossbar's ``tls`` of an endpoint, for ``wss://`` and ``tls://`` URLs.
    :raises RouterError: A URL that no development router can serve.
    """
    websocket = {
        "auto_ping_interval": auto_ping_interval_ms,
        "auto_ping_timeout": auto_ping_timeout_ms,
        "max_message_size": max_message_size,
    }
    common = {"auth": dict(auth or _ANONYMOUS)}
    transports = [
        _web(endpoint, {**common, **_options(websocket)}, tls)
        if endpoint.websocket
        else _rawsocket(
            endpoint, {**common, **_options({"max_message_size": max_message_size})}, tls
        )
        for endpoint in map(Endpoint.parse, urls)
    ]
    own: dict[str, t.Any] = {"name": realm, "roles": [role("anonymous"), *map(dict, roles)]}
    if event_history:
        own["store"] = {"type": "memory", "event-history": [*map(dict, event_history)]}
    worker = {"type": "router", "realms": [own, *map(dict, realms)], "transports": transports}
    return {"version": 2, "workers": [worker]}


def role(name: str) -> dict[str, t.Any]:
    """A role that may do everything and hides nothing."""
    everything = dict.fromkeys(("call", "register", "publish", "subscribe"), True)
    return {
        "name": name,
        "permissions": [
            {
                "uri": "",
                "match": "prefix",
                "allow": everything,
                "disclose": {"caller": True, "publisher": True},
            },
            {"uri": "wamp.", "match": "prefix", "allow": {"call": True, "subscribe": True}},
        ],
    }


def _options(options: dict[str, t.Any]) -> dict[str, t.Any]:
    given = {key: value for key, value in options.items() if value is not None}
    return {"options": given} if given else {}


def _web(endpoint: Endpoint, service: dict[str, t.Any], tls: t.Any) -> dict[str, t.Any]:
    """A Web transport and not a WebSocket one: that would answer on every path."""
    node: dict[str, t.Any] = {"type": "websocket", **service}
    *parents, last = endpoint.path.split("/")
    for segment in (*parents, last):
        if endpoint.path and not _SEGMENT.match(segment):
            raise RouterError(
                f"Crossbar cannot serve the path of {endpoint.url!r}: use one like /ws"
            )
    paths = {last or "/": node}
    for segment in reversed(parents):
        paths = {segment: {"type": "path", "paths": paths}}
    return {"type": "web", "endpoint": _listen(endpoint, tls), "paths": paths}


def _rawsocket(endpoint: Endpoint, service: dict[str, t.Any], tls: t.Any) -> dict[str, t.Any]:
    return {"type": "rawsocket", "endpoint": _listen(endpoint, tls), **service}


def _listen(endpoint: Endpoint, tls: t.Any) -> dict[str, t.Any]:
    if endpoint.scheme == "unix":
        return {"type": "unix", "path": endpoint.path}
    if endpoint.secure and tls is None:
        raise RouterError(
            f"a development router has no certificate for {endpoint.url}: "
            "use ws:// or tcp:// on this machine"
        )
    listen = {"type": "tcp", "interface": endpoint.host, "port": endpoint.port}
    if endpoint.family == socket.AF_INET6:
        listen["version"] = 6
    return {**listen, "tls": dict(tls)} if endpoint.secure else listen
