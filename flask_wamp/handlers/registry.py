"""The records that decorators make: which function handles which procedure or topic, with which options."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing as t

from ..exceptions import InvalidURI
from ..peer.declarations import Registration, Subscription
from ..peer.handler_options import CalleeOptions, Delivery, Invoke, SubscriberOptions
from ..protocol.checks import is_seconds
from ..protocol.patterns import Pattern
from ..protocol.uris import MATCHES, resolve
from .grants import as_roles
from .signatures import annotated, parameters_of, takes_keyword, underlying

if t.TYPE_CHECKING:
    from typing_extensions import Unpack

Function = t.Callable[..., t.Any]
F = t.TypeVar("F", bound=Function)

INVOKES: tuple[Invoke, ...] = t.get_args(Invoke)
"""The values that ``invoke=`` accepts. Crossbar ends the session if it gets any other value."""


class Decorator(t.Protocol):
    """A decorator that returns the given function with its type."""

    def __call__(self, f: F, /) -> F:
        """Decorate a function."""


@dataclasses.dataclass(frozen=True)
class Spec:
    """One decoration of one function.

    :param uri: As given: absolute, relative to the prefix (``.add``), or None for the function's name.
    :param options: All the decorator's options.
    :param localns: The local names where the function was defined, for annotations that are text.
    """

    kind: type[Registration] | type[Subscription]
    function: Function
    uri: str | None
    options: dict[str, t.Any]
    localns: dict[str, t.Any] | None = dataclasses.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The function's full name, for logs and errors."""
        return full_name(self.function)

    @property
    def site(self) -> tuple[object, ...]:
        """A key that stays the same when the same line of code declares the handler again."""
        return self.kind, site_of(self.function), self.uri, self.options["match"]

    def pattern(self, prefix: str | None) -> Pattern:
        """Return the URI or pattern in an app with that prefix.

        :raises InvalidURI: The URI is not valid.
        :raises ValueError: The function has no parameter for a part of the pattern, or an option does not
            work with patterns.
        """
        uri = self.uri if self.uri is not None else f".{_own_name(self.function)}"
        what = "procedure" if self.kind is Registration else "topic"
        pattern = self._parse(resolve(uri, prefix))
        try:
            pattern.check(what)
        except InvalidURI:
            raise
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        return pattern

    def placed(self, pattern: Pattern) -> Spec:
        """Return a copy with the absolute URI and the ``match`` in an app."""
        known = {"match": pattern.match, "uri": pattern.written}
        return dataclasses.replace(self, options={**self.options, **known})

    def checked(self) -> Spec:
        """Return itself, after the checks that need no prefix."""
        self._parse(resolve(self.uri or "", None))
        _check_filled(self.options["filled"], self.function, self.name)
        return self

    def _parse(self, uri: str) -> Pattern:
        try:
            pattern = Pattern.parse(uri, self.options["match"])
            _check_names(pattern, self.function)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        if pattern.match != "exact" and self.options.get("get_retained"):
            raise ValueError(
                f"{self.name}: get_retained=True requires an exact topic, because routers retain events of "
                f"topics, and send none of them to the subscriber of a {pattern.match}"
            )
        return pattern


def _check_names(pattern: Pattern, f: Function) -> None:
    names = [part.name for part in pattern.parts if part.is_named]
    parameters = parameters_of(f) if names else None
    if parameters is None:
        return
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for name in names:
        if takes_any and name not in parameters:
            continue
        if name not in parameters or not takes_keyword(parameters[name]):
            raise ValueError(
                f"{pattern.written!r} has a part {name!r}, but the function takes no such argument"
            )


def _check_filled(names: t.Sequence[str], f: Function, function_name: str) -> None:
    parameters = parameters_of(f)
    for name in names if parameters is not None else ():
        if name not in parameters:  # type: ignore[operator]
            raise ValueError(
                f"{function_name}: filled={name!r}: the function has no such parameter"
            )


def full_name(f: Function) -> str:
    """Return the name of a function with its module, for logs and errors."""
    module = getattr(f, "__module__", None) or "?"
    return f"{module}.{getattr(f, '__qualname__', None) or repr(f)}"


