"""The decorators ``flask_wamp.callee`` and ``subscriber``. They mark functions, and an app finds these."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing as t
import weakref

from flask import Flask

from ..peer.handler_options import CalleeOptions, SubscriberOptions
from .registry import (
    Decorator,
    F,
    Function,
    Spec,
    callee_spec,
    decorator,
    full_name,
    location,
    subscriber_spec,
)
from .signatures import underlying

if t.TYPE_CHECKING:
    from typing_extensions import Unpack

_MARK = "_flask_wamp_specs"

#: Functions that were marked, and that no app has served so far. The set does not keep them in memory.
_unserved: weakref.WeakSet[t.Any] = weakref.WeakSet()


@t.overload
def callee(uri: F, /) -> F: ...
@t.overload
def callee(uri: str | None = None, **options: Unpack[CalleeOptions]) -> Decorator: ...
def callee(uri: F | str | None = None, **options: Unpack[CalleeOptions]) -> F | Decorator:
    """Mark a function as a procedure. Use this decorator where there is no extension object.

    Marked views of an app and its blueprints are found when the app starts. Pass other modules, objects
    and functions to ``wamp.include(...)``. The parameters are those of :meth:`FlaskWAMP.callee`.
    """
    return t.cast("F | Decorator", decorator(callee_spec, uri, options, _mark, in_classes=True))


@t.overload
def subscriber(topic: F, /) -> F: ...
@t.overload
def subscriber(topic: str | None = None, **options: Unpack[SubscriberOptions]) -> Decorator: ...
def subscriber(topic: F | str | None = None, **options: Unpack[SubscriberOptions]) -> F | Decorator:
    """Mark a function as a subscriber, like :func:`callee`. See :meth:`FlaskWAMP.subscriber`."""
    return t.cast(
        "F | Decorator", decorator(subscriber_spec, topic, options, _mark, in_classes=True)
    )


def _mark(spec: Spec) -> None:
    specs = spec.function.__dict__.setdefault(_MARK, [])
    specs.append(spec)
    _unserved.add(underlying(spec.function))


def marked(f: object) -> list[Spec]:
    """Return the marks of a function, or of a function that it wraps."""
    found = getattr(f, _MARK, None)
    return list(found) if isinstance(found, list) else []


def marked_views(app: Flask) -> t.Iterator[Spec]:
    """Yield the marks of the views of an app and its blueprints."""
    found: set[int] = set()
    for view in list(app.view_functions.values()):
        for spec in marked(view):
            if id(spec) not in found:
                found.add(id(spec))
                yield spec


def marked_members(thing: object) -> list[Spec]:
    """Return the marks of a module's functions, of an object's methods, or of a function or method.

    :raises TypeError: It is a class whose methods are marked, so there is no object to call them on.
    """
    if isinstance(thing, types.FunctionType | types.MethodType):
        return [_with_function(spec, thing) for spec in marked(thing)]
    specs = marked(thing)
    for name in dir(thing):
        static = inspect.getattr_static(thing, name, None)
        if isinstance(static, property):
            continue  # this must not run the user's code
        member = getattr(thing, name, None)
        if not inspect.isroutine(member):
            continue
        found = marked(member) or marked(static)  # a staticmethod has its own marks
        if found and isinstance(thing, type) and isinstance(static, types.FunctionType):
            raise TypeError(
                f"{full_name(static)} is a method. Call wamp.include() with an object, not with the class "
                f"{thing.__name__}"
            )
        specs += [_with_function(spec, member) for spec in found]
    return specs


def _with_function(spec: Spec, found: Function) -> Spec:
    """Return a mark that was found on a function or method, with the function that is served.

    The function that was found may be a decorator's wrapper around the marked one. It is served, because it
    may be a guard. With ``bypass=True``, the marked function is served.
    """
    if not spec.options["bypass"]:
        return dataclasses.replace(spec, function=found)
    if isinstance(found, types.MethodType):
        return dataclasses.replace(spec, function=types.MethodType(spec.function, found.__self__))
    return spec


def served(f: Function) -> None:
    """Record that an app serves a marked function."""
    _unserved.discard(underlying(f))


def take_unserved(apps: t.Iterable[Flask]) -> list[str]:
    """Describe the marked functions that no app serves, each once in a process.

    :param apps: All apps. Marked views of an app that has not started yet are not returned.
    """
    if not _unserved:
        return []
    to_come = {underlying(view) for app in list(apps) for view in app.view_functions.values()}
    found = [f for f in list(_unserved) if f not in to_come]
    for f in found:
        _unserved.discard(f)
    return sorted(f"{full_name(f)} ({location(f)})" for f in found)
