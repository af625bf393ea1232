"""The check of origins. Pages of the app's own origin and of ``WAMP_ORIGINS`` may join.

A browser sends the app's cookies with every WebSocket to it, whichever page opens the WebSocket. The header
``Origin`` names the origin of that page.

Source: RFC 6455, 10.2; RFC 6454, 4.
"""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_allowed(origin: str | None, host: str, origins: t.Collection[str]) -> bool:
    """Return whether a request with this ``Origin`` may join.

    :param origin: The header. None if it is missing: such a request is not from a web page.
    :param host: The header ``Host``, which may contain a port.
    :param origins: Origins such as ``https://shop.example``, or ``"*"`` for all.
    """
    if origin is None or "*" in origins:
        return True
    if any(origin.lower() == allowed.lower().rstrip("/") for allowed in origins):
        return True
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False  # "null", or not an origin
    # The scheme is not compared: behind a proxy that ends TLS, the app often does not know it.
    try:
        theirs, ours = parts.port or _PORTS[parts.scheme], urlsplit(f"//{host}")
        port = ours.port or _PORTS[parts.scheme]
    except ValueError:
        return False
    return parts.hostname == (ours.hostname or "") and theirs == port
