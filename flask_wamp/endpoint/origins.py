"""Which web pages may join: those of the app's own origin, and of ``WAMP_ORIGINS``.

A browser sends the cookies of the app with a WebSocket that any page opens, and says in ``Origin`` which
page that is.

Source: RFC 6455, 10.2; RFC 6454, 4.
"""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_allowed(origin: str | None, host: str, origins: t.Collection[str]) -> bool:
    """Whether a request with this ``Origin`` may join.

    :param origin: The header; None: no web page sends such a request.
    :param host: The ``Host`` that was asked, perhaps with a port.
    :param origins: ``https://shop.example`` and the like, or ``"*"`` for all.
    """
    if origin is None or "*" in origins:
        return True
    if any(origin.lower() == allowed.lower().rstrip("/") for allowed in origins):
        return True
    parts = urlsplit(origin)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False  # "null", and what is no origin
    # Only the host is compared: behind a proxy that ends TLS the app often does not know its scheme.
    try:
        theirs, ours = parts.port or _PORTS[parts.scheme], urlsplit(f"//{host}")
        port = ours.port or _PORTS[parts.scheme]
    except ValueError:
        return False
    return parts.hostname == (ours.hostname or "") and theirs == port
