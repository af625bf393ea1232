"""The annotations of handlers. Those that are text are evaluated where the handler was defined."""

from __future__ import annotations

import typing as t

from .registry import Spec, location

Annotated = t.Callable[..., t.Any]


def check_annotations(handlers: t.Iterable[tuple[Spec, Annotated]]) -> None:
    """Evaluate the annotations of handlers before the first message arrives.

    :param handlers: Each handler with the function that has its annotations, see :func:`.annotated`.
    :raises NameError: An annotation has an unknown name. Other mistakes raise Python's own errors.
    """
    for spec, function in handlers:
        try:
            resolved_hints(function, spec.localns)
        except Exception as error:
            raise type(error)(
                f"{spec.name} ({location(spec.function)}): an annotation cannot be evaluated: {error}. "
                "Import its names in the module that defines the function, and not only for type checkers, "
                "or set validate=False"
            ) from error


def resolved_hints(function: Annotated, localns: dict[str, t.Any] | None) -> dict[str, t.Any]:
    """Return the annotations of a handler's parameters. Those that are text are evaluated.

    :param function: The function that has the annotations, see :func:`.annotated`.
    :param localns: The names that the annotations may use, from the place where the function was defined.
    :raises NameError: An annotation has an unknown name. Other mistakes raise Python's own errors.
    """

    def hinted() -> None:
        """Hold a copy of the annotations, so that those of the function do not change."""

    hints = dict(getattr(function, "__annotations__", {}))
    hints.pop("return", None)  # often a name that is imported for type checkers only
    hinted.__annotations__ = hints
    names = getattr(function, "__globals__", {})
    return t.get_type_hints(hinted, names, localns, include_extras=True)
