"""Testaments: events that the router publishes when a session has ended.

Source: WAMP Advanced Profile, "Session Testament".
"""

from __future__ import annotations

import typing as t

from .publications import Publication
from .session import RouterSession

#: "A Router that does not allow Session Resumption MUST send detached-scope Testaments before
#: destroyed-scope Testaments."
SCOPES = ("detached", "destroyed")


class StoredTestament(t.NamedTuple):
    """An event to publish."""

    publication: Publication
    retain: bool


def add(session: RouterSession, scope: str, testament: StoredTestament) -> None:
    """Keep a testament."""
    session.testaments.setdefault(scope, []).append(testament)


def count(session: RouterSession) -> int:
    """Return how many testaments a session has."""
    return sum(map(len, session.testaments.values()))


def take(session: RouterSession) -> list[StoredTestament]:
    """Remove all testaments of a session. Return them in the order in which to publish them."""
    testaments, session.testaments = session.testaments, {}
    return [each for scope in SCOPES for each in testaments.get(scope, ())]
