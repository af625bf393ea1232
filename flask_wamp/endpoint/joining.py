"""How browsers join at a router that is not the app's own."""

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
    """Return the first URL that a browser can use, with the host that the browser has asked."""
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
    """Browsers join the router that the app itself joins, by its own URL."""

    def __init__(
        self, url: RouterURL, realm: str, listen: t.Sequence[str], identify: Identify
    ) -> None:
        self.realm = realm
        self.browsers_socket = None
        self._urls = [*listen, url.url]
        self._identify = identify

    @property
    def public_url(self) -> str | None:
        """The router's URL, where it is one for browsers."""
        return public_url(self._urls)

    def ensure_router(self) -> None:
        """It is not ours to start."""

    def identify(self) -> BrowserIdentity | None:
        """Return who sends the present request."""
        return self._identify()

    def ticket(self, identity: BrowserIdentity) -> str | None:
        """Return None: such a router asks its own authenticator."""
        return None
