"""``request_context=True``: a handler has a request, like an HTTP view.

The payload is the request's JSON, and the app's before and after request functions run. There is no cookie
and no client address, so ``session`` is empty. Flask-Login's ``current_user`` is the user who has sent the
message, see :mod:`.current_user`. If the handler is also an HTTP view, ``request.endpoint``, ``.blueprint``
and ``.url_rule`` are those of the view. So functions that guard the view over HTTP also guard the handler.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import re
import sys
import typing as t
from urllib.parse import urlsplit

from flask import Flask, url_for
from werkzeug.routing import BuildError, Rule
from werkzeug.sansio.utils import host_is_trusted
from werkzeug.wrappers import Response

from ..exceptions import ApplicationError, SerializationError
from ..protocol import error_uris
from ..protocol.payload import plain
from .context import Message
from .current_user import ENVIRON_KEY, IsUser, use_sender
from .flask_versions import call_method
from .signatures import parameters_of
from .validation import InvalidArgument, URIArguments

if t.TYPE_CHECKING:
    import flask
    from flask.ctx import AppContext, RequestContext


def endpoint_of(app: Flask, f: t.Callable[..., t.Any]) -> str | None:
    """Return the endpoint of the HTTP view that a function is, perhaps inside of decorators."""
    for endpoint, view in app.view_functions.items():
        if view is f or inspect.unwrap(view) is f:
            return endpoint
    return None


class HandlerRequests:
    """Creates the requests of one handler. Runs it between the app's before and after request functions."""

    def __init__(
        self,
        app: Flask,
        function: t.Callable[..., t.Any],
        parts: URIArguments | None,
        is_user: IsUser,
    ) -> None:
        self._app = app
        self._is_user = is_user
        self._function = function
        self._parts = parts
        self._endpoint: str | None = None
        names = parts.names if parts is not None else ()
        self._parameters = [name for name in parameters_of(function) or () if name not in names]

    def push(self, message: Message) -> AppContext | RequestContext:
        """Push a request context: ``POST /<uri>`` with the payload as JSON.

        ``request.get_json()`` is the keyword payload. Without keywords, it is the positional payload. With
        both, it is ``{"args": [...], "kwargs": {...}}``.
        """
        context = self._app.request_context(_environ(self._app, message))
        use_sender(self._app, self._is_user)
        try:
            context.push()
            self._route(context.request, message)
        except BaseException as error:
            context.pop(error)
            raise
        return context

    def _route(self, request: flask.Request, message: Message) -> None:
        """Set the view and its rule, because Flask does not find them by this URL."""
        # The endpoint may be None, and change later, because views may be added at any time.
        if self._endpoint not in self._app.view_functions:
            self._endpoint = endpoint_of(self._app, self._function)
        values = self._values(message)
        rule = self._rule(values)
        request.url_rule = rule
        request.view_args = _view_args(rule, values) if rule is not None else None
        request.routing_exception = None

    def _values(self, message: Message) -> dict[str, t.Any]:
        """Return the arguments by the names of the function's parameters."""
        values = dict(zip(self._parameters, message.args, strict=False)) | message.kwargs
        if self._parts is not None:
            with contextlib.suppress(InvalidArgument):  # the handler raises it again
                values |= self._parts.values(message.uri)
        return values

    def _rule(self, values: t.Container[str]) -> Rule | None:
        """Return the first rule of the view whose variables the payload has, or else its first rule."""
        if self._endpoint is None:
            return None
        rules = list(self._app.url_map.iter_rules(self._endpoint))
        fitting = (rule for rule in rules if all(name in values for name in rule.arguments))
        return next(fitting, rules[0] if rules else None)

    def run(self, handle: t.Callable[[Message], t.Any], message: Message) -> t.Any:
        """Run a handler between the app's before and after request functions.

        :raises ApplicationError: A request function has redirected the request, or the handler to a login.
        """
        app = self._app
        answer = call_method(app, "preprocess_request")
        if answer is not None:
            answer = call_method(app, "process_response", app.make_response(answer))
            if _is_redirect(answer):
                raise _not_authorized(answer)
            return answer
        value = handle(message)
        if isinstance(value, Response):
            answer = call_method(app, "process_response", value)
            if _is_redirect(answer) and _is_login(app, answer):
                raise _not_authorized(answer)
            return answer
        # After request functions get a response. If they do not change it, the value is used unchanged.
        shown = self._shown(value)
        before = shown.status_code, shown.get_data()
        processed = call_method(app, "process_response", shown)
        unchanged = (processed.status_code, processed.get_data()) == before
        return value if unchanged else processed

    def _shown(self, value: t.Any) -> flask.Response:
        """Return a handler's result as a response.

        It is null for values that are not data, such as a generator.
        """
        app = self._app
        is_view_tuple = isinstance(value, tuple) and self._endpoint is not None
        if isinstance(value, str | bytes) or is_view_tuple:
            return app.make_response(value)
        try:
            value = plain(value, getattr(app.json, "default", None), binary=False)
        except SerializationError:
            value = None
        return t.cast("flask.Response", app.json.response(value))


