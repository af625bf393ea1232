"""Arguments against annotations: pydantic's ``validate_call``, in two steps.

First the arguments are validated and coerced, then the function is called. So an error of the
arguments is never mixed up with one that the function itself makes.
"""

from __future__ import annotations

import functools
import inspect
import typing as t

from ..protocol import error_uris
from ..protocol.patterns import Pattern
from .registry import parameters_of, takes_keyword, underlying

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


def make_validator(
    f: t.Callable[..., t.Any],
    localns: dict[str, t.Any] | None = None,
    keywords: t.Collection[str] = (),
) -> Validate:
    """Return a function that takes ``args`` and ``kwargs`` for ``f`` and returns them validated.

    :param localns: Names the annotations may use, from where ``f`` was defined.
    :param keywords: Parameters that come as keywords, and leave their places to the others.
    :raises NameError: An annotation names what does not exist.
    """
    # Imported when first needed: it takes longer than all the rest.
    import pydantic
    import pydantic_core

    @functools.wraps(f)
    def collect(*args: t.Any, **kwargs: t.Any) -> Arguments:
        return args, kwargs

    function = underlying(f)
    hints = dict(getattr(function, "__annotations__", {}))
    hints.pop("return", None)  # often a name that is imported for type checkers only
    collect.__annotations__ = hints  # a copy: the function's own stay as they are
    names = getattr(function, "__globals__", {})
    collect.__annotations__ = t.get_type_hints(collect, names, localns, include_extras=True)
    if keywords:
        collect.__signature__ = _with_keywords(f, keywords)  # type: ignore[attr-defined]
    # What pydantic.validate_call does at every call, without the two functions around it.
    kind: t.Any = collect
    adapter: t.Any = pydantic.TypeAdapter(kind, config={"arbitrary_types_allowed": True})
    validated, pack = adapter.validator.validate_python, pydantic_core.ArgsKwargs

    def validate(args: tuple[t.Any, ...], kwargs: dict[str, t.Any]) -> Arguments:
        try:
            return t.cast(Arguments, validated(pack(args, kwargs)))
        except pydantic.ValidationError as error:
            raise InvalidArgument(_errors(error)) from None

    return validate


def _errors(error: t.Any) -> list[dict[str, t.Any]]:
    """What is wrong; without the input, which may be secret."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [{"loc": list(e["loc"]), "msg": e["msg"], "type": e["type"]} for e in found]


def _with_keywords(f: t.Callable[..., t.Any], names: t.Collection[str]) -> inspect.Signature:
    signature = inspect.signature(f)
    moved = [p for name, p in signature.parameters.items() if name in names]
    rest = [p for name, p in signature.parameters.items() if name not in names]
    rest += [p.replace(kind=p.KEYWORD_ONLY) for p in moved]
    return signature.replace(parameters=sorted(rest, key=lambda p: p.kind))


class URIArguments:
    """The parts of URIs that match a pattern, as arguments of a handler.

    Who calls gives the rest: positional arguments are for the other parameters, and a keyword argument
    by the name of a part is refused, so nobody contradicts the URI that the router has let through.
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
        self._places = [
            (place, name)
            for place, (name, parameter) in enumerate(parameters.items())
            if name in self.names and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
        ]

    def values(self, uri: str) -> dict[str, t.Any]:
        """What the parts of a URI are, by name.

        :raises InvalidArgument: A converter does not take one.
        """
        texts = self._pattern.texts(uri)
        found, errors = {}, []
        for number, part in self._parts:
            try:
                found[part.name] = part.converter.convert(texts[number])
            except ValueError:
                errors.append(_error(part.name, part.converter.msg, part.converter.kind))
        if errors:
            raise InvalidArgument(errors)
        return found

    def join(self, uri: str, kwargs: dict[str, t.Any]) -> dict[str, t.Any]:
        """Add them to the keyword payload.

        :raises InvalidArgument: It has one of them already, or a converter does not take one.
        """
        values = self.values(uri)
        taken = [
            _error(name, "It is a part of the URI", "uri_part") for name in values if name in kwargs
        ]
        if taken:
            raise InvalidArgument(taken)
        return {**kwargs, **values}

    def place(self, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> Arguments:
        """Make room for them between the positional arguments, where the function has them."""
        placed, rest = list(args), dict(kwargs)
        for place, name in self._places:
            if place <= len(placed):
                placed.insert(place, rest.pop(name))
        return tuple(placed), rest


def _error(name: str, msg: str, kind: str) -> dict[str, t.Any]:
    return {"loc": [name], "msg": msg, "type": kind}


def misfit(f: t.Callable[..., t.Any], args: t.Any, kwargs: t.Any) -> InvalidArgument | None:
    """What is wrong with an unvalidated call that ended in a ``TypeError``; None: not its arguments."""
    try:
        inspect.signature(f).bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(f, "__name__", "the handler")
        return InvalidArgument([{"loc": [], "msg": f"{name}() {error}", "type": "signature"}])
    except ValueError:  # nobody knows its signature, as of some functions in C
        return None
    return None
