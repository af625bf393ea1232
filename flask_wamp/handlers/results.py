"""Converts what a handler returns or raises to RESULT or ERROR."""

from __future__ import annotations

import functools
import logging
import typing as t

from flask import Flask, has_request_context
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

from .._text import get_logger
from ..concurrency.guards import report
from ..concurrency.interruption import HandlerInterrupted
from ..concurrency.threads import is_time_limit
from ..exceptions import ApplicationError, CallTimeout, SerializationError
from ..peer.declarations import Failure, Outcome, Success
from ..protocol import error_uris
from ..protocol.call_result import CallResult
from ..protocol.uris import check_uri, resolve, snake_case
from .context import Event, Message
from .validation import InvalidArgument

logger = get_logger("flask_wamp.dispatch")

Plain = t.Callable[[t.Any], t.Any]


class Results:
    """Converts what the handlers of one app return and raise to outcomes.

    :param prefix: ``WAMP_URI_PREFIX``. The error URIs that are made here are below it.
    """

    def __init__(self, app: Flask, prefix: str | None) -> None:
        self._app = app
        self._prefix = prefix

    def returned(self, value: t.Any, plain: Plain, *, is_view: bool) -> Outcome:
        """Return the outcome of a returned value.

        :param is_view: Whether a tuple means ``(body, status)``, as in an HTTP view.
        :raises SerializationError: It cannot be sent.
        """
        if isinstance(value, CallResult):
            return Success(plain(value.args), plain(value.kwargs))
        if isinstance(value, Response):
            return self._http(_body(value), value.status_code, plain, value.location)
        if is_view and isinstance(value, tuple) and len(value) in (2, 3):
            return self._view_tuple(value, plain)
        if isinstance(value, tuple) and any(isinstance(each, Response) for each in value):
            raise SerializationError(
                "a tuple with a response cannot be sent. Only a handler that is also a view may return "
                "(response, status); any other returns the response, or data"
            )
        return Success([plain(value)])

    def raised(self, error: BaseException, plain: Plain, message: Message) -> Outcome:
        """Return the outcome of an exception, and log it. An unexpected one is logged with its traceback.

        This never raises, even if the exception's own code or the app's log handlers raise.
        """
        try:
            outcome = self._expected(error, plain, message)
        except BaseException as defect:  # the payload's own code, for example
            _log(logging.ERROR, message, "raised an error that cannot be sent: %s", _text(defect))
            outcome = None
        if outcome is not None:
            return outcome
        hint = _hint(error)
        _log(logging.ERROR, message, "failed%s", f". {hint}" if hint else "", exc_info=error)
        return Failure(error_uris.RUNTIME_ERROR, self._detail(error))

    def _expected(self, error: BaseException, plain: Plain, message: Message) -> Outcome | None:
        if is_time_limit(error):
            _log(logging.WARNING, message, "took too long and was ended")
            return Failure(error_uris.TIMEOUT, [f"{message.uri} took too long"])
        if isinstance(error, HandlerInterrupted):
            _log(logging.INFO, message, "was canceled")
            return Failure(error_uris.CANCELED, [f"{message.uri} was canceled"])
        for kind, make in _RAISED:
            if isinstance(error, kind):
                outcome = make(self, error, plain)
                if isinstance(message, Event):  # its publisher does not get the error
                    _log(logging.WARNING, message, "was not handled: %s", _text(error))
                else:
                    _log(logging.INFO, message, "was answered with an error: %s", _text(error))
                return outcome
        return None

    # What may be raised.

    def _application_error(self, error: t.Any, plain: Plain) -> Outcome:
        uri = error.uri
        if uri is None:
            uri = self.error_uri(type(error).__name__)
        uri = check_uri(resolve(uri, self._prefix), "error URI")
        if not (error.exposed or self._shows_details):
            return Failure(uri)
        return Failure(uri, plain(error.args), plain(error.kwargs))

    def _invalid_argument(self, error: t.Any, plain: Plain) -> Outcome:
        return Failure(InvalidArgument.uri, (), {"errors": plain(error.errors)})

    def _timeout(self, error: t.Any, plain: Plain) -> Outcome:
        # The text names a procedure that the handler has called.
        return Failure(error_uris.TIMEOUT, [str(error)] if self._shows_details else [])

    def _http_exception(self, error: t.Any, plain: Plain) -> Outcome:
        if error.response is not None:
            return self.returned(error.response, plain, is_view=True)
        return self._http_failure(error.code or 500, error.description, ())

    # HTTP.

    def _view_tuple(self, value: tuple[t.Any, ...], plain: Plain) -> Outcome:
        """Return the outcome of ``(body, status)``, ``(body, headers)`` or ``(body, status, headers)``."""
        body, status, code, location = value[0], value[1], 200, None
        if isinstance(body, Response):
            code, location, body = body.status_code, body.location, _body(body)
        if isinstance(status, str):
            status = int(status.split()[0])
        if isinstance(status, int):
            code = status
        if isinstance(value[-1], dict | list | tuple | Headers):
            location = Headers(value[-1]).get("Location", location)
        return self._http(body, code, plain, location)

    def _http(self, body: t.Any, code: int, plain: Plain, location: str | None = None) -> Outcome:
        if code < 300:
            return Success([plain(body)])
        if code < 400:  # the body of a redirect is a hint for browsers, not the result
            return self._http_failure(code, f"redirected to {location}", (), location=location)
        if isinstance(body, str):
            return self._http_failure(code, body, ())
        return self._http_failure(code, "", [plain(body)])

    def _http_failure(
        self, code: int, description: t.Any, args: t.Sequence[t.Any], **details: t.Any
    ) -> Failure:
        """Return the error for an HTTP status.

        :param description: A text, which may be a lazy text or ``Markup``, or None.
        """
        text = "" if description is None else _exact(description)
        if code in (401, 403):
            return Failure(error_uris.NOT_AUTHORIZED, args or [text])
        name = HTTP_STATUS_CODES.get(code, "Unknown Error")
        kwargs = {"code": code, "name": name, "description": text, **details}
        return Failure(self.error_uri(name), args, kwargs)

    # Helpers.

    def error_uri(self, name: str) -> str:
        """Return ``<prefix>.error.<name in snake case>``."""
        return resolve(f".error.{snake_case(name)}", self._prefix)

    @property
    def _shows_details(self) -> bool:
        """Whether callers may see all details, because the app is in development."""
        return self._app.debug or self._app.testing

    def _detail(self, error: BaseException) -> list[str]:
        """Return the details of an unexpected exception for the caller.

        There are none, except in development.
        """
        if not self._shows_details:
            return []
        return [f"{type(error).__name__}: {_text(error)} {_hint(error)}".rstrip()]


