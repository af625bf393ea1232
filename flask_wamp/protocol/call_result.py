"""The outcome of a call: one value, several values, or an error."""

from __future__ import annotations

import typing as t

from ..exceptions import ApplicationError, CallCanceled, InvalidPayload
from . import error_uris
from . import messages as m

__tracebackhide__ = True  # pytest leaves out the frames of this module


class CallResult:
    """A result with several positional values, or with keyword values.

    A handler returns it to send more than one value. A call returns it if the result is not exactly one
    positional value.
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


def outcome(message: m.Result | m.Error) -> t.Any:
    """Return the value of a RESULT, or raise the exception for an ERROR. Decodes the payload.

    :raises ApplicationError: The message is an ERROR.
    :raises InvalidPayload: The callee sent a payload that cannot be decoded.
    """
    if isinstance(message, m.Error):
        raise remote_error(message)
    args, kwargs = message.decode_payload()
    if not kwargs:
        if len(args) == 1:
            return args[0]
        if not args:
            return None
    elif kwargs.keys() == {"message", "meta"} and _is_wampys(args, kwargs):
        return kwargs["message"]
    return CallResult(*args, **kwargs)


def _is_wampys(args: t.Sequence[object], kwargs: m.Details) -> bool:
    """Return whether a result looks like one of a wampy callee. Its only value is then ``message``.

    wampy 1.1.0 repeats ``message`` as the only positional value. A result of any other shape may contain
    further values, which must not be lost.
    """
    repeats = not args or (len(args) == 1 and args[0] == kwargs["message"])
    return repeats and isinstance(kwargs["meta"], dict)


def remote_error(message: m.Error) -> ApplicationError:
    """Return the exception for an ERROR. If the payload cannot be decoded, the exception says so instead."""
    try:
        args, kwargs = message.decode_payload()
    except InvalidPayload as error:
        args, kwargs = list(error.args), {}
    remote: ApplicationError
    if message.error == error_uris.CANCELED:
        remote = CallCanceled(*args, **kwargs)
    else:
        remote = ApplicationError(message.error, *args, **kwargs)
    remote.exposed = (
        False  # a caller of this process must not get the details of another peer's error
    )
    return remote
