"""Differences between the versions of Flask."""

from __future__ import annotations

import functools
import inspect
import typing as t

from flask import Flask
from flask.globals import app_ctx


def call_method(app: Flask, name: str, *args: t.Any) -> t.Any:
    """Call a method that takes the context as its first argument since Flask 3.2.

    These are ``preprocess_request``, ``process_response``, ``handle_exception`` and
    ``handle_http_exception``. A subclass of ``Flask`` may still override them in the old form.
    """
    method = getattr(app, name)
    if _takes_context(getattr(method, "__func__", method)):
        context = app_ctx._get_current_object()  # type: ignore[attr-defined]
        return method(context, *args)
    return method(*args)


@functools.lru_cache(maxsize=64)
def _takes_context(function: t.Callable[..., t.Any]) -> bool:
    """Return whether the first parameter after ``self`` is named or annotated as Flask 3.2 requires."""
    parameters = [p for name, p in inspect.signature(function).parameters.items() if name != "self"]
    if not parameters:
        return False
    annotation = parameters[0].annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    return parameters[0].name == "ctx" or name.rpartition(".")[2] == "AppContext"
