"""The events that a session returns to its connection, and the roles that it announces to the router."""

from __future__ import annotations

import typing as t

import msgspec

from .._text import safe_text
from . import messages as m

#: The roles and features in HELLO. Progressive *calls* are not announced, because Crossbar 26.10 corrupts
#: registrations if they are.
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
        """Return the event for a message. Its texts are shortened and made safe for logs."""
        text = message.details.get("message")
        details = {"message": safe_text(text)} if text else {}
        return cls(safe_text(message.reason), details)


class Answered(msgspec.Struct):
    """An answer to a request: an ``Error``, a progressive ``Result``, or the final answer."""

    ticket: t.Any
    message: t.Any


class Invoked(msgspec.Struct):
    """INVOCATION for the registration with this ``target``."""

    target: t.Any
    message: m.Invocation
    size: int = 0
    """The size of the message in bytes."""


class Delivered(msgspec.Struct):
    """EVENT for the subscriptions with these ``targets``."""

    targets: tuple[t.Any, ...]
    message: m.Event
    size: int = 0
    """The size of the message in bytes."""


class Interrupted(msgspec.Struct):
    """INTERRUPT for an invocation that is not answered yet."""

    message: m.Interrupt


class Revoked(msgspec.Struct):
    """The router has revoked a registration or subscription."""

    targets: tuple[t.Any, ...]
    details: m.Details


class Ignored(msgspec.Struct):
    """A late or unexpected message that no request, registration or subscription waits for."""

    message: m.Message


SessionEvent = (
    Joined | Left | Answered | Invoked | Delivered | Interrupted | Revoked | Ignored | None
)
