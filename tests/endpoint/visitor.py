"""A visitor of a served app: HTTP with a cookie jar, and WebSockets with its cookies."""

from __future__ import annotations

import json
import typing as t
import urllib.request
from http.cookiejar import CookieJar

from tests.support.browser import Browser

TIMEOUT = 20.0


class Visitor:
    """One browser with its own cookies.

    :param name: The user who logs in, or None.
    """

    def __init__(self, port: int, name: str | None = None) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.socket_url = f"ws://127.0.0.1:{port}/wamp"
        self._jar = CookieJar()
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self._jar))
        if name is not None:
            assert self.get(f"/login/{name}") == "hello"

    def get(self, path: str, method: str = "GET", **headers: str) -> t.Any:
        request = urllib.request.Request(self._url + path, method=method, headers=headers)
        with self._opener.open(request, timeout=TIMEOUT) as answer:
            text = answer.read().decode()
            return json.loads(text) if "json" in answer.headers["Content-Type"] else text

    def session(self) -> dict[str, t.Any]:
        """Request the data needed to join."""
        return t.cast("dict[str, t.Any]", self.get("/wamp/session", "POST"))

    @property
    def cookie(self) -> str:
        """The ``Cookie`` header."""
        return "; ".join(f"{each.name}={each.value}" for each in self._jar)

    def join(self, cookie: str | None = None, **options: t.Any) -> Browser:
        """Join with the cookies, or with those of another user."""
        return Browser(self.socket_url, cookie=cookie or self.cookie, **options)

    def enter(self, **options: t.Any) -> Browser:
        """Join with cookies at the embedded router, and at the URL from the app at another one."""
        return (
            self.join(**options)
            if self.session()["url"] == "/wamp"
            else self.join_router(**options)
        )

    def join_router(self, **options: t.Any) -> Browser:
        """Join at the URL from the app as ``client.js`` does, with a ticket if there is one."""
        how = self.session()
        if how["ticket"] is None:
            return Browser(self._url_of(how), **options)
        return self.join_with(how, **options)

    def join_with(self, ticket: dict[str, t.Any], **options: t.Any) -> Browser:
        """Join with a ticket, without cookies."""
        return Browser(self._url_of(ticket), ticket=ticket, **options)

    def _url_of(self, how: dict[str, t.Any]) -> str:
        url = str(how.get("url", "/wamp"))
        return self.socket_url if url == "/wamp" else url
