"""Handlers that are also HTTP views, or that a view wraps."""

from __future__ import annotations

import functools
import types
import typing as t

from flask import Flask

from .registry import Function, Spec, full_name, location


def check_guards(app: Flask, handlers: t.Iterable[Spec]) -> None:
    """Refuse handlers that skip decorators of their HTTP view.

    :raises ValueError: A view of the app wraps one of them, and ``bypass=True`` was not given.
    """
    wrapped = _wrapped_by_views(app)
    for spec in handlers:
        _check_guards(spec, wrapped)


def _wrapped_by_views(app: Flask) -> dict[int, Function]:
    """Find the functions that an app's views wrap. A view with decorators wraps the function below them.

    :returns: The views by the ``id`` of each function that they wrap.
    """
    found: dict[int, Function] = {}
    for view in list(app.view_functions.values()):
        for inner in _inside(view):
            found.setdefault(id(inner), view)
    return found


def _check_guards(spec: Spec, wrapped: t.Mapping[int, Function]) -> None:
    f = spec.function
    view = wrapped.get(id(getattr(f, "__func__", f)))
    if view is None or view is f or spec.options["bypass"]:
        return
    outer = f"{full_name(view)} ({location_of_wrapper(view)})"
    raise ValueError(
        f"{full_name(f)} ({location(f)}) is served over WAMP without the decorators of its HTTP view "
        f"{outer}, and one of them may be a guard. Put the WAMP decorator outermost, above @app.route, so "
        "that it serves the whole view, or set bypass=True to serve the function without them"
    )


def location_of_wrapper(view: Function) -> str:
    """Return the file and line of the outermost wrapper, not of the function that it wraps."""
    code = getattr(view, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else repr(view)


def _inside(view: Function) -> t.Iterator[Function]:
    """Yield the functions that a view wraps, from the outside to the inside."""
    waiting, seen = [view], {id(view)}
    while waiting:
        outer = waiting.pop(0)
        for inner in _next(outer):
            if id(inner) not in seen:
                seen.add(id(inner))
                waiting.append(inner)
                yield inner


def _next(f: t.Any) -> t.Iterator[Function]:
    wrapped = getattr(f, "__wrapped__", None)
    if callable(wrapped):
        yield wrapped
    if isinstance(f, functools.partial):
        yield f.func
    view_class = getattr(f, "view_class", None)
    if isinstance(view_class, type):
        yield from _methods(view_class)
    elif isinstance(f, types.FunctionType):
        yield from _closed_over(f)
    elif not isinstance(f, types.MethodType | types.BuiltinFunctionType):
        # An object that wraps a function, as decorators that are classes return.
        yield from (each for each in vars(f).values() if isinstance(each, types.FunctionType))


def _closed_over(f: types.FunctionType) -> t.Iterator[Function]:
    """Return the functions that a wrapper without ``functools.wraps`` calls.

    A wrapper is defined in its decorator, and the function that it wraps is defined elsewhere. A view that is
    defined in the same app factory as a handler may call that handler. That does not make it a wrapper.
    """
    scope = _scope(f)
    for cell in f.__closure__ or ():
        try:
            value = cell.cell_contents
        except ValueError:  # not assigned yet
            continue
        if isinstance(value, types.FunctionType) and _scope(value) != scope:
            yield value


def _scope(f: types.FunctionType) -> tuple[str, str]:
    return f.__module__, f.__qualname__.rpartition(".")[0]


def _methods(view_class: type) -> t.Iterator[Function]:
    """Return the methods of a view class if the class has decorators, because these wrap each method."""
    if getattr(view_class, "decorators", None) or getattr(view_class, "method_decorators", None):
        for cls in view_class.__mro__:
            yield from (each for each in vars(cls).values() if isinstance(each, types.FunctionType))
