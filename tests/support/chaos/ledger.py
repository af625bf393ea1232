"""A record of calls, runs of handlers, publications and events, and of violations."""

from __future__ import annotations

import collections
import contextlib
import itertools
import threading
import time
import typing as t

SLACK = 8.0
"""Seconds that a call may take beyond its own limit: a heartbeat, and time for a busy machine."""


class Publication(t.NamedTuple):
    """One publication. ``acknowledged`` is None if the router did not acknowledge it."""

    begun: float
    acknowledged: float | None


class Receipt(t.NamedTuple):
    """One event, as a subscriber handled it."""

    key: tuple[str, int]
    """The publisher, and its number of the event."""
    session_id: int
    """The subscriber's session that received it."""
    publisher: int
    """The session that published it."""


class Ledger:
    """All reports of members, and the violations in them."""

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.last: collections.deque[str] = collections.deque(maxlen=80)
        self.outcomes: collections.Counter[str] = collections.Counter()
        self.publications: dict[tuple[str, int], Publication] = {}
        self.receipts: dict[str, list[Receipt]] = collections.defaultdict(list)
        self.joined: dict[int, float] = {}
        """When a session was known to have its subscription."""
        self.checked = 0
        """The number of acknowledged publications that were checked at a subscriber."""
        self._lock = threading.Lock()
        self._tokens = itertools.count(1)
        self._open: dict[int, tuple[float, str]] = {}
        self._ran: set[int] = set()
        self.jobs: dict[int, bool] = {}
        """Events for one member, and whether one has handled them."""
        self._received: set[tuple[str, tuple[str, int]]] = set()
        self._highest: dict[tuple[str, int], int] = {}
        self._started = time.monotonic()

    def note(self, text: str) -> None:
        """Add an entry to the recent history."""
        self.last.append(f"{time.monotonic() - self._started:8.3f}  {text}")

    def violation(self, text: str) -> None:
        """Record a violation."""
        self.note(f"VIOLATION {text}")
        self.violations.append(text)

    # Calls.

    @contextlib.contextmanager
    def call(self, what: str, limit: float) -> t.Iterator[int]:
        """Record a call of any kind from its start to its end. Yield its token."""
        with self._lock:
            token = next(self._tokens)
            self._open[token] = time.monotonic() + limit + SLACK, f"{what} #{token}"
        try:
            yield token
        finally:
            with self._lock:
                late = time.monotonic() - self._open.pop(token)[0]
            if late > 0:
                self.violation(f"{what} #{token} ended {late + SLACK:.1f} s after its limit")

    def ran(self, token: int, where: str) -> None:
        """Record that a handler has started a call."""
        with self._lock:
            twice = token in self._ran
            self._ran.add(token)
        if twice:
            self.violation(f"#{token} was handled twice, now by {where}")

    def overdue(self) -> list[str]:
        """Return calls that should have ended."""
        with self._lock:
            now = time.monotonic()
            return [what for limit, what in self._open.values() if limit < now]

    @property
    def open(self) -> int:
        """Return the number of waiting calls."""
        return len(self._open)

    # Events.

    def job(self) -> int:
        """Record an event for one member before it is published. Return its number."""
        with self._lock:
            number = next(self._tokens)
            self.jobs[number] = False
        return number

    def did(self, number: int, where: str) -> None:
        """Record that a member handles such an event."""
        with self._lock:
            twice, self.jobs[number] = self.jobs[number], True
        if twice:
            self.violation(f"job #{number} was done twice, now by {where}")

    def publishing(self, key: tuple[str, int]) -> None:
        """Record a publication before it is sent."""
        with self._lock:
            self.publications[key] = Publication(time.monotonic(), None)

    def published(self, key: tuple[str, int]) -> None:
        """Record that the router has acknowledged it."""
        with self._lock:
            self.publications[key] = self.publications[key]._replace(acknowledged=time.monotonic())

    def received(self, subscriber: str, receipt: Receipt) -> None:
        """Record a received event. None may arrive twice, and each publisher's must be in order."""
        key, number = receipt.key, receipt.key[1]
        stream = subscriber, receipt.publisher
        with self._lock:
            self.receipts[subscriber].append(receipt)
            twice = (subscriber, key) in self._received
            self._received.add((subscriber, key))
            before = self._highest.get(stream, -1)
            self._highest[stream] = max(before, number)
        if twice:
            self.violation(f"{subscriber} got event {key} twice")
        elif number <= before:
            self.violation(f"{subscriber} got event {key} after number {before}")

    def has(self, subscriber: str, key: tuple[str, int]) -> bool:
        """Return whether a subscriber got an event."""
        return (subscriber, key) in self._received

    def settle(self) -> None:
        """Check every acknowledged publication at every subscriber whose connection was up.

        A connection carries everything in order. So if a subscriber has got an event that was published after
        another one was acknowledged, it must have got that other one too. This needs no clock and no waiting.
        The subscriber's session must have joined before the other one was published.
        """
        for subscriber, receipts in self.receipts.items():
            for session_id in {receipt.session_id for receipt in receipts}:
                keys = [r.key for r in receipts if r.session_id == session_id]
                self._settle(f"{subscriber} (session {session_id})", session_id, keys)

    def _settle(self, who: str, session_id: int, keys: list[tuple[str, int]]) -> None:
        latest = 0.0
        for key in keys:
            publication = self.publications[key]
            if publication.acknowledged is not None and publication.acknowledged < latest:
                self.violation(f"{who} got {key} after what was published later")
            latest = max(latest, publication.begun)
        got = set(keys)
        since = self.joined.get(session_id, float("inf"))
        for key, (begun, acknowledged) in self.publications.items():
            if acknowledged is not None and since < begun and acknowledged < latest:
                self.checked += 1
                if key not in got:
                    self.violation(f"{who} never got event {key}, though its line was up")
