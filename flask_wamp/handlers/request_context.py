"""``request_context=True``: a handler that sees a request, as an HTTP view does.

The payload is the request's JSON, the app's before and after request functions run. There is no cookie
and no client address: ``session`` is empty, and a login extension sees nobody.
"""

from __future__ import annotations

import typing as t

from flask import Flask
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Response

from ..exceptions import SerializationError
from ..protocol.payload import plain
from .context import Event, Invocation

if t.TYPE_CHECKING:
    import flask
    from flask.ctx import RequestContext

Message = Invocation | Event


def request_context(app: Flask, message: Message) -> RequestContext:
    """A request context for a message: ``POST /<uri>`` with the payload as JSON.

    ``request.get_json()`` is the keyword payload; the positional one where there is no other; and
    ``{"args": [...], "kwargs": {...}}`` where there are both.
    """
    scheme = app.config["PREFERRED_URL_SCHEME"]
    host = app.config["SERVER_NAME"] or "localhost"
    builder = EnvironBuilder(
        path=f"/{message.uri}",
        base_url=f"{scheme}://{host}{app.config['APPLICATION_ROOT']}",
        method="POST",
        data=app.json.dumps(_payload(message)),
        content_type="application/json",
    )
    try:
        return app.request_context(builder.get_environ())
    finally:
        builder.close()


def _payload(message: Message) -> t.Any:
    """As JSON has it: bytes are text, NUL and Base64."""
    if not message.args:
        payload: t.Any = message.kwargs
    elif not message.kwargs:
        payload = message.args
    else:
        payload = {"args": message.args, "kwargs": message.kwargs}
    return plain(payload, binary=False)


def run_as_request(app: Flask, run: t.Callable[[Message], t.Any], message: Message) -> t.Any:
    """Run a handler between the app's before and after request functions."""
    response = app.preprocess_request()
    if response is not None:
        return app.process_response(app.make_response(response))
    value = run(message)
    if isinstance(value, Response):
        return app.process_response(t.cast("flask.Response", value))
    # What after request functions see is a response; the value stays as it is unless they change that.
    shown = _shown(app, value)
    before = shown.status_code, shown.get_data()
    processed = app.process_response(shown)
    unchanged = (processed.status_code, processed.get_data()) == before
    return value if unchanged else processed


def _shown(app: Flask, value: t.Any) -> flask.Response:
    """A handler's result as a response; null for what is none, such as a generator."""
    if isinstance(value, str | bytes):
        return app.make_response(value)
    try:
        value = plain(value, getattr(app.json, "default", None), binary=False)
    except SerializationError:
        value = None
    return t.cast("flask.Response", app.json.response(value))
