"""Converts the payload of a message to the arguments of its handler."""

from __future__ import annotations

import re
import types
import typing as t

from .registry import Spec, full_name
from .signatures import annotated, has_fillers, hidden_parameters, parameters_of
from .validation import (
    InvalidArgument,
    URIArguments,
    Validate,
    argument_error,
    make_validator,
    misfit,
)

__tracebackhide__ = True  # pytest leaves out the frames of this module

Call = t.Callable[..., t.Any]
Arguments = tuple[t.Sequence[t.Any], dict[str, t.Any]]


class ArgumentBinder:
    """Calls a handler with the payload of a message.

    :param call: The handler's function, as a plain function.
    :param parts: The arguments that are parts of the URI.
    :param validated: Whether pydantic validates the arguments.
    :param in_request: Whether the handler may read its payload from the request.
    :param extra: Parameters that are given by keyword, in addition to the payload.
    """

    def __init__(
        self,
        spec: Spec,
        call: Call,
        parts: URIArguments | None,
        *,
        validated: bool,
        in_request: bool,
        extra: frozenset[str] = frozenset(),
    ) -> None:
        f = spec.function
        self.annotated = annotated(f)
        """The function that has the annotations of the parameters."""
        self._spec = spec
        self._call = call
        self._parts = parts
        self.validated = validated
        """Whether pydantic validates the arguments."""
        self._hidden = hidden_parameters(f, spec.options["filled"])
        self._keywords = (parts.names if parts is not None else set()) | extra
        names = parameters_of(f)
        # A view that reads its payload from the request has no other parameters.
        known = self._keywords | self._hidden
        self._takes_nothing = in_request and names is not None and known.issuperset(names)
        self._placed = bool(known) and names is not None
        self._may_miss = validated and has_fillers(f)
        self._validate: Validate | None = None
        self._is_plain = validated and not (known or self._may_miss or self._takes_nothing)

    def call_handler(self, uri: str, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> t.Any:
        """Check the arguments and call the handler.

        :raises InvalidArgument: They do not fit.
        """
        if self._is_plain:  # as most handlers are
            args, kwargs = (self._validate or self._validator())(tuple(args), kwargs)
            return self._call(*args, **kwargs)
        if not self._hidden.isdisjoint(kwargs):
            raise InvalidArgument(_unexpected(self._hidden & kwargs.keys()))
        if self._takes_nothing:
            args, kwargs = (), {}
        if self._parts is not None:
            kwargs = self._parts.join(uri, kwargs)
        if not self.validated or self._may_miss:
            return self._try(args, kwargs)
        if not self._takes_nothing or self._parts is not None:
            args, kwargs = (self._validate or self._validator())(tuple(args), kwargs)
        if self._placed:
            args, kwargs = self._place(args, kwargs)
        return self._call(*args, **kwargs)

    def _try(self, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> t.Any:
        """Call a handler for which only a ``TypeError`` of the call shows that the arguments do not fit."""
        given = args, kwargs
        if self.validated:
            args, kwargs = (self._validate or self._validator())(tuple(args), kwargs)
        if self._placed:
            args, kwargs = self._place(args, kwargs)
        try:
            return self._call(*args, **kwargs)
        except TypeError as error:
            if _has_begun(self.annotated, error.__traceback__):
                raise
            twice = _given_twice(self.annotated, error)
            if twice is not None:
                raise InvalidArgument([argument_error(twice, *_TWICE)]) from None
            if self.validated:
                self._make_validator(may_miss=False)(tuple(given[0]), given[1])
                raise
            invalid = misfit(self._spec.function, args, kwargs)
            if invalid is None:
                raise
            raise invalid from None

    def _place(self, args: t.Sequence[t.Any], kwargs: dict[str, t.Any]) -> Arguments:
        """Leave room between the positional arguments, for parts of the URI and for hidden parameters."""
        placed: list[t.Any] = []
        kwargs = dict(kwargs)
        rest = list(args)
        by_name = False
        parameters = parameters_of(self._spec.function) or {}
        for name, parameter in parameters.items():
            if parameter.kind > parameter.POSITIONAL_OR_KEYWORD:
                break
            if name in self._hidden:
                by_name = True  # the parameters after it cannot be given by position
            elif name in self._keywords:
                if not by_name and name in kwargs:
                    placed.append(kwargs.pop(name))
            elif not rest:
                by_name = True
            elif not by_name:
                placed.append(rest.pop(0))
            elif name in kwargs:
                raise InvalidArgument([argument_error(name, *_TWICE)])
            else:
                kwargs[name] = rest.pop(0)
        takes_more = any(p.kind is p.VAR_POSITIONAL for p in parameters.values())
        if rest and (by_name or not takes_more):
            raise InvalidArgument(
                [{"loc": [], "msg": "Too many positional arguments", "type": "signature"}]
            )
        return [*placed, *rest], kwargs

    def _validator(self) -> Validate:
        # Made at the first call, because it takes long, and an app with many handlers must start quickly.
        self._validate = self._make_validator(may_miss=self._may_miss)
        return self._validate

    def _make_validator(self, *, may_miss: bool) -> Validate:
        spec = self._spec
        return make_validator(
            spec.function, spec.localns, self._keywords, self._hidden, may_miss=may_miss
        )

    def __repr__(self) -> str:
        return f"<ArgumentBinder of {full_name(self._spec.function)}>"


_TWICE = "Got multiple values for argument", "multiple_argument_values"


def _unexpected(names: t.Collection[str]) -> list[dict[str, t.Any]]:
    kind = "unexpected_keyword_argument"
    return [argument_error(name, "Unexpected keyword argument", kind) for name in sorted(names)]


def _given_twice(function: t.Any, error: TypeError) -> str | None:
    """Return the name of the argument that both a decorator and the caller have given, or None."""
    name = getattr(function, "__qualname__", None)
    found = re.fullmatch(r"(.*)\(\) got multiple values for argument '(.*)'", str(error))
    return found[2] if found is not None and found[1] == name else None


def _has_begun(function: t.Any, traceback: types.TracebackType | None) -> bool:
    """Return whether an error comes from inside a function, not from the attempt to call it."""
    code = getattr(function, "__code__", None)
    while traceback is not None:
        if traceback.tb_frame.f_code is code:
            return True
        traceback = traceback.tb_next
    return False
