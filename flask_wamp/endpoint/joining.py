"""The URL at which browsers join, for the app's own router and for other routers."""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

from flask import request

from ..protocol.identity import BrowserIdentity

Identify = t.Callable[[], BrowserIdentity | None]


def public_url(urls: t.Iterable[str]) -> str | None:
    """Return the first WebSocket URL, or None. Replace a local host by the host of the current request."""
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "wss"):
            if parts.hostname in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::"):
                host = urlsplit(f"//{request.host}").hostname or "localhost"
                host = f"[{host}]" if ":" in host else host
                parts = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host)
            return parts.geturl()
    return None
