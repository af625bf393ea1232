"""Who handles what: what the decorators note down, before there is an app or a session."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import sys
import types
import typing as t

from ..exceptions import InvalidURI
from ..peer.declarations import Registration, Subscription
from ..protocol.checks import is_seconds
from ..protocol.patterns import Pattern
from ..protocol.uris import MATCHES, resolve

F = t.TypeVar("F", bound=t.Callable[..., t.Any])

INVOKES = ("single", "roundrobin", "random", "first", "last")
"""The values of ``invoke=``; Crossbar closes the session for others."""

_MARK = "_flask_wamp_specs"


@dataclasses.dataclass(frozen=True)
class Spec:
    """One decoration of one function.

    :param uri: As given: absolute, relative to the prefix (``.add``), or None for the function's name.
    :param options: All the decorator's options.
    :param localns: Where the function was defined, for annotations that are text.
    """

    kind: type[Registration] | type[Subscription]
    function: t.Callable[..., t.Any]
    uri: str | None
    options: dict[str, t.Any]
    localns: dict[str, t.Any] | None = dataclasses.field(default=None, repr=False)

    @property
    def name(self) -> str:
        """The function's full name, for messages."""
        f = self.function
        module = getattr(f, "__module__", None) or "?"
        return f"{module}.{getattr(f, '__qualname__', None) or repr(f)}"

    def pattern(self, prefix: str | None) -> Pattern:
        """The URI or pattern in an app with that prefix.

        :raises InvalidURI: It is none.
        :raises ValueError: It has parts the function does not take, or options that do not go with it.
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
        """The same, where its URI and ``match`` are known: in an app."""
        known = {"match": pattern.match, "uri": pattern.written}
        return dataclasses.replace(self, options={**self.options, **known})

    def checked(self) -> Spec:
        """Itself, if what can be told without a prefix is well."""
        self._parse(resolve(self.uri or "", None))
        return self

    def _parse(self, uri: str) -> Pattern:
        try:
            pattern = Pattern.parse(uri, self.options["match"])
            _check_names(pattern, self.function)
        except ValueError as error:
            raise ValueError(f"{self.name}: {error}") from None
        if pattern.match != "exact" and self.options.get("get_retained"):
            raise ValueError(
                f"{self.name}: get_retained=True goes with exact topics only; routers keep events by "
                f"topic, and send none of them to the subscriber of a {pattern.match}"
            )
        return pattern


def _check_names(pattern: Pattern, f: t.Callable[..., t.Any]) -> None:
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


def takes_keyword(parameter: inspect.Parameter) -> bool:
    """Whether an argument may be given by the parameter's name."""
    return parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)


def parameters_of(f: t.Callable[..., t.Any]) -> t.Mapping[str, inspect.Parameter] | None:
    """A function's parameters; None: nobody can tell, as of some that are written in C."""
    try:
        return inspect.signature(f).parameters
    except (TypeError, ValueError):
        return None


def _own_name(f: t.Callable[..., t.Any]) -> str:
    name = getattr(f, "__name__", None)
    if not name or name == "<lambda>":
        raise ValueError(f"{f!r} has no name of its own; give a URI")
    return str(name)


def callee_spec(
    f: t.Callable[..., t.Any],
    uri: str | None,
    *,
    match: str | None = None,
    invoke: str = "roundrobin",
    concurrency: int | None = None,
    validate: bool | None = None,
    timeout: float | None = None,
    request_context: bool = False,
    force_reregister: bool = False,
    middlewares: t.Any = None,
    localns: dict[str, t.Any] | None = None,
) -> Spec:
    """Note down a procedure; see ``FlaskWAMP.callee``."""
    if match is not None:
        _one_of("match", match, MATCHES)
    _one_of("invoke", invoke, INVOKES)
    _positive("concurrency", concurrency)
    _seconds("timeout", timeout)
    _booleans(
        validate=True if validate is None else validate,
        request_context=request_context,
        force_reregister=force_reregister,
    )
    options = {
        "match": match,
        "invoke": invoke,
        "concurrency": concurrency,
        "validate": validate,
        "timeout": timeout,
        "request_context": request_context,
        "force_reregister": force_reregister,
        "middlewares": middlewares,
    }
    return Spec(Registration, _function(f), _uri(uri), options, localns).checked()


