"""Validation of arguments by their annotations: pydantic's ``validate_call``, in two steps.

First the arguments are validated and converted. Then the function is called. So an error in the arguments is
never confused with an error that the function itself raises.

A message of 1 MB can have millions of errors. pydantic would collect all of them, which takes 1.3 GB of
memory. Therefore, the validation of a list, a tuple or a set ends at the first item that does not fit. That
of a large dictionary ends after the first hundred entries that contain an error. The answer has at most
:data:`MAX_ERRORS` errors.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import typing as t

from ..protocol import error_uris
from ..protocol.patterns import Pattern
from .annotations import resolved_hints
from .signatures import annotated, parameters_of, signature_of, takes_keyword

__tracebackhide__ = True  # pytest leaves out the frames of this module

MAX_ERRORS = 100
"""The maximum number of errors in an answer. If there are more, an additional one says how many."""

MAX_TEXT = 500
"""The maximum number of characters of each text in an error."""

#: The number of entries of a dictionary, or of arguments, that are validated at once.
_SLICE = 100

#: If there are more errors than this, none is shown, because pydantic makes a dictionary of each.
_TOO_MANY = 10_000

Arguments = tuple[tuple[t.Any, ...], dict[str, t.Any]]
Validate = t.Callable[..., Arguments]


class InvalidArgument(Exception):
    """The arguments do not fit.

    :param errors: What is wrong, each with ``loc``, ``msg`` and ``type``.
    """

    uri = error_uris.INVALID_ARGUMENT

    def __init__(self, errors: list[dict[str, t.Any]]) -> None:
        super().__init__(errors)
        self.errors = errors

    def __str__(self) -> str:
        shown = [
            {**each, "loc": [_short(part) for part in each["loc"][:10]]} for each in self.errors[:5]
        ]
        more = len(self.errors) - 5
        return f"{shown} and {more} more errors" if more > 0 else str(shown)


def _short(part: object) -> object:
    """Return a part of a location, for logs. It may be a key of the payload, of any length."""
    return part[:50] if isinstance(part, str) else part


def make_validator(
    f: t.Callable[..., t.Any],
    localns: dict[str, t.Any] | None = None,
    keywords: t.Collection[str] = (),
    hidden: t.Collection[str] = (),
    *,
    may_miss: bool = False,
) -> Validate:
    """Return a function that takes ``args`` and ``kwargs`` for ``f`` and returns them validated.

    Defaults are not passed, so that a decorator below may use other ones. Defaults of pydantic, and mutable
    ones, are passed.

    :param localns: The names that the annotations may use, from the place where ``f`` was defined.
    :param keywords: Parameters that are given by keyword. Positional arguments are for the other parameters.
    :param hidden: Parameters that are not part of the payload.
    :param may_miss: Whether to accept a missing argument, because a decorator may fill it.
    :raises NameError: An annotation has an unknown name.
    """
    # Imported when it is first needed, because the import takes longer than the rest of the start.
    from pydantic import ValidationError
    from pydantic_core import ArgsKwargs as pack

    collect, own = _collector(f, localns, keywords, hidden, may_miss)
    validated = _compiled(collect)
    parameters = inspect.signature(collect).parameters

    def validate(args: tuple[t.Any, ...], kwargs: dict[str, t.Any]) -> Arguments:
        try:
            if len(args) > _SLICE or len(kwargs) > _SLICE:
                for some in _arguments_by_slices(parameters, args, kwargs):
                    validated(pack(*some))
            found: Arguments = validated(pack(args, kwargs))
        except ValidationError as error:
            raise InvalidArgument(_errors(error)) from None
        if own and len(found[1]) > len(kwargs):
            for name in own:
                if found[1].get(name) is _LEFT_OUT:
                    del found[1][name]
        return found

    return validate


def _collector(
    f: t.Callable[..., t.Any],
    localns: dict[str, t.Any] | None,
    keywords: t.Collection[str],
    hidden: t.Collection[str],
    may_miss: bool,
) -> tuple[t.Callable[..., Arguments], frozenset[str]]:
    """Return a function that returns its arguments and has the parameters of ``f``.

    Also return the names of the parameters that have a stand-in as their default.
    """

    def collect(*args: t.Any, **kwargs: t.Any) -> Arguments:
        return args, kwargs

    hints = resolved_hints(annotated(f), localns)
    signature = _payload_signature(f, keywords, hidden)
    own: frozenset[str] = frozenset()
    if signature is not None:
        own, signature = _defaults_left_out(signature, hints, may_miss)
        collect.__signature__ = signature  # type: ignore[attr-defined]
    collect.__annotations__ = {name: hint for name, hint in hints.items() if name not in hidden}
    collect.__module__, collect.__qualname__ = _names(f)
    return collect, own


def _compiled(collect: t.Any) -> t.Callable[..., t.Any]:
    """Return the method that ``pydantic.validate_call`` calls each time. This saves two function calls."""
    import pydantic
    import pydantic_core

    adapter: t.Any = pydantic.TypeAdapter(collect, config=_CONFIG)
    schema = hardened(adapter.core_schema, pydantic.ValidationError)
    make: t.Any = pydantic_core.SchemaValidator
    try:  # do not reuse the validators that models got when they were defined: they collect all errors
        validator = make(schema, _use_prebuilt=False)
    except TypeError:  # an older version
        validator = make(schema)
    return t.cast("t.Callable[..., t.Any]", validator.validate_python)


class _LeftOut:
    """The type of the stand-in for a default that is not passed."""

    def __repr__(self) -> str:
        return "..."


_LEFT_OUT = _LeftOut()


def _names(f: t.Callable[..., t.Any]) -> tuple[str, str]:
    """Return the module and the qualified name that errors of pydantic show for a function."""
    return getattr(f, "__module__", None) or "?", getattr(f, "__qualname__", None) or repr(f)


def _payload_signature(
    f: t.Callable[..., t.Any], keywords: t.Collection[str], hidden: t.Collection[str]
) -> inspect.Signature | None:
    """Return the signature that the payload has to fit. None if it cannot be read."""
    try:
        signature = signature_of(f)
    except (TypeError, ValueError):
        return None
    parameters = [p for name, p in signature.parameters.items() if name not in hidden]
    moved = [p.replace(kind=p.KEYWORD_ONLY) for p in parameters if p.name in keywords]
    rest = [p for p in parameters if p.name not in keywords]
    return _in_order(signature, rest + moved)


def _defaults_left_out(
    signature: inspect.Signature, hints: t.Mapping[str, t.Any], may_miss: bool
) -> tuple[frozenset[str], inspect.Signature]:
    """Replace defaults with a stand-in, which is removed after the validation. So defaults are not passed.

    Also return the names of the parameters that have the stand-in.
    """
    own: set[str] = set()
    parameters = []
    for name, parameter in signature.parameters.items():
        left_out = takes_keyword(parameter) and _is_left_out(parameter.default, may_miss)
        if left_out and not _validates_default(hints.get(name)):
            own.add(name)
            parameter = parameter.replace(default=_LEFT_OUT)
        parameters.append(parameter)
    return frozenset(own), _in_order(signature, parameters)


def _is_left_out(default: t.Any, may_miss: bool) -> bool:
    from pydantic.fields import FieldInfo

    if default is inspect.Parameter.empty:
        return may_miss
    # pydantic copies a mutable default for each call, so that a call does not see the changes of another one.
    return isinstance(default, t.Hashable) and not isinstance(default, FieldInfo)


def _validates_default(hint: t.Any) -> bool:
    """Return whether the default is to be validated: ``Annotated[int, Field(validate_default=True)]``."""
    metadata = getattr(hint, "__metadata__", ())
    return any(getattr(each, "validate_default", None) is True for each in metadata)


def _in_order(
    signature: inspect.Signature, parameters: t.Iterable[inspect.Parameter]
) -> inspect.Signature:
    return signature.replace(parameters=sorted(parameters, key=lambda p: p.kind))


#: Handlers may use any class in annotations. Source: pydantic, "Validation Decorator".
_CONFIG: t.Any = {"arbitrary_types_allowed": True}

#: Types of core schemas whose validation can end at the first item that does not fit. pydantic 2.8 can do
#: that for some of them, and later versions for all.
_FAIL_FAST = frozenset(
    {"list", "tuple", "set", "frozenset", "deque", "counter", "frozendict", "ordered-dict"}
)
_ANY: dict[str, t.Any] = {"type": "any"}


def hardened(schema: t.Any, error: type[Exception], finite: bool = True) -> t.Any:
    """Return a copy of a core schema that does not collect all errors of a collection.

    It refuses NaN and infinity, which handlers do not expect in comparisons and JSON does not have.

    :param error: ``pydantic.ValidationError``.
    :param finite: False inside a model whose configuration decides on NaN and infinity.
    """
    if isinstance(schema, list | tuple):
        return type(schema)(hardened(each, error, finite) for each in schema)
    if not isinstance(schema, dict):
        return schema
    kind = schema.get("type")
    if "allow_inf_nan" in (schema.get("config") or ()):
        finite = False
    made = {key: hardened(value, error, finite) for key, value in schema.items()}
    if kind == "float" and finite:
        made.setdefault("allow_inf_nan", False)
    elif kind in _FAIL_FAST:
        made["fail_fast"] = True
    elif kind == "dict" and made.get("values_schema", _ANY).get("type") != "any":
        ref = {"ref": made.pop("ref")} if "ref" in made else {}
        function = {"type": "no-info", "function": functools.partial(_by_slices, error)}
        return {"type": "function-wrap", "function": function, "schema": made, **ref}
    return made


def _by_slices(error: type[Exception], value: t.Any, validate: t.Callable[..., t.Any]) -> t.Any:
    """Validate a large dictionary in slices first, and end with the first slice that has errors."""
    if isinstance(value, dict) and len(value) > _SLICE:
        items = iter(value.items())
        while some := dict(itertools.islice(items, _SLICE)):
            try:
                validate(some)
            except error as found:
                # A slice may be too short, although the dictionary is not.
                if found.errors()[0]["type"] != "too_short":  # type: ignore[attr-defined]
                    raise
    return validate(value)


def _arguments_by_slices(
    parameters: t.Mapping[str, inspect.Parameter], args: tuple[t.Any, ...], kwargs: dict[str, t.Any]
) -> t.Iterator[Arguments]:
    """Yield the arguments of the named parameters, each time with some of the others."""
    positional = sum(1 for p in parameters.values() if p.kind <= p.POSITIONAL_OR_KEYWORD)
    first, rest = args[:positional], args[positional:]
    named = {name: value for name, value in kwargs.items() if name in parameters}
    others = [(name, value) for name, value in kwargs.items() if name not in parameters]
    for start in range(0, max(len(rest), len(others)), _SLICE):
        end = start + _SLICE
        yield first + rest[start:end], named | dict(others[start:end])


def _errors(error: t.Any) -> list[dict[str, t.Any]]:
    """Return the errors without the input, which may be secret."""
    count = error.error_count()
    if count > _TOO_MANY:
        return [_error_count(count)]
    found = error.errors(include_url=False, include_context=False, include_input=False)
    errors = [
        {"loc": [_brief(part) for part in e["loc"]], "msg": _brief(e["msg"]), "type": e["type"]}
        for e in found[:MAX_ERRORS]
    ]
    if count > MAX_ERRORS:
        errors.append(_error_count(count - MAX_ERRORS, "more "))
    return errors


def _error_count(count: int, more: str = "") -> dict[str, t.Any]:
    return {"loc": [], "msg": f"{count} {more}errors are left out", "type": "too_many_errors"}


def _brief(part: t.Any) -> t.Any:
    """Shorten a text that the sender chose. Numbers stay as they are."""
    if isinstance(part, str) and len(part) > MAX_TEXT:
        return part[: MAX_TEXT - 3] + "..."
    return part


class URIArguments:
    """The parts of URIs that match a pattern, as arguments of a handler.

    The payload contains the other arguments. Positional arguments are for the parameters that are not parts.
    A keyword argument with the name of a part is refused, so that no payload contradicts the URI that the
    router has allowed.
    """

    def __init__(self, pattern: Pattern, f: t.Callable[..., t.Any]) -> None:
        parameters = parameters_of(f) or {}
        named = {part.name for part in pattern.parts if part.is_named}
        by_name = {name for name, parameter in parameters.items() if takes_keyword(parameter)}
        self._pattern = pattern
        self._parts = [
            (number, part)
            for number, part in enumerate(pattern.parts)
            if part.is_named or (part.name not in named and part.name in by_name)
        ]
        self.names = {part.name for _, part in self._parts}

    def values(self, uri: str) -> dict[str, t.Any]:
        """Return the parts of a URI by name.

        :raises InvalidArgument: A converter does not accept a part.
        """
        texts = self._pattern.texts(uri)
        found, errors = {}, []
        for number, part in self._parts:
            try:
                found[part.name] = part.converter.convert(texts[number])
            except ValueError:
                errors.append(argument_error(part.name, part.converter.msg, part.converter.kind))
        if errors:
            raise InvalidArgument(errors)
        return found

    def join(self, uri: str, kwargs: dict[str, t.Any]) -> dict[str, t.Any]:
        """Return the keyword payload, together with the parts of a URI.

        :raises InvalidArgument: The payload has a keyword with the name of a part, or a converter does not
            accept a part.
        """
        values = self.values(uri)
        taken = [
            argument_error(name, "It is a part of the URI", "uri_part")
            for name in values
            if name in kwargs
        ]
        if taken:
            raise InvalidArgument(taken)
        return {**kwargs, **values}


def argument_error(name: str, msg: str, kind: str) -> dict[str, t.Any]:
    """Return what is wrong with one argument, in the form of pydantic's ``errors()``."""
    return {"loc": [name], "msg": msg, "type": kind}


def misfit(f: t.Callable[..., t.Any], args: t.Any, kwargs: t.Any) -> InvalidArgument | None:
    """Return the error for a call that raised ``TypeError``. None if the arguments are not the reason."""
    try:
        signature_of(f).bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(f, "__name__", "the handler")
        return InvalidArgument([{"loc": [], "msg": f"{name}() {error}", "type": "signature"}])
    except ValueError:  # its signature cannot be read, as of some functions in C
        return None
    return None
