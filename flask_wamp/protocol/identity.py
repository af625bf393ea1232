"""Who a session is: the identity that a router grants, and that rights are checked against.

Source: WAMP Advanced Profile, "Authentication".
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Identity:
    """An authenticated principal."""

    authid: str
    """The id of the principal: a user's name or key."""

    authrole: str
    """The role, which decides what the session may do."""

    authextra: t.Mapping[str, t.Any] = dataclasses.field(
        default_factory=dict, hash=False, repr=False
    )
    """Anything else the authenticator knows. The client receives it in WELCOME."""

    authmethod: str = "anonymous"
    """How the session was authenticated: ``ticket``, ``wampcra``, ``scram``, ``cryptosign``..."""

    authprovider: str = "static"
    """What authenticated the session: ``static`` for a table of principals, ``dynamic`` for a function."""
