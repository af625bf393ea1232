"""How browsers join a router that is not the app's own."""

from __future__ import annotations

import typing as t
from urllib.parse import urlsplit

from flask import request

from ..client.client import Client
from ..protocol import error_uris
from ..protocol.identity import BrowserIdentity
from ..transports import RouterURL

Identify = t.Callable[[], BrowserIdentity | None]


def public_url(urls: t.Iterable[str]) -> str | None:
    """Return the first WebSocket URL. A local host is replaced by the host of the request."""
    for url in urls:
        parts = urlsplit(url)
        if parts.scheme in ("ws", "wss"):
            if parts.hostname in ("127.0.0.1", "localhost", "::1", "0.0.0.0", "::"):
                host = urlsplit(f"//{request.host}").hostname or "localhost"
                host = f"[{host}]" if ":" in host else host
                parts = parts._replace(netloc=f"{host}:{parts.port}" if parts.port else host)
            return parts.geturl()
    return None


def kill_by_authid(client: Client, authid: str) -> int:
    """End the sessions of a user at a router that is not the app's own; return how many there were.

    Source: WAMP Advanced Profile, "Session Meta API". It says that the router answers with the number of
    sessions; Crossbar.io answers with their ids.
    """
    killed = client.call(
        "wamp.session.kill_by_authid",
        authid,
        reason=error_uris.CLOSE_LOGOUT,
        message="you have signed out",
    )
    return len(killed) if isinstance(killed, list) else int(killed)


class AtOtherRouter:
    """Browsers join the router that the app joins, at the router's own URL."""

    def __init__(
        self, url: RouterURL, realm: str, listen: t.Sequence[str], identify: Identify
    ) -> None:
        self.realm = realm
        self.browsers_socket = None
        self._urls = [*listen, url.url]
        self._identify = identify

    @property
    def public_url(self) -> str | None:
        """The router's URL. None if browsers cannot use it."""
        return public_url(self._urls)

    def ensure_router(self) -> None:
        """Do nothing, because the app does not start this router."""

    def identify(self) -> BrowserIdentity | None:
        """Return the sender of the current request. None if it is unknown."""
        return self._identify()

    def ticket(self, identity: BrowserIdentity) -> str | None:
        """Return None, because such a router has its own authenticator."""
        return None