def location(f: Function) -> str:
    """Return the file and line of a function, for logs and errors."""
    code = getattr(underlying(f), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else "file unknown"


def location_of_call() -> str:
    """Return the file and line of the user's code that called this package."""
    frame = caller_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def site_of(thing: object) -> object:
    """Return an object that is the same after a ``def`` has run again: a function's code, or a class."""
    code = getattr(underlying(thing), "__code__", None) if callable(thing) else None
    return code if code is not None else type(thing)


def _own_name(f: Function) -> str:
    name = getattr(f, "__name__", None)
    if not name or name == "<lambda>":
        raise ValueError(f"{f!r} has no name of its own; give a URI")
    return str(name)


# From a decorator's options to a Spec.

_CALLEE: dict[str, object] = {
    "match": None,
    "allow": None,
    "invoke": "roundrobin",
    "concurrency": None,
    "validate": None,
    "timeout": None,
    "request_context": False,
    "force_reregister": False,
    "bypass": False,
    "filled": (),
    "middlewares": None,
}
_SUBSCRIBER: dict[str, object] = {
    "match": None,
    "allow": None,
    "validate": None,
    "concurrency": 1,
    "delivery": "every",
    "get_retained": False,
    "request_context": False,
    "bypass": False,
    "filled": (),
    "middlewares": None,
}


def callee_spec(
    f: Function,
    uri: str | None,
    *,
    localns: dict[str, t.Any] | None = None,
    **options: Unpack[CalleeOptions],
) -> Spec:
    """Record a procedure. See ``FlaskWAMP.callee``."""
    return _spec(Registration, f, uri, {**options}, localns)


def subscriber_spec(
    f: Function,
    topic: str | None,
    *,
    localns: dict[str, t.Any] | None = None,
    **options: Unpack[SubscriberOptions],
) -> Spec:
    """Record a subscription. See ``FlaskWAMP.subscriber``."""
    return _spec(Subscription, f, topic, {**options}, localns)


def consume_spec(
    f: Function, topic: str | None, *, localns: dict[str, t.Any] | None = None, **options: object
) -> Spec:
    """Record a subscription in the way of flask-wamp 0.1.0. See ``FlaskWAMP.consume``."""
    known = {name: value for name, value in options.items() if name in _SUBSCRIBER}
    spec = _spec(Subscription, f, topic, known, localns)
    return dataclasses.replace(spec, options={**spec.options, "meta": True})


def _spec(
    kind: type[Registration] | type[Subscription],
    f: Function,
    uri: str | None,
    given: dict[str, object],
    localns: dict[str, t.Any] | None,
) -> Spec:
    what, defaults = ("callee", _CALLEE) if kind is Registration else ("subscriber", _SUBSCRIBER)
    for name in given:
        if name not in defaults:
            allowed = ", ".join(defaults)
            raise TypeError(f"{what} has no option {name!r}; its options are {allowed}")
    if uri is not None and not isinstance(uri, str):
        raise TypeError(f"a URI must be a string, not {uri!r}")
    if not callable(f) or inspect.isclass(f):
        raise TypeError(f"only functions can be decorated, not {f!r}")
    options = {**defaults, **given}
    for name, value in given.items():
        if value is not defaults[name]:  # None is allowed only where it is the default
            _CHECKS[name](name, value)
    return Spec(kind, f, uri, options, localns).checked()


# Checks.


def _one_of(*allowed: str) -> t.Callable[[str, object], None]:
    def check(name: str, value: object) -> None:
        if value not in allowed:
            raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")

    return check


def _positive(name: str, value: object) -> None:
    if not isinstance(value, int) or value is True or value <= 0:
        raise ValueError(f"{name}={value!r} must be a whole number above 0")


def _seconds(name: str, value: object) -> None:
    if not is_seconds(value):
        raise ValueError(f"{name}={value!r} must be a number of seconds above 0")


def _boolean(name: str, value: object) -> None:
    # Routers do not accept 1 instead of true. Another truthy value may end the session.
    if not isinstance(value, bool):
        raise ValueError(f"{name}={value!r} must be True or False")


def _names(name: str, value: object) -> None:
    names = value if isinstance(value, list | tuple) else [None]
    if not all(isinstance(each, str) for each in names):
        raise ValueError(f"{name}={value!r} must be a list of parameter names")


def _roles(name: str, value: object) -> None:
    try:
        as_roles(value)
    except ValueError as error:
        raise ValueError(f"{name}={error}") from None


def _anything(name: str, value: object) -> None:
    """Accept any value. Middlewares are checked when the chain of the handler is created."""


_CHECKS: dict[str, t.Callable[[str, object], None]] = {
    "match": _one_of(*MATCHES),
    "allow": _roles,
    "invoke": _one_of(*INVOKES),
    "delivery": _one_of(*t.get_args(Delivery)),
    "concurrency": _positive,
    "timeout": _seconds,
    "validate": _boolean,
    "request_context": _boolean,
    "force_reregister": _boolean,
    "get_retained": _boolean,
    "bypass": _boolean,
    "filled": _names,
    "middlewares": _anything,
}


# From a decorator to a Spec.


def decorator(
    make: t.Callable[..., Spec],
    uri: F | str | None,
    options: t.Mapping[str, object],
    keep: t.Callable[[Spec], None],
    *,
    in_classes: bool = False,
) -> t.Any:
    """Return a decorator that works with and without parentheses and returns the function unchanged.

    :param make: Makes a Spec from a function, a URI and options.
    :param keep: Called with the Spec.
    :param in_classes: Whether it may decorate the functions in the body of a class.
    """

    def decorate(f: F) -> F:
        frame = caller_frame()
        if not in_classes and _is_class_body(frame) and isinstance(f, types.FunctionType):
            raise TypeError(
                f"{full_name(f)} is a method, and there is no object to call it on yet. Decorate it with "
                "flask_wamp.callee or flask_wamp.subscriber instead, and call wamp.include(obj) with the "
                "object"
            )
        localns = None
        if frame.f_locals is not frame.f_globals and _has_text_annotations(f):
            localns = dict(frame.f_locals)
        keep(make(f, None if callable(uri) else uri, localns=localns, **options))
        return f

    return decorate(uri) if callable(uri) else decorate


def _has_text_annotations(f: Function) -> bool:
    hints = getattr(annotated(f), "__annotations__", {})
    return any(isinstance(hint, str) for hint in hints.values())


def caller_frame() -> types.FrameType:
    """Return the frame of the user's code that called this package."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_class_body(frame: types.FrameType) -> bool:
    is_function = bool(frame.f_code.co_flags & inspect.CO_OPTIMIZED)
    return not is_function and "__qualname__" in frame.f_locals


def _is_ours(module: str) -> bool:
    package = "flask_wamp"
    return module == package or module.startswith(package + ".")
