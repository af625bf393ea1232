"""``request_context=True``: a handler that sees a request, as an HTTP view does.

The payload is the request's JSON, the app's before and after request functions run. There is no cookie
and no client address: ``session`` is empty, and a login extension sees nobody.
"""

from __future__ import annotations

import typing as t

from flask import Flask
from flask.ctx import RequestContext
from flask.wrappers import Response
from werkzeug.test import EnvironBuilder

from .context import Event, Invocation

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
    if not message.args:
        return message.kwargs
    return {"args": message.args, "kwargs": message.kwargs} if message.kwargs else message.args


def run_as_request(app: Flask, run: t.Callable[[Message], t.Any], message: Message) -> t.Any:
    """Run a handler between the app's before and after request functions."""
    response = app.ensure_sync(app.preprocess_request)()
    if response is not None:
        return app.process_response(app.make_response(response))
    value = run(message)
    # What after request functions see is a response; the value stays as it is unless they change that.
    known = isinstance(value, _VIEW_VALUES)
    shown = app.make_response(value if known else app.json.response(None))
    before = shown.status_code, shown.get_data()
    processed = app.process_response(shown)
    unchanged = (processed.status_code, processed.get_data()) == before
    return value if unchanged and not isinstance(value, Response) else processed


_VIEW_VALUES = (Response, str, bytes, list, dict)