def _log(level: int, message: Message, text: str, *args: t.Any, **options: t.Any) -> None:
    """Log the outcome of a message. If the app's log handlers raise, the outcome does not change."""
    who = message.sender or "an undisclosed session"
    report(
        functools.partial(logger.log, level, **options), f"%r from %s: {text}", message, who, *args
    )


def _hint(error: BaseException) -> str:
    """Return what to do if code that was written for HTTP has found no request. ``""`` for other errors."""
    if not isinstance(error, RuntimeError) or has_request_context():
        return ""
    if "outside of request context" not in _text(error):
        return ""
    return (
        "A handler has no request unless it is decorated with request_context=True; see 'Request contexts' "
        "in docs/handlers.rst"
    )


def _text(error: BaseException) -> str:
    """Return the text of an error. If its ``str()`` raises an exception, say so in the text."""
    try:
        return _exact(error)
    except BaseException as failed:
        return f"<str() failed: {type(failed).__name__}>"


def _exact(value: object) -> str:
    """Return text as ``str``, because subclasses such as ``Markup`` cannot be sent."""
    return str.__str__(str(value))


def _body(response: Response) -> t.Any:
    """Return the body of an HTTP response as data, text or bytes."""
    response.direct_passthrough = False
    if response.is_json:
        return response.get_json()
    if (response.mimetype or "").startswith("text/"):
        return response.get_data(as_text=True)
    return response.get_data()


_Raised = t.Callable[[Results, t.Any, Plain], Outcome]

#: The exceptions that a handler may raise, and the functions that convert them to ERROR. The first match is
#: used. Other exceptions are unexpected.
_RAISED: tuple[tuple[type[BaseException], _Raised], ...] = (
    (ApplicationError, Results._application_error),
    (InvalidArgument, Results._invalid_argument),
    (CallTimeout, Results._timeout),
    (HTTPException, Results._http_exception),
)
