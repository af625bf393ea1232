"""The routes for browsers: the WebSocket, the ES module, and the data needed to join."""

from __future__ import annotations

import typing as t

from flask import Flask, Response, request, request_started

from .._text import get_logger
from ..protocol.identity import BrowserIdentity
from .browser_sessions import LoginSignals
from .module import client_d_ts, client_js
from .origins import is_allowed
from .sockets import Detached, NoSocket, connection_fd, request_bytes

logger = get_logger("flask_wamp")


class JoinTarget(t.Protocol):
    """Tells the endpoint how browsers join the app's router."""

    @property
    def realm(self) -> str:
        """The realm to join."""

    @property
    def own(self) -> str:
        """The prefix of the URIs that the app uses itself. It names the app at the router."""

    @property
    def browsers_socket(self) -> str | None:
        """The unix socket for handovers. None if the router is not an embedded one."""

    @property
    def public_url(self) -> str | None:
        """The router's own URL for browsers. None if they join at the endpoint."""

    def ensure_router(self) -> None:
        """Start the embedded router if it is not running."""

    def identify(self) -> BrowserIdentity | None:
        """Return the identity of the sender, or None if the sender is unknown."""

    def ticket(self, identity: BrowserIdentity) -> str | None:
        """Return a ticket that lets a browser join once as this identity, or None if there is none."""


class Endpoint:
    """The endpoint of one app.

    :param path: ``WAMP_ENDPOINT``.
    :param origins: ``WAMP_ORIGINS``.
    :param signals: Receives the signals of logins and logouts. The endpoint keeps it alive.
    """

    def __init__(
        self,
        app: Flask,
        path: str,
        origins: t.Sequence[str],
        joining: JoinTarget,
        signals: LoginSignals | None = None,
    ) -> None:
        self._signals = signals
        self._has_logged = False
        self._origins = tuple(origins)
        self._joining = joining
        self._path = path.rstrip("/")
        rule = app.add_url_rule
        rule(self._path or "/", "wamp_socket", self.socket, methods=["GET"], websocket=True)
        rule(self._path or "/", "wamp_no_socket", self.no_socket, methods=["GET"])
        rule(f"{self._path}/client.js", "wamp_client_js", self.client_js, methods=["GET"])
        rule(f"{self._path}/client.d.ts", "wamp_client_d_ts", self.client_d_ts, methods=["GET"])
        rule(f"{self._path}/session", "wamp_session", self.session, methods=["POST"])
        self._exempt(app)
        # The app may initialize Flask-WTF after this extension.
        request_started.connect(self._exempt_at_last, app)

    def _exempt_at_last(self, app: Flask, **payload: object) -> None:
        self._exempt(app)
        request_started.disconnect(self._exempt_at_last, app)

    def _exempt(self, app: Flask) -> None:
        """Exempt ``POST .../session`` from the CSRF check of Flask-WTF.

        The request changes nothing, and only pages of allowed origins get an answer.
        """
        csrf: t.Any = app.extensions.get("csrf")
        if hasattr(csrf, "exempt"):
            csrf.exempt(f"{type(self).session.__module__}.{type(self).session.__name__}")

    def socket(self) -> Response:
        """Hand the WebSocket over to the router. The server has nothing more to do with it."""
        if not self._is_allowed():
            return _text(403, "This page may not join: its origin is not in WAMP_ORIGINS.")
        path = self._joining.browsers_socket
        if path is None:
            url = self._joining.public_url
            how = f"join it at {url}" if url else "set WAMP_ROUTER_LISTEN to its URL for browsers"
            return _text(501, f"This app uses a separate router: {how}.")
        try:
            fd = connection_fd(request.environ)
        except NoSocket as error:
            self._log_once(error)
            return _text(501, f"The WebSocket cannot be opened here: {error}.")
        if request.headers.get("Sec-WebSocket-Version") != "13":
            return _text(426, "Use version 13 of WebSocket.")
        return self._hand_over(fd, path)

    def _log_once(self, error: NoSocket) -> None:
        """Log why pages cannot join, because a browser does not show the answer to the page."""
        if not self._has_logged:
            self._has_logged = True
            logger.error("pages cannot join at %s: %s", self._path or "/", error)

    def _hand_over(self, fd: int, path: str) -> Response:
        from ..router.process.handover import Handover, hand_over

        identity = self._joining.identify()
        app = self._joining.own
        handover = Handover(request.remote_addr or "", request.is_secure, app, identity)
        detached = Detached(fd)
        try:
            fds, data = (detached.fd, detached.keep_fd), request_bytes(request.environ)
            try:
                hand_over(path, fds, handover, data)
            except (FileNotFoundError, ConnectionError):  # the router has stopped
                self._joining.ensure_router()
                hand_over(path, fds, handover, data)
        except OSError as error:
            detached.give_back()
            return _text(503, f"The router cannot be reached: {error}.")
        except BaseException:
            detached.give_back()
            raise
        detached.close()
        return Response(status=101)

    def no_socket(self) -> Response:
        """Explain this URL to users who open it in a browser."""
        return _text(
            426,
            f"This is where browsers join over WebSocket: connect({self._public_path!r}) of client.js.",
        )

    def client_js(self) -> Response:
        """Serve the browser's module."""
        return _file(client_js(), "text/javascript")

    def client_d_ts(self) -> Response:
        """Serve the types of the browser's module."""
        return _file(client_d_ts(), "text/plain")

    def session(self) -> Response | tuple[dict[str, t.Any], int]:
        """Return the data needed to join: ``url``, ``realm``, ``authid`` and ``ticket``.

        ``authid`` and ``ticket`` are None if the sender is unknown.
        """
        if not self._is_allowed():
            return _text(403, "This page may not join: its origin is not in WAMP_ORIGINS.")
        identity = self._joining.identify()
        return {
            "url": self._joining.public_url or self._public_path or "/",
            "realm": self._joining.realm,
            "authid": identity.authid if identity is not None else None,
            "ticket": self._joining.ticket(identity) if identity is not None else None,
        }, 200

    @property
    def _public_path(self) -> str:
        """The path of the endpoint for browsers. It begins with the prefix below which the app is mounted."""
        return f"{request.script_root}{self._path}"

    def _is_allowed(self) -> bool:
        return is_allowed(request.headers.get("Origin"), request.host, self._origins)


def _text(status: int, text: str) -> Response:
    return Response(f"{text}\n", status, content_type="text/plain; charset=utf-8")


def _file(text: str, kind: str) -> Response:
    response = Response(text, content_type=f"{kind}; charset=utf-8")
    response.add_etag()
    response.headers["Cache-Control"] = "no-cache"
    response.make_conditional(request)
    return response
