"""Who may join: the interface of authenticators, and the default one.

An authenticator gets a :class:`JoinRequest`. It returns an :class:`Identity`, a :class:`Refusal`, or a
:class:`Challenge` that the client has to answer first.

Source: WAMP Advanced Profile, "Authentication".
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..protocol import error_uris
from ..protocol.identity import Identity
from .facts import TransportFacts
from .later import Later

Details = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class JoinRequest:
    """The request of HELLO. Its contents are claims of the client, and are not verified."""

    realm: str
    session_id: int
    """The id the session will have. WAMP-CRA signs it."""

    authid: str | None
    authmethods: tuple[str, ...]
    """The methods that the client offers, the preferred one first; ``anonymous`` if HELLO names none."""

    authextra: Details
    facts: TransportFacts
    nonce: t.Callable[[int], bytes]
    """Returns the given number of random bytes."""

    timestamp: str
    """The time in UTC, in ISO 8601."""


@dataclasses.dataclass(frozen=True)
class Refusal:
    """The client may not join. This becomes ABORT."""

    reason: str = error_uris.AUTHENTICATION_DENIED
    message: str = ""


@dataclasses.dataclass(frozen=True)
class Mutual:
    """The client may join. It gets the router's own proof in ``WELCOME.Details.authextra``."""

    identity: Identity
    proof: Details


Verdict = Identity | Mutual | Refusal


@dataclasses.dataclass(frozen=True)
class Challenge:
    """What the client has to answer before it may join. This becomes CHALLENGE."""

    authmethod: str
    extra: Details
    verify: t.Callable[[str, Details], Verdict | Later[Verdict]]
    """Called with ``AUTHENTICATE.Signature`` and ``Extra``. An exception refuses the client."""


class Authenticator(t.Protocol):
    """Decides who may join."""

    def __call__(self, request: JoinRequest) -> Verdict | Challenge | Later[Verdict | Challenge]:
        """Answer a HELLO. An exception refuses it with ``wamp.error.authentication_failed``."""


def everybody(request: JoinRequest) -> Verdict:
    """Let all clients join as ``anonymous``. This is the default authenticator of a router."""
    if "anonymous" not in request.authmethods:
        return Refusal(
            error_uris.NO_MATCHING_AUTH_METHOD,
            f"this router knows no principals: offer anonymous, not {list(request.authmethods)}",
        )
    return anonymous(request)


def anonymous(request: JoinRequest, authrole: str = "anonymous") -> Identity:
    """Return an anonymous identity with a random authid."""
    return Identity(f"anonymous-{request.nonce(8).hex()}", authrole, {}, "anonymous", "static")
