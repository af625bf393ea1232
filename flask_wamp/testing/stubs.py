"""Procedures of other services that a test client serves, so that the app can call them."""

from __future__ import annotations

import dataclasses
import traceback
import typing as t

from ..exceptions import ApplicationError
from ..peer.declarations import ActiveMessage, Failure, Outcome, Registration, Success
from ..protocol import error_uris
from ..protocol.call_result import CallResult


@dataclasses.dataclass(frozen=True)
class StubbedCall:
    """A call that a stub has answered."""

    procedure: str
    args: list[t.Any]
    kwargs: dict[str, t.Any]
    details: dict[str, t.Any] = dataclasses.field(repr=False, default_factory=dict)
    """INVOCATION.Details: ``caller_authid`` and more."""


class StubbedCalls(list[StubbedCall]):
    """The calls that a stub has answered, oldest first.

    :param why_not: Takes the index of a missing call and returns the error message.
    """

    def __init__(self, why_not: t.Callable[[object], str]) -> None:
        super().__init__()
        self._why_not = why_not

    def __getitem__(self, index: t.Any) -> t.Any:
        try:
            return super().__getitem__(index)
        except IndexError:
            raise IndexError(self._why_not(index)) from None


def registration(uri: str, function: t.Callable[..., object], **options: t.Any) -> Registration:
    """Return the registration of a plain function. It gets the payload, and runs without a Flask context."""

    def handle(work: ActiveMessage) -> Outcome:
        try:
            value = function(*work.message.args, **work.message.kwargs)
            if isinstance(value, CallResult):
                return Success(work.plain(value.args), work.plain(value.kwargs))
            return Success([work.plain(value)])
        except ApplicationError as error:
            return Failure(error.uri or error_uris.RUNTIME_ERROR, list(error.args), error.kwargs)
        except Exception as error:
            text = "".join(traceback.format_exception_only(type(error), error)).strip()
            return Failure(error_uris.RUNTIME_ERROR, [text])

    made = Registration(uri, handle, options=options)
    made.name, made.function = getattr(function, "__qualname__", repr(function)), function
    return made


def stub(
    uri: str, calls: StubbedCalls, returns: t.Any, raises: BaseException | None, function: t.Any
) -> Registration:
    """Return the registration of a stub, which records its calls."""

    def handle(work: ActiveMessage) -> Outcome:
        message = work.message
        calls.append(StubbedCall(work.uri, message.args, message.kwargs, message.details))
        return answer.handler(work)

    def default(*args: object, **kwargs: object) -> t.Any:
        if raises is not None:
            raise raises
        return returns

    answer = registration(uri, default if function is None else function)
    made = Registration(uri, handle)
    made.name = f"the stub of {uri}"
    return made
