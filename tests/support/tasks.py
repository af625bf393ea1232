"""Background tasks without a server: as if an HTTP view had added them."""

from __future__ import annotations

import typing as t

from flask import Flask
from flask.signals import request_finished

from flask_wamp import background_tasks


def add_to(app: Flask, f: t.Callable[..., t.Any], *args: t.Any, **kwargs: t.Any) -> None:
    """Run a function as a background task of an app, in another process unless told otherwise."""
    kwargs.setdefault("executor", "process")
    with app.test_request_context():
        background_tasks.add(f, *args, **kwargs)
        request_finished.send(app, response=app.response_class("ok"))


def stop(app: Flask) -> None:
    """Stop the client of an app."""
    with app.app_context():
        app.extensions["wamp"].stop()
