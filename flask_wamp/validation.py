"""Arguments against annotations: pydantic's ``validate_call``, in two steps.

First the arguments are validated and coerced, then the function is called. So an error of the
arguments is never mixed up with one that the function itself makes.
"""

from __future__ import annotations

import functools
import inspect
import typing as t

from .registry import underlying

Arguments = tuple[tuple[t.Any, ...], dict[str, t.Any]]
Validate = t.Callable[..., Arguments]


class InvalidArgument(Exception):
    """The arguments do not fit.

    :param errors: What is wrong, each with ``loc``, ``msg`` and ``type``.
    """

    uri = "wamp.error.invalid_argument"

    def __init__(self, errors: list[dict[str, t.Any]]) -> None:
        super().__init__(errors)
        self.errors = errors


def make_validator(f: t.Callable[..., t.Any], localns: dict[str, t.Any] | None = None) -> Validate:
    """Return a function that takes ``args`` and ``kwargs`` for ``f`` and returns them validated.

    :param localns: Names the annotations may use, from where ``f`` was defined.
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
