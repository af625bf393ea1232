"""Connections through an HTTP or SOCKS proxy, made by python-socks."""

from __future__ import annotations

import importlib.util
import socket
import urllib.parse

from ..concurrency.clock import monotonic
from ..exceptions import TransportError
from .urls import RouterURL, show_url

FORMS = "http://host:port, socks4://host:port, socks5://host:port or socks5h://host:port"
"""The forms of a proxy's URL, for error messages."""

_SCHEMES = ("http", "socks4", "socks5", "socks5h")


def check_proxy(url: object) -> str:
    """Return the URL of a proxy.

    :raises ValueError: It is not one, or python-socks is not installed.
    """
    try:
        parts = urllib.parse.urlsplit(url if isinstance(url, str) else "")
        valid = parts.scheme in _SCHEMES and bool(parts.hostname and parts.port)
    except ValueError:
        valid = False
    if not valid or not isinstance(url, str):
        raise ValueError(f"{show_url(url)} is not the URL of a proxy; use {FORMS}")
    if importlib.util.find_spec("python_socks") is None:
        raise ValueError("WAMP_PROXY needs python-socks: pip install python-socks")
    return url


def connect_through(proxy: str, url: RouterURL, deadline: float) -> socket.socket:
    """Connect to a router through a proxy.

    With ``socks5://``, this process resolves the name of the router. With the other schemes, the proxy does.

    :param deadline: The ``time.monotonic()`` at which the attempt ends.
    :raises TransportError: The proxy cannot be reached, or it does not connect to the router.
    """
    from python_socks import ProxyError, ProxyType
    from python_socks.sync import Proxy

    parts = urllib.parse.urlsplit(proxy)
    kind = {"http": ProxyType.HTTP, "socks4": ProxyType.SOCKS4}.get(parts.scheme, ProxyType.SOCKS5)
    client = Proxy(
        kind,
        parts.hostname or "",
        parts.port or 0,
        urllib.parse.unquote(parts.username) if parts.username else None,
        urllib.parse.unquote(parts.password) if parts.password else None,
        rdns=parts.scheme != "socks5",
    )
    try:
        timeout = max(0.001, deadline - monotonic())
        sock: socket.socket = client.connect(url.host, url.port, timeout=timeout)
    except (OSError, ProxyError) as error:
        raise TransportError(
            f"cannot connect to {url.shown} through the proxy {show_url(proxy)}: {error}"
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
