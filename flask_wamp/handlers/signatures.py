"""The parameters of a handler, and which of them a caller can set."""

from __future__ import annotations

import functools
import inspect
import types
import typing as t

Function = t.Callable[..., t.Any]

_GENERIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}


def caller_of(f: t.Any) -> t.Any:
    """Return the function whose parameters the payload has to fit. This is the outermost wrapper.

    If a wrapper takes only ``*args`` and ``**kwargs``, the function that it wraps is used instead.
    """
    if isinstance(f, types.MethodType):
        function = caller_of(f.__func__)
        return f if function is f.__func__ else types.MethodType(function, f.__self__)
    while _is_generic(f):
        f = f.__wrapped__
    if isinstance(f, functools.partial):
        function = caller_of(f.func)
        return f if function is f.func else functools.partial(function, *f.args, **f.keywords)
    call = getattr(f, "__call__", None)  # noqa: B004
    if isinstance(call, types.MethodType):  # of an object
        function = caller_of(call)
        return f if function is call else function
    return f


def has_fillers(f: t.Any) -> bool:
    """Return whether a decorator may fill parameters that the payload does not have."""
    return _is_generic(f.__func__ if isinstance(f, types.MethodType) else f)


def _is_generic(f: t.Any) -> bool:
    if not callable(getattr(f, "__wrapped__", None)) or hasattr(f, "__signature__"):
        return False
    try:
        parameters = inspect.signature(f, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):  # a wrapper in C, as of functools.cache
        return True
    return all(parameter.kind in _GENERIC for parameter in parameters) and bool(parameters)


def signature_of(f: Function) -> inspect.Signature:
    """Return the signature that the payload has to fit.

    :raises ValueError: It cannot be read, as that of some functions in C.
    :raises TypeError: It cannot be read.
    """
    return inspect.signature(caller_of(f), follow_wrapped=False)


def parameters_of(f: Function) -> t.Mapping[str, inspect.Parameter] | None:
    """Return the parameters that the payload has to fit. None if they cannot be read."""
    try:
        return signature_of(f).parameters
    except (TypeError, ValueError):
        return None


def takes_keyword(parameter: inspect.Parameter) -> bool:
    """Return whether an argument may be given by the parameter's name."""
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def hidden_parameters(f: Function, filled: t.Collection[str]) -> frozenset[str]:
    """Return the names of the parameters that a caller cannot set. They begin with ``_``, or are filled.

    The ``self`` of a method that takes any keyword is one of them. Otherwise, a caller could give it again.
    """
    names = parameters_of(f) or {}
    hidden = {
        name
        for name, parameter in names.items()
        if parameter.kind not in _GENERIC and (name.startswith("_") or name in filled)
    }
    if isinstance(f, types.MethodType) and any(p.kind is p.VAR_KEYWORD for p in names.values()):
        hidden |= set(list(inspect.signature(f.__func__).parameters)[:1])
    return frozenset(hidden)


def underlying(f: t.Any) -> t.Any:
    """Return the user's function inside a method, a partial, a wrapper or a callable object."""
    while not inspect.isfunction(f):
        if isinstance(f, functools.partial):
            f = f.func
        elif inspect.ismethod(f):
            f = f.__func__
        elif hasattr(f, "__wrapped__"):
            f = f.__wrapped__
        elif inspect.isroutine(f):
            break  # written in C
        else:
            f = type(f).__call__
    return inspect.unwrap(f)


def annotated(f: t.Any) -> t.Any:
    """Return the function that has the annotations of the parameters that the payload has to fit."""
    f = caller_of(f)
    while not inspect.isfunction(f):
        if isinstance(f, functools.partial):
            f = caller_of(f.func)
        elif inspect.ismethod(f):
            f = f.__func__
        elif hasattr(f, "__wrapped__"):
            f = caller_of(f.__wrapped__)
        elif inspect.isroutine(f):
            break
        else:
            f = type(f).__call__
    return f
