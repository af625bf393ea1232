"""The HTTP side: errors of WAMP calls in HTTP views, and the first HTTP request."""

from __future__ import annotations

import typing as t

from flask import Flask, request
from werkzeug.exceptions import BadGateway, GatewayTimeout, HTTPException, ServiceUnavailable

from .._text import get_logger
from ..exceptions import (
    ApplicationError,
    CallTimeout,
    NotJoined,
    SessionLost,
    TransportError,
    WAMPError,
)
from .flask_versions import call_method

logger = get_logger("flask_wamp.http")

#: WAMP errors that an HTTP view does not handle, and the HTTP errors that answer them.
ANSWERS: dict[type[WAMPError], tuple[type[HTTPException], str]] = {
    ApplicationError: (BadGateway, "A service that this page uses answered with an error."),
    CallTimeout: (GatewayTimeout, "A service that this page uses did not answer in time."),
    NotJoined: (ServiceUnavailable, "A service that this page uses cannot be reached."),
    SessionLost: (ServiceUnavailable, "The connection to a service that this page uses was lost."),
    TransportError: (ServiceUnavailable, "A service that this page uses cannot be reached."),
}


def answer_errors(app: Flask) -> None:
    """Answer unhandled WAMP errors with 502, 503 or 504, unless the app has its own error handler."""

    def answer(error: WAMPError) -> t.Any:
        own = _own_handler(app, error, answer)
        if own is not None:
            return app.ensure_sync(own)(error)
        what = f"{request.method} {request.path}"
        logger.error("%s: the view did not handle an error: %s", what, error, exc_info=error)
        for kind, (http, description) in ANSWERS.items():
            if isinstance(error, kind):
                return call_method(app, "handle_http_exception", http(description))
        return call_method(app, "handle_exception", error)

    for kind in ANSWERS:
        if kind not in app.error_handler_spec[None][None]:
            app.register_error_handler(kind, answer)


def _own_handler(app: Flask, error: Exception, ours: t.Any) -> t.Callable[..., t.Any] | None:
    """Return the app's handler for a base class.

    Flask would prefer the handler of this module, because its class is more specific.
    """
    handlers = app.error_handler_spec[None][None]
    for kind in type(error).__mro__:
        handler = handlers.get(kind)
        if handler is not None and handler is not ours:
            return t.cast("t.Callable[..., t.Any]", handler)
    return None


def before_first_request(app: Flask, start: t.Callable[[], object]) -> None:
    """Start the client at the first HTTP request, unless it was started before. Does nothing in tests."""

    def first_request() -> None:
        if not app.testing:
            start()

    app.before_request_funcs.setdefault(None, []).insert(0, first_request)


def refuse_requests(app: Flask, error: Exception) -> None:
    """Answer all HTTP requests with an error from now on, because the app's WAMP side cannot be served."""

    def refuse() -> None:
        raise error

    app.before_request_funcs.setdefault(None, []).insert(0, refuse)
