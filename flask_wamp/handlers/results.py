"""What a handler returns or raises, and what its caller is told."""

from __future__ import annotations

import logging
import typing as t

from flask import Flask
from werkzeug.datastructures import Headers
from werkzeug.exceptions import HTTPException
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.wrappers import Response

from .._text import get_logger
from ..concurrency.interruption import Interrupted
from ..concurrency.threads import is_time_limit
from ..exceptions import ApplicationError, CallTimeout
from ..peer.declarations import Failure, Outcome, Result
from ..protocol import error_uris
from ..protocol.call_result import CallResult
from ..protocol.uris import check_uri, resolve, snake_case
from .context import Event, Invocation
from .validation import InvalidArgument

logger = get_logger("flask_wamp.dispatch")

Message = Invocation | Event
Plain = t.Callable[[t.Any], t.Any]


class Results:
    """Turns what handlers of one app return and raise into what is sent.

    :param prefix: ``WAMP_URI_PREFIX``; the error URIs made here are below it.
    """

    def __init__(self, app: Flask, prefix: str | None) -> None:
        self._app = app
        self._prefix = prefix

    def returned(self, value: t.Any, plain: Plain, *, is_view: bool) -> Outcome:
        """The outcome of a returned value.

        :param is_view: Whether it may be what an HTTP view returns, a ``(body, status)`` tuple.
        :raises SerializationError: It cannot be sent.
        """
        if isinstance(value, CallResult):
            return Result(plain(value.args), plain(value.kwargs))
        if isinstance(value, Response):
            return self._http(_body(value), value.status_code, plain, value.location)
        if is_view and isinstance(value, tuple) and len(value) in (2, 3):
            return self._view_tuple(value, plain)
        return Result([plain(value)])

    def raised(self, error: BaseException, plain: Plain, message: Message) -> Outcome:
        """The outcome of an exception. What nobody expected is logged here, in full."""
        who = message.sender or "an undisclosed session"
        if is_time_limit(error):
            logger.warning("%r from %s took too long and was ended", message, who)
            return Failure(error_uris.TIMEOUT, [f"{message.uri} took too long"])
        if isinstance(error, Interrupted):
            logger.info("%r from %s was canceled", message, who)
            return Failure(error_uris.CANCELED, [f"{message.uri} was canceled"])
        try:
            outcome = self._expected(error, plain)
        except Exception as defect:  # a payload's own code may raise anything
            logger.error("the error raised for %s cannot be sent: %s", message.uri, defect)
            outcome = None
        if outcome is not None:
            # A caller is told; a publisher is not.
            level = logging.WARNING if isinstance(message, Event) else logging.INFO
            logger.log(level, "%r from %s: %s", message, who, error)
            return outcome
        logger.error("%r from %s failed", message, who, exc_info=error)
        return Failure(error_uris.RUNTIME_ERROR, self._detail(error))

    def _expected(self, error: BaseException, plain: Plain) -> Outcome | None:
        for kind, outcome in _RAISED:
            if isinstance(error, kind):
                return outcome(self, error, plain)
        return None

    # What may be raised.

    def _application_error(self, error: t.Any, plain: Plain) -> Outcome:
        uri = error.uri
        if uri is None:
            uri = self.error_uri(type(error).__name__)
        check_uri(uri, "error URI")
        return Failure(uri, plain(error.args), plain(error.kwargs))

    def _invalid_argument(self, error: t.Any, plain: Plain) -> Outcome:
        return Failure(InvalidArgument.uri, (), {"errors": plain(error.errors)})

    def _timeout(self, error: t.Any, plain: Plain) -> Outcome:
        return Failure(error_uris.TIMEOUT, [str(error)])

    def _http_exception(self, error: t.Any, plain: Plain) -> Outcome:
        if error.response is not None:
            return self.returned(error.response, plain, is_view=True)
        return self._http_failure(error.code or 500, error.description or "", ())

    # HTTP.

    def _view_tuple(self, value: tuple[t.Any, ...], plain: Plain) -> Outcome:
        """The outcome of ``(body, status)``, ``(body, headers)`` or ``(body, status, headers)``."""
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
            return Result([plain(body)])
        if code < 400:  # its body is a hint for browsers, and not what the caller asked for
            return self._http_failure(code, f"redirected to {location}", (), location=location)
        description = body if isinstance(body, str) else ""
        return self._http_failure(code, description, [] if description else [plain(body)])

    def _http_failure(
        self, code: int, description: str, args: t.Sequence[t.Any], **details: t.Any
    ) -> Failure:
        if code in (401, 403):
            return Failure(error_uris.NOT_AUTHORIZED, args or [description])
        name = HTTP_STATUS_CODES.get(code, "Unknown Error")
        kwargs = {"code": code, "name": name, "description": description, **details}
        return Failure(self.error_uri(name), args, kwargs)

    # Helpers.

    def error_uri(self, name: str) -> str:
        """``<prefix>.error.<name in snake case>``."""
        return resolve(f".error.{snake_case(name)}", self._prefix)

    def _detail(self, error: BaseException) -> list[str]:
        """What the caller learns of a defect: nothing, but while developing."""
        if self._app.debug or self._app.testing:
            return [f"{type(error).__name__}: {_text(error)}"]
        return []


def _text(error: BaseException) -> str:
    """The error's text, even where it has none to give: its caller waits for an answer."""
    try:
        return str(error)
    except Exception as failed:
        return f"<str() failed: {type(failed).__name__}>"


def _body(response: Response) -> t.Any:
    """The body of an HTTP response as data, text or bytes."""
    response.direct_passthrough = False
    if response.is_json:
        return response.get_json()
    if (response.mimetype or "").startswith("text/"):
        return response.get_data(as_text=True)
    return response.get_data()


_Raised = t.Callable[[Results, t.Any, Plain], Outcome]

#: Exceptions a handler may raise, and who makes an ERROR of them. First match wins; others are
#: defects. Source: DESIGN, "What it raises is the ERROR".
_RAISED: tuple[tuple[type[BaseException], _Raised], ...] = (
    (ApplicationError, Results._application_error),
    (InvalidArgument, Results._invalid_argument),
    (CallTimeout, Results._timeout),
    (HTTPException, Results._http_exception),
)
