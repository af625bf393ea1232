"""What a call returns: one value, several values, or an error."""

from __future__ import annotations

import typing as t

from ..exceptions import ApplicationError, CallCanceled, InvalidPayload
from . import error_uris
from . import messages as m


class CallResult:
    """A result of several values, positional and keyword.

    Returned by a handler to answer with more than one value, and by a call whose result is not just
    one positional value.
    """

    __slots__ = ("args", "kwargs")

    def __init__(self, /, *args: t.Any, **kwargs: t.Any) -> None:
        self.args = args
        self.kwargs = kwargs

    def __repr__(self) -> str:
        items = [*map(repr, self.args), *(f"{key}={item!r}" for key, item in self.kwargs.items())]
        return f"CallResult({', '.join(items)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CallResult):
            return NotImplemented
        return self.args == other.args and self.kwargs == other.kwargs

    __hash__ = None  # type: ignore[assignment]


def outcome(message: t.Any) -> t.Any:
    """Return what RESULT means, or raise what ERROR means. Decodes the payload.

    :raises ApplicationError: It is an ERROR.
    :raises InvalidPayload: The callee sent a payload that cannot be decoded.
    """
    if isinstance(message, m.Error):
        raise remote_error(message)
    args, kwargs = message.args, message.kwargs
    if not kwargs:
        if len(args) == 1:
            return args[0]
        if not args:
            return None
    elif len(args) == 1 and kwargs.keys() == {"message", "meta"}:  # how wampy's callees answer
        return args[0]
    return CallResult(*args, **kwargs)


def remote_error(message: m.Error) -> ApplicationError:
    """Return the exception for an ERROR message; one without payload where that cannot be decoded."""
    try:
        args, kwargs = message.args, message.kwargs
    except InvalidPayload as error:
        args, kwargs = list(error.args), {}
    remote: ApplicationError
    if message.error == error_uris.CANCELED:
        remote = CallCanceled(*args, **kwargs)
    else:
        remote = ApplicationError(message.error, *args, **kwargs)
    remote.exposed = False  # what one peer says to this one is not for everybody who calls this one
    return remote