# The request.


def _environ(app: Flask, message: Message) -> dict[str, t.Any]:
    # werkzeug's EnvironBuilder is not used, because it treats a "?" in the path as the start of a query, and
    # is slow.
    host, scheme = _host(app), app.config["PREFERRED_URL_SCHEME"]
    name, _, port = host.partition(":")
    data = app.json.dumps(_payload(message)).encode()
    path = _as_wsgi(f"/{message.uri}")
    return {
        "REQUEST_METHOD": "POST",
        "SCRIPT_NAME": _as_wsgi(app.config["APPLICATION_ROOT"].rstrip("/")),
        "PATH_INFO": path,
        "QUERY_STRING": "",
        "SERVER_NAME": name,
        "SERVER_PORT": port or ("443" if scheme == "https" else "80"),
        "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": host,
        "CONTENT_TYPE": "application/json",
        "CONTENT_LENGTH": str(len(data)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(data),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        ENVIRON_KEY: message.identity,
    }


def _as_wsgi(text: str) -> str:
    """Return text in the form of WSGI. Each character is one byte of its UTF-8 encoding (PEP 3333)."""
    return text.encode("utf-8", "surrogatepass").decode("latin-1")


def _host(app: Flask) -> str:
    """Return a host that the app trusts, so that Flask can make URLs with it."""
    trusted = app.config.get("TRUSTED_HOSTS")
    server_name: str | None = app.config["SERVER_NAME"]
    hosts = [server_name or "localhost"]
    if trusted:
        hosts += [host.lstrip(".") for host in trusted]
        hosts = [host for host in hosts if host_is_trusted(host, trusted)] or hosts
    return hosts[0]


def _payload(message: Message) -> t.Any:
    """Return the payload for JSON. Bytes become text, which is NUL and Base64."""
    if not message.args:
        payload: t.Any = message.kwargs
    elif not message.kwargs:
        payload = message.args
    else:
        payload = {"args": message.args, "kwargs": message.kwargs}
    return plain(payload, binary=False)


def _view_args(rule: Rule, values: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the rule's variables that the payload has, converted like those of a URL.

    Otherwise, a caller could send a number as text, and so pass a guard that compares it with a number.
    """
    view_args = dict(rule.defaults or {})
    for name, converter in rule._converters.items():
        if name in values:
            with contextlib.suppress(Exception):  # a value that cannot be in a URL is left out
                text = converter.to_url(values[name])
                if re.fullmatch(converter.regex, text):
                    view_args[name] = converter.to_python(text)
    return view_args


# Redirects.


def _is_redirect(response: Response) -> bool:
    return 300 <= response.status_code < 400


def _not_authorized(response: Response) -> ApplicationError:
    """Return the error for a redirect that has replaced the handler."""
    return ApplicationError(
        error_uris.NOT_AUTHORIZED,
        f"redirected to {response.location}",
        code=response.status_code,
        location=response.location,
    )


def _is_login(app: Flask, response: Response) -> bool:
    """Return whether a redirect leads to a page where Flask-Login sends those who are not logged in."""
    manager = getattr(app, "login_manager", None)
    if manager is None or response.location is None:
        return False
    views = [manager.login_view, manager.refresh_view, *manager.blueprint_login_views.values()]
    return urlsplit(response.location).path in {_path_of(view) for view in views if view}


def _path_of(view: str) -> str | None:
    if view.startswith(("https://", "http://", "/")):
        return urlsplit(view).path
    try:
        return urlsplit(url_for(view)).path
    except BuildError:
        return None
