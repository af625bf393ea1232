"""What a session tells its driver, and what it tells the router about itself."""

from __future__ import annotations

import typing as t

import msgspec

from .._text import safe_text
from . import messages as m

#: What we announce. Progressive *calls* are not: Crossbar 26.10 corrupts registrations with them.
ROLES: dict[str, dict[str, dict[str, bool]]] = {
    "caller": {
        "features": {
            "caller_identification": True,
            "call_canceling": True,
            "call_timeout": True,
            "progressive_call_results": True,
        }
    },
    "callee": {
        "features": {
            "caller_identification": True,
            "call_canceling": True,
            "call_timeout": True,
            "pattern_based_registration": True,
            "progressive_call_results": True,
            "registration_revocation": True,
            "shared_registration": True,
        }
    },
    "publisher": {
        "features": {
            "publisher_identification": True,
            "publisher_exclusion": True,
            "subscriber_blackwhite_listing": True,
        }
    },
    "subscriber": {
        "features": {
            "publisher_identification": True,
            "pattern_based_subscription": True,
            "event_history": True,
            "event_retention": True,
            "subscription_revocation": True,
        }
    },
}


class Joined(msgspec.Struct):
    """WELCOME: the session is established."""

    session_id: int
    details: m.Details


class Left(msgspec.Struct):
    """GOODBYE or ABORT: the session is over."""

    reason: str
    details: m.Details

    @classmethod
    def read(cls, message: m.Abort | m.Goodbye) -> Left:
        """Return the end that a message announces, its texts shortened and made safe to log."""
        text = message.details.get("message")
        details = {"message": safe_text(text)} if text else {}
        return cls(safe_text(message.reason), details)


class Answered(msgspec.Struct):
    """The answer to a request; an ``Error``, a progressive ``Result``, or the last message of it."""

    ticket: t.Any
    message: t.Any


class Invoked(msgspec.Struct):
    """INVOCATION of what was registered with ``target``."""

    target: t.Any
    message: m.Invocation
    size: int = 0
    """Bytes of the message."""


class Delivered(msgspec.Struct):
    """EVENT for all who subscribed, each a ``target``."""

    targets: tuple[t.Any, ...]
    message: m.Event
    size: int = 0
    """Bytes of the message."""


class Interrupted(msgspec.Struct):
    """INTERRUPT of an invocation that is not answered yet."""

    message: m.Interrupt


class Revoked(msgspec.Struct):
    """The router took away a registration or subscription."""

    targets: tuple[t.Any, ...]
    details: m.Details


class Ignored(msgspec.Struct):
    """A late or unknown message: nobody waits for it any more, or nobody ever did."""

    message: m.Message


Happening = Joined | Left | Answered | Invoked | Delivered | Interrupted | Revoked | Ignored | None
