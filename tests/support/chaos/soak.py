"""One run: members, load, faults, and the check for leaks."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import threading
import time
import traceback
import typing as t

from .faults import Faults
from .holders import ways_to
from .ledger import SLACK, Ledger
from .load import Load
from .measure import Held, counted_as, held, keep_one_heap
from .members import Member, Planned, wait_until_idle
from .proxy import Proxy
from .routers import Chosen

LARGEST_MESSAGE = 4_000_000, 2_000_000, 4_000_000
"""``WAMP_MAX_MESSAGE_SIZE`` of the three members: one may refuse messages of another."""

WARM_UP = 5.0
"""Seconds of load on good connections before the first measurement."""

SETTLE = 60.0
"""Seconds until all members are idle after the last fault. A refused registration is retried late."""

GROWTH = 80.0
"""Megabytes by which the memory may grow, including the ledger. 20 were measured."""


class Soak:
    """A run of a number of seconds.

    :param chosen: The router.
    :param pause: Mean seconds between two calls of one caller.
    """

    def __init__(
        self, chosen: Chosen, *, seconds: float, seed: str, callers: int = 3, pause: float = 0.05
    ) -> None:
        self.ledger = Ledger()
        self.load = Load(self.ledger, seed, pause)
        self.before: Held | None = None
        self.after: Held | None = None
        self._seconds = seconds
        self._seed = seed
        self._callers = callers
        self._router = chosen.router
        self._is_ours = chosen.is_ours
        self._router_had = 0
        self._lines: dict[Member, Proxy] = {}
        for name, url, serializer, limit in zip(
            ("json", "msgpack", "raw"),
            chosen.proxied,
            ("json", "msgpack", "msgpack"),
            LARGEST_MESSAGE,
            strict=True,
        ):
            proxy = Proxy(url)
            self._lines[self._member(name, proxy.url, serializer, limit)] = proxy
        self.control = self._member("control", chosen.control, "msgpack", LARGEST_MESSAGE[0])
        self._apps = [
            self._member(f"app-{number}", url, "msgpack", LARGEST_MESSAGE[0])
            for number, url in enumerate(chosen.apps)
        ]
        rng = random.Random(f"{seed} faults")
        self.faults = Faults(rng, chosen, self._lines, self.control, self.ledger)

    def _member(self, name: str, url: str, serializer: str, limit: int) -> Member:
        nested = lambda member, depth: self.load.nested(member, depth)  # noqa: E731
        config = {"WAMP_SERIALIZERS": [serializer], "WAMP_MAX_MESSAGE_SIZE": limit}
        return Member(name, url, self.ledger, nested, **config)

    @property
    def members(self) -> list[Member]:
        """The members without and with a proxy. The first one starts an embedded router."""
        return [self.control, *self._apps, *self._lines]

    @property
    def violations(self) -> list[str]:
        """All violations."""
        return self.ledger.violations

    def run(self) -> None:
        """Run, and clean up."""
        keep_one_heap()
        with _watching(self.ledger):
            try:
                self._start()
                self._make_trouble()
                self._look_at_the_end()
            finally:
                self.load.stop()
                for member in self.members:
                    member.stop()
                for proxy in self._lines.values():
                    proxy.close()

    def _start(self) -> None:
        for member in self.members:
            member.start()
            member.client.wait_until_joined(20)
        for member in (*self._apps, *self._lines):
            self.load.add(member, self._callers)
        self.load.go_on()
        time.sleep(WARM_UP)
        self._rest("after the warm-up")
        self.before = held()
        self._router_had = self._router_files()
        self.load.go_on()

    def _make_trouble(self) -> None:
        end = time.monotonic() + self._seconds
        while time.monotonic() < end and not self.violations:
            self.faults.next()
            for what in self.ledger.overdue():
                self.ledger.violation(f"{what} hangs")
            time.sleep(random.uniform(0.0, 1.0))

    def _look_at_the_end(self) -> None:
        self._rest("after the last fault")
        self._publish_to_all()
        self._call_all()
        self._rest("at the end")
        if self._is_ours:
            self._look_at_the_router()
        self.ledger.settle()
        self.after = self._held_at_last()
        self._compare()

    def _rest(self, when: str) -> None:
        """Stop the load, and wait until all members are idle."""
        if not self.load.pause(SETTLE):
            self.ledger.violation(f"{when}: {self.ledger.open} calls hang")
        for trouble in wait_until_idle(self.members, SETTLE):
            self.ledger.violation(f"{when}: {trouble}")

    def _publish_to_all(self) -> None:
        """Publish once more: all subscribers are joined now, which also confirms earlier events."""
        keys = [self.load.publish(member, timeout=5.0) for member in self.members]
        if None in keys:
            self.ledger.violation("a publication was not acknowledged on a good line")
        deadline = time.monotonic() + SLACK
        missing = {(m.name, key) for m in self.members for key in keys if key is not None}
        while missing and time.monotonic() < deadline:
            time.sleep(0.02)
            missing = {each for each in missing if not self.ledger.has(*each)}
        for name, key in missing:
            self.ledger.violation(f"{name} did not get event {key} on a good line")

    def _call_all(self) -> None:
        for member in self.members:
            try:
                answer = self.control.client.call(f"com.chaos.who.{member.name}")
            except Exception as error:
                answer = error
            if answer != member.name:
                self.ledger.violation(f"{member.name} answered {answer!r} at the end")

    def _look_at_the_router(self) -> None:
        self.faults.look_at_log()
        deadline = time.monotonic() + SLACK
        while trouble := self._trouble_of_the_router():
            if time.monotonic() > deadline:
                self.ledger.violation(trouble)
                return
            time.sleep(0.1)

    def _trouble_of_the_router(self) -> str:
        """Return the router's records of ended sessions. Empty if there are none."""
        count, members = self.control.client.call("wamp.session.count"), len(self.members)
        if count != members:
            return f"the router has {count} sessions of {members} members"
        files = self._router_files()
        if files > self._router_had:
            return f"the router had {self._router_had} file descriptors, now {files}"
        return ""

    def _router_files(self) -> int:
        """Return the number of file descriptors of the router's process."""
        pid = self._router.pid
        assert pid is not None
        return len(os.listdir(f"/proc/{pid}/fd"))

    def _held_at_last(self) -> Held:
        """Wait for the longest timeout, after which timers release their objects."""
        deadline = time.monotonic() + SLACK
        while _more((now := held()).objects, self._before.objects) and time.monotonic() < deadline:
            time.sleep(0.5)  # a heartbeat may be pending too
        return now

    @property
    def _before(self) -> Held:
        assert self.before is not None
        return self.before

    def _compare(self) -> None:
        before, after = self._before, self.after
        assert after is not None
        more = _more(after.objects, before.objects)
        if more:
            ways = "\n".join(self._ways_to(more))
            self.ledger.violation(f"leaked objects: {more}, held by\n{ways}")
        if after.threads != before.threads:
            self.ledger.violation(f"threads were {before.threads}, are {after.threads}")
        most = sum(member.client.pool.size for member in self.members)
        if after.workers > most:
            self.ledger.violation(f"there are {after.workers} workers, and {most} places")
        if after.files > before.files:
            self.ledger.violation(f"{before.files} file descriptors, now {after.files}")
        if after.megabytes - before.megabytes > GROWTH:
            self.ledger.violation(f"{before.megabytes:.0f} MB, now {after.megabytes:.0f} MB")

    def _ways_to(self, more: t.Container[str]) -> list[str]:
        """Return the holders of classes with too many objects. Legitimate objects are among them."""
        peers = [peer for member in self.members if (peer := member.client.peer) is not None]
        connections = [each for peer in peers if (each := peer.connection) is not None]
        living = [*peers, *connections, *(each.session for each in connections)]
        return ways_to(lambda thing: counted_as(thing) in more, living)

    def report(self) -> str:
        """Return a summary of the run."""
        ledger = self.ledger
        lines = [
            f"seed {self._seed}, {self._seconds:g} s",
            f"calls and publications: {_counts(ledger.outcomes)}",
            f"faults: {_counts(self.faults.counts)}",
            f"sessions: {len(ledger.joined)}",
            f"events: {sum(map(len, ledger.receipts.values()))} received, "
            f"{ledger.checked} acknowledged ones looked for at a subscriber whose line was up",
            f"events for one member: {sum(ledger.jobs.values())} of {len(ledger.jobs)} handled",
            f"before: {self.before}",
            f"after:  {self.after}",
        ]
        if self.violations:
            lines += ["", "the last that happened:", *ledger.last, ""]
            lines += [f"VIOLATION: {each}" for each in self.violations[:20]]
        return "\n".join(lines)


def _more(now: dict[str, int], before: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in now.items() if count > before.get(name, 0)}


def _counts(counter: t.Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common())


class _Defects(logging.Handler):
    """Collects logged tracebacks of errors that no handler raised on purpose."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.WARNING)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            if not isinstance(error, Planned):
                trace = "".join(traceback.format_exception(error))
                self._ledger.violation(f"logged: {text:.300}\n{trace}")
        elif record.levelno >= logging.WARNING:
            self._ledger.note(f"logged: {text:.200}")


@contextlib.contextmanager
def _watching(ledger: Ledger) -> t.Iterator[None]:
    """Record logged errors, and threads that end with an exception."""
    logger, handler, hook = logging.getLogger("flask_wamp"), _Defects(ledger), threading.excepthook

    def failed(args: t.Any) -> None:
        trace = "".join(traceback.format_exception(args.exc_value))
        ledger.violation(f"a thread ended: {args.thread}\n{trace}")

    propagate, logger.propagate = logger.propagate, False
    logger.addHandler(handler)
    threading.excepthook = failed
    try:
        yield
    finally:
        threading.excepthook = hook
        logger.removeHandler(handler)
        logger.propagate = propagate