def subscriber_spec(
    f: t.Callable[..., t.Any],
    topic: str | None,
    *,
    match: str | None = None,
    validate: bool | None = None,
    concurrency: int = 1,
    delivery: str = "every",
    get_retained: bool = False,
    request_context: bool = False,
    middlewares: t.Any = None,
    localns: dict[str, t.Any] | None = None,
) -> Spec:
    """Note down a subscription; see ``FlaskWAMP.subscriber``."""
    if match is not None:
        _one_of("match", match, MATCHES)
    _one_of("delivery", delivery, ("every", "one"))
    _positive("concurrency", concurrency)
    _booleans(
        validate=True if validate is None else validate,
        request_context=request_context,
        get_retained=get_retained,
    )
    options = {
        "match": match,
        "validate": validate,
        "concurrency": concurrency,
        "delivery": delivery,
        "get_retained": get_retained,
        "request_context": request_context,
        "middlewares": middlewares,
    }
    return Spec(Subscription, _function(f), _uri(topic), options, localns).checked()


def decorator(
    make: t.Callable[..., Spec],
    uri: str | t.Callable[..., t.Any] | None,
    options: dict[str, t.Any],
    keep: t.Callable[[Spec], None],
) -> t.Any:
    """A decorator that works with and without parentheses and returns the function unchanged."""
    localns = _caller_locals()

    def decorate(f: F) -> F:
        names = localns if _has_text_annotations(f) else None
        keep(make(f, None if callable(uri) else uri, localns=names, **options))
        return f

    return decorate(uri) if callable(uri) else decorate


def _has_text_annotations(f: t.Any) -> bool:
    hints = getattr(underlying(f), "__annotations__", {})
    return any(isinstance(hint, str) for hint in hints.values())


def underlying(f: t.Any) -> t.Any:
    """The function that was written: of a method, a partial, a wrapper, or an object to be called."""
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


def _caller_locals() -> dict[str, t.Any] | None:
    """The local names where a decorator is written, if that is inside of a function."""
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return dict(frame.f_locals) if frame.f_locals is not frame.f_globals else None


def _is_ours(module: str) -> bool:
    package = "flask_wamp"
    return module == package or module.startswith(package + ".")


# The free decorators: they mark a function, an app finds it.


def callee(uri: t.Any = None, **options: t.Any) -> t.Any:
    """Mark a function as a procedure, without an extension object at hand.

    Marked views of an app and its blueprints are found when the app starts, others with
    ``wamp.include(...)``. Takes what :meth:`FlaskWAMP.callee` takes.
    """
    return decorator(callee_spec, uri, options, _mark)


def subscriber(topic: t.Any = None, **options: t.Any) -> t.Any:
    """Mark a function as a subscriber, without an extension object at hand; see :func:`callee`."""
    return decorator(subscriber_spec, topic, options, _mark)


def _mark(spec: Spec) -> None:
    specs = spec.function.__dict__.setdefault(_MARK, [])
    specs.append(spec)


def marked(f: t.Any) -> list[Spec]:
    """What the free decorators noted down on a function."""
    found = getattr(f, _MARK, None)
    return list(found) if isinstance(found, list) else []


def marked_members(thing: t.Any) -> list[Spec]:
    """What they noted down on the functions of a module, the methods of an object, or a function."""
    specs = marked(thing)
    for name in dir(thing) if not isinstance(thing, types.FunctionType) else ():
        if isinstance(inspect.getattr_static(thing, name, None), property):
            continue  # looking must not run anybody's code
        member = getattr(thing, name, None)
        if inspect.isroutine(member):
            specs += [dataclasses.replace(spec, function=member) for spec in marked(member)]
    return specs


# Checks.


def _function(f: t.Any) -> t.Callable[..., t.Any]:
    if not callable(f) or inspect.isclass(f):
        raise TypeError(f"only functions can be decorated, not {f!r}")
    return t.cast("t.Callable[..., t.Any]", f)


def _uri(uri: t.Any) -> str | None:
    if uri is not None and not isinstance(uri, str):
        raise TypeError(f"a URI must be a string, not {uri!r}")
    return uri


def _one_of(name: str, value: t.Any, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r} must be one of {', '.join(map(repr, allowed))}")


def _positive(name: str, value: t.Any) -> None:
    if value is not None and (not isinstance(value, int) or value is True or value <= 0):
        raise ValueError(f"{name}={value!r} must be a whole number above 0")


def _seconds(name: str, value: t.Any) -> None:
    if value is not None and not is_seconds(value):
        raise ValueError(f"{name}={value!r} must be a number of seconds above 0")


def _booleans(**options: t.Any) -> None:
    """What is only truthy may end the session: the router takes no 1 for true."""
    for name, value in options.items():
        if not isinstance(value, bool):
            raise ValueError(f"{name}={value!r} must be True or False")
