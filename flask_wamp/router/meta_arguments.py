"""The arguments of meta procedures. The functions raise :class:`MetaError` if an argument is wrong."""

from __future__ import annotations

import typing as t

from ..protocol import error_uris
from ..protocol.messages import Details
from ..protocol.uris import is_valid_uri
from .options import MATCHES, choice

Args = t.Sequence[t.Any]


class MetaError(Exception):
    """The ERROR that answers a call of a meta procedure."""

    def __init__(self, uri: str, text: str = "") -> None:
        super().__init__(text or uri)
        self.uri = uri


def argument(args: Args, at: int, kind: type, what: str, *, optional: bool = False) -> t.Any:
    """Return a positional argument.

    :param what: What it must be, for the error.
    :param optional: Whether it may be missing or null. Then it is None.
    """
    value = args[at] if at < len(args) else None
    if value is None and optional:
        return None
    if type(value) is not kind:
        raise MetaError(
            error_uris.INVALID_ARGUMENT, f"argument {at + 1} must be {what}, not {value!r:.100}"
        )
    return value


def uri_in(args: Args, at: int) -> str:
    """Return a positional argument that is a URI."""
    uri: str = argument(args, at, str, "a URI")
    if not is_valid_uri(uri):
        raise MetaError(error_uris.INVALID_URI, f"{uri!r:.200} is not a valid URI")
    return uri


def pattern_in(args: Args) -> tuple[str, str]:
    """Return a URI or pattern and its ``match``, from the arguments of a lookup: a URI and options."""
    uri = argument(args, 0, str, "a URI")
    options = argument(args, 1, dict, "a dictionary of options", optional=True)
    return uri, choice(options or {}, "match", MATCHES)


def reason_in(args: Args, kwargs: Details) -> str | None:
    """Return the reason for a removal: a URI, as the third argument or a keyword."""
    reason = kwargs.get("reason", args[2] if len(args) > 2 else None)
    if reason is not None and not (isinstance(reason, str) and is_valid_uri(reason)):
        raise MetaError(error_uris.INVALID_URI, f"reason must be a URI, not {reason!r:.100}")
    return reason
