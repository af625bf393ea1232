"""The configuration of a Crossbar node that serves this machine, for development and tests."""

from __future__ import annotations

import dataclasses
import re
import socket
import typing as t
from urllib.parse import urlsplit

from ..transports import RouterURL, parse_router_url
from .errors import RouterError

DEFAULT_URL = "ws://127.0.0.1:8080/ws"
"""The URL on which a development router listens by default."""

DEFAULT_REALM = "realm1"
"""The realm that it serves by default."""

#: Matches a segment of a Web path that Crossbar accepts.
_SEGMENT = re.compile(r"[a-z0-9A-Z_\-]+\Z")

_ANONYMOUS = {"anonymous": {"type": "static", "role": "anonymous"}}


#: The origins of this machine, in Crossbar's notation, with a port and without brackets. Other origins are
#: not allowed: a page of any website, opened in a browser here, would get all rights of a local program.
_OWN_ORIGINS = [
    f"{scheme}://{host}:*"
    for scheme in ("http", "https")
    for host in ("localhost", "127.0.0.1", "::1")
]


def _origin_pattern(origin: str) -> str:
    """Return an origin in Crossbar's notation."""
    if origin == "*":
        return origin
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.path:
        raise RouterError(f"{origin!r} is not an origin such as https://example.com")
    return f"{parts.scheme}://{parts.hostname}:{parts.port or _HTTP_PORTS[parts.scheme]}"


_HTTP_PORTS = {"http": 80, "https": 443}


def local_url(url: str) -> RouterURL:
    """Parse the URL on which a router on this machine is to listen.

    :raises RouterError: It is not a router URL, or its host is not this machine.
    """
    try:
        parsed = parse_router_url(url)
    except ValueError as error:
        raise RouterError(str(error)) from None
    if parsed.embedded or parsed.memory:
        raise RouterError(
            f"Crossbar.io cannot listen on {parsed.shown}. Use ws://, tcp:// or unix://"
        )
    if not parsed.local:
        raise RouterError(
            f"a development router serves this machine only, but the host of {parsed.shown} is another one. "
            "Use 127.0.0.1, or run Crossbar.io yourself on that host"
        )
    return dataclasses.replace(parsed, host="127.0.0.1") if parsed.host == "localhost" else parsed


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
    origins: t.Iterable[str] = (),
) -> dict[str, t.Any]:
    """Build the configuration of a Crossbar node with one router worker.

    All clients join with the role ``anonymous``. This role may do everything, including ``wamp.`` meta calls
    and subscriptions. Callers and publishers are disclosed.

    :param urls: Router URLs of this machine. Each gets a transport.
    :param auto_ping_interval_ms: Milliseconds between two pings to a WebSocket client. Off by default.
    :param auto_ping_timeout_ms: Milliseconds after which a client that has not answered a ping is dropped.
    :param max_message_size: Bytes of the largest message, in both directions. Crossbar's default is 16 MiB.
    :param auth: Crossbar's ``auth`` for all transports, instead of anonymous authentication.
    :param roles: Additional roles of ``realm``, as in Crossbar's configuration.
    :param realms: Additional realms, as in Crossbar's configuration.
    :param event_history: Topics of ``realm`` whose events are stored:
        ``{"uri": "com.example.news", "match": "exact", "limit": 100}``.
    :param origins: Origins whose web pages may join, in addition to those of this machine:
        ``https://example.com``, or ``*`` for all. Programs that send no origin can always join.
    :param tls: Crossbar's ``tls`` of an endpoint, for ``wss://`` and ``tls://`` URLs.
    :raises RouterError: A development router cannot serve a URL.
    """
    websocket = {
        "auto_ping_interval": auto_ping_interval_ms,
        "auto_ping_timeout": auto_ping_timeout_ms,
        "max_message_size": max_message_size,
        "allowed_origins": [*_OWN_ORIGINS, *map(_origin_pattern, origins)],
        "allow_null_origin": False,
    }
    common = {"auth": dict(auth or _ANONYMOUS)}
    transports = [
        _web(endpoint, {**common, **_options(websocket)}, tls)
        if endpoint.websocket
        else _rawsocket(
            endpoint, {**common, **_options({"max_message_size": max_message_size})}, tls
        )
        for endpoint in map(local_url, urls)
    ]
    own: dict[str, t.Any] = {"name": realm, "roles": [role("anonymous"), *map(dict, roles)]}
    if event_history:
        own["store"] = {"type": "memory", "event-history": [*map(dict, event_history)]}
    worker = {"type": "router", "realms": [own, *map(dict, realms)], "transports": transports}
    return {"version": 2, "workers": [worker]}


def role(name: str) -> dict[str, t.Any]:
    """Return a role that may do everything, and whose callers and publishers are disclosed."""
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


def _web(endpoint: RouterURL, service: dict[str, t.Any], tls: t.Any) -> dict[str, t.Any]:
    """Return a Web transport, because a WebSocket transport would answer on every path."""
    node: dict[str, t.Any] = {"type": "websocket", **service}
    path = endpoint.path.partition("?")[0].strip("/")
    *parents, last = path.split("/")
    for segment in (*parents, last):
        if path and not _SEGMENT.match(segment):
            raise RouterError(
                f"Crossbar cannot serve the path of {endpoint.shown}. Use a path such as /ws"
            )
    paths = {last or "/": node}
    for segment in reversed(parents):
        paths = {segment: {"type": "path", "paths": paths}}
    return {"type": "web", "endpoint": _listen(endpoint, tls), "paths": paths}


def _rawsocket(endpoint: RouterURL, service: dict[str, t.Any], tls: t.Any) -> dict[str, t.Any]:
    return {"type": "rawsocket", "endpoint": _listen(endpoint, tls), **service}


def _listen(endpoint: RouterURL, tls: t.Any) -> dict[str, t.Any]:
    if endpoint.unix:
        return {"type": "unix", "path": endpoint.path}
    if endpoint.secure and tls is None:
        raise RouterError(
            f"a development router has no certificate for {endpoint.shown}. "
            "Use ws:// or tcp:// on this machine"
        )
    listen = {"type": "tcp", "interface": endpoint.host, "port": endpoint.port}
    if endpoint.family == socket.AF_INET6:
        listen["version"] = 6
    return {**listen, "tls": dict(tls)} if endpoint.secure else listen
