"""Registrations: procedures, their callees, and the choice of the callee for a call.

Source: WAMP Advanced Profile, "Shared Registration".
"""

from __future__ import annotations

import collections
import typing as t

from ..protocol.messages import Details
from .session import RouterSession
from .timers import Timer


class Callee:
    """A session that serves a registration."""

    __slots__ = ("concurrency", "forwards_timeouts", "registration", "running", "session")

    def __init__(
        self,
        session: RouterSession,
        registration: Registration,
        concurrency: int | None,
        forwards_timeouts: bool,
    ) -> None:
        self.session = session
        self.registration = registration
        self.concurrency = concurrency
        """How many calls it serves at a time. None means any number."""
        self.forwards_timeouts = forwards_timeouts
        """Whether it handles timeouts itself."""
        self.running = 0
        """How many calls it serves now. A canceled call does not count, even if it still runs."""

    @property
    def is_free(self) -> bool:
        """Whether it accepts another call."""
        return self.concurrency is None or self.running < self.concurrency


class Registration:
    """A procedure, or a pattern of procedures, and its callees in order of registration."""

    __slots__ = (
        "callees",
        "created",
        "held",
        "id",
        "invoke",
        "match",
        "turn",
        "uri",
        "vacancy",
    )

    def __init__(
        self, registration_id: int, uri: str, match: str, invoke: str, created: str
    ) -> None:
        self.id = registration_id
        self.uri = uri
        self.match = match
        self.invoke = invoke
        self.created = created
        self.callees: list[Callee] = []
        self.turn = 0
        self.held: collections.deque[t.Any] = collections.deque()
        """Calls that wait while there is no callee."""
        self.vacancy: Timer | None = None
        """The time until which calls wait. None if there are callees."""

    @property
    def details(self) -> Details:
        """The details for the registration meta API."""
        return {
            "id": self.id,
            "created": self.created,
            "uri": self.uri,
            "match": self.match,
            "invoke": self.invoke,
        }

    def callee_of(self, session: RouterSession) -> Callee | None:
        """Return the entry of a session. None if the session does not serve the registration."""
        return next((callee for callee in self.callees if callee.session is session), None)

    def remove(self, callee: Callee) -> None:
        """Remove a callee. This does not change which of the others is next."""
        at = self.callees.index(callee)
        del self.callees[at]
        if at < self.turn:
            self.turn -= 1

    def choose(self, random_below: t.Callable[[int], int]) -> Callee | None:
        """Return the callee that gets the next call. None if all have as many calls as they accept."""
        callees = self.callees
        if len(callees) == 1:
            callee = callees[0]
            return callee if callee.concurrency is None or callee.is_free else None
        if self.invoke == "roundrobin":
            return self._next_in_turn()
        if self.invoke == "random":
            free = [callee for callee in callees if callee.is_free]
            return free[random_below(len(free))] if free else None
        # 'first' and 'last': hot stand-by. A callee on stand-by also serves the calls that the others
        # cannot accept.
        ordered = reversed(callees) if self.invoke == "last" else iter(callees)
        return next((callee for callee in ordered if callee.is_free), None)

    def _next_in_turn(self) -> Callee | None:
        """ "callees are picked subsequently from the list of registrations (ordered by the order of
        registration), with the picking looping back to the beginning of the list once the end has
        been reached" """
        callees, count = self.callees, len(self.callees)
        for step in range(count):
            at = (self.turn + step) % count
            if callees[at].is_free:
                self.turn = at + 1
                return callees[at]
        return None
