"""Faults, one after the other, at random."""

from __future__ import annotations

import collections
import contextlib
import os
import random
import signal
import time
import typing as t

from flask_wamp.crossbar import local_url
from flask_wamp.exceptions import WAMPError

from ..hostile_peer import HostilePeer
from .ledger import SLACK, Ledger
from .load import PREFIX
from .members import DRAIN, HEARTBEAT, Member
from .proxy import DOWN, UP, Proxy
from .routers import Chosen

RESTART_EVERY = {True: 5.0, False: 40.0}
"""The minimum number of seconds between two restarts, by whether the router is ours, which starts quickly."""


class Faults:
    """Causes faults. Call it in the main thread, because a router ends with the thread that started it.

    :param lines: Members, and the proxies they are behind.
    :param control: A member on a good line.
    """

    def __init__(
        self,
        rng: random.Random,
        chosen: Chosen,
        lines: dict[Member, Proxy],
        control: Member,
        ledger: Ledger,
    ) -> None:
        self.counts: collections.Counter[str] = collections.Counter()
        self._rng = rng
        self._router = chosen.router
        self._log = chosen.log
        self._address = local_url(chosen.address_url).address
        self._restart_every = RESTART_EVERY[chosen.is_ours]
        self._lines = lines
        self._control = control
        self._ledger = ledger
        self._restarted = time.monotonic() - self._restart_every / 2
        self._shares: dict[t.Callable[[Member, Proxy], None], int] = {
            self.delay: 4,
            self.cut: 6,
            self.truncate: 6,
            self.stall: 4,
            self.stall_long: 1,
            self.refuse: 3,
            self.break_joins: 4,
            self.leave: 4,
            self.kill: 5,
            self.freeze: 3,
            self.attack: 3,
            self.restart: 5 if chosen.is_ours else 2,
        }
        #: Faults that every run must contain, however short it is.
        self._due = [self.freeze, self.restart] if chosen.is_ours else []

    def next(self) -> None:
        """Cause one fault, and undo it afterwards."""
        (fault,) = self._rng.choices(list(self._shares), list(self._shares.values()))
        if self._due:
            fault = self._due.pop()
        elif fault == self.restart and time.monotonic() - self._restarted < self._restart_every:
            fault = self.cut
        member = self._rng.choice(list(self._lines))
        proxy = self._lines[member]
        self.counts[fault.__name__] += 1
        self._ledger.note(f"{fault.__name__} at {member.name}")
        try:
            fault(member, proxy)
        finally:
            proxy.mend()
            self._ledger.note(f"{fault.__name__} is over")

    def delay(self, member: Member, proxy: Proxy) -> None:
        proxy.delay = self._rng.uniform(0.005, 0.15)
        time.sleep(self._rng.uniform(1.0, 3.0))

    def cut(self, member: Member, proxy: Proxy) -> None:
        direction = self._rng.choice((UP, DOWN))
        for line in list(proxy.lines):
            line.left[direction] = int(100_000 ** self._rng.random())
        time.sleep(self._rng.uniform(0.1, 1.0))
        proxy.cut(reset=self._rng.random() < 0.5)

    def truncate(self, member: Member, proxy: Proxy) -> None:
        direction = self._rng.choice((UP, DOWN))
        for line in list(proxy.lines):
            line.truncated.add(direction)
        time.sleep(self._rng.uniform(0.5, 1.0))

    def stall(self, member: Member, proxy: Proxy) -> None:
        for direction in self._rng.choice(((UP,), (DOWN,), (UP, DOWN))):
            proxy.stall(direction)
        time.sleep(HEARTBEAT * self._rng.uniform(0.5, 3.0))

    def stall_long(self, member: Member, proxy: Proxy) -> None:
        proxy.stall(self._rng.choice((UP, DOWN)))
        time.sleep(HEARTBEAT * 12)

    def refuse(self, member: Member, proxy: Proxy) -> None:
        proxy.refusing = True
        proxy.cut()
        time.sleep(self._rng.uniform(0.2, 2.0))

    def break_joins(self, member: Member, proxy: Proxy) -> None:
        proxy.frail = True
        proxy.cut()
        time.sleep(self._rng.uniform(0.5, 3.0))

    def leave(self, member: Member, proxy: Proxy) -> None:
        """Stop a member at any time, sometimes on a bad connection, and start it again."""
        if self._rng.random() < 0.1:
            proxy.stall(self._rng.choice((UP, DOWN)))
        begun = time.monotonic()
        member.stop()
        took = time.monotonic() - begun
        self._ledger.note(f"{member.name} stopped in {took:.1f} s")
        if took > DRAIN + SLACK:
            self._ledger.violation(f"{member.name} took {took:.1f} s to stop")
        proxy.mend()
        time.sleep(self._rng.uniform(0.0, 0.5))
        member.start()

    def kill(self, member: Member, proxy: Proxy) -> None:
        session_id = member.client.session_id
        with contextlib.suppress(WAMPError):
            if session_id is not None:
                self._control.client.call("wamp.session.kill", session_id, reason="com.chaos.kill")

    def attack(self, member: Member, proxy: Proxy) -> None:
        """Send unusual payloads to all members: a session on a good connection must not end."""
        session_id = self._control.client.session_id
        name = self._rng.choice(["json", "msgpack", "cbor"])
        with HostilePeer(self._address, name) as peer:
            procedure = f"{PREFIX}.who.{self._control.name}"
            for data in peer.requests(procedure, f"{PREFIX}.odd"):
                if self._rng.random() < 0.3:
                    peer.send(data)
        if session_id is None or self._control.client.session_id == session_id:
            return
        # Crossbar may need more time for them than the heartbeat allows.
        if "WAMP_HEARTBEAT" not in self._control.last_loss:
            self._ledger.violation(f"odd payloads in {name} have ended session {session_id}")

    def freeze(self, member: Member, proxy: Proxy) -> None:
        pid = self._router.pid
        assert pid is not None
        os.killpg(pid, signal.SIGSTOP)
        try:
            time.sleep(HEARTBEAT * self._rng.uniform(0.2, 2.0))
        finally:
            os.killpg(pid, signal.SIGCONT)

    def look_at_log(self) -> None:
        """Check the router's log for errors. The faults of this class must not cause any."""
        if self._log is not None and self._log.exists():
            text = self._log.read_text(errors="replace")
            if "Traceback" in text or "ERROR" in text:
                self._ledger.violation(f"the router has logged an error: {text[-3000:]}")

    def restart(self, member: Member, proxy: Proxy) -> None:
        self.look_at_log()
        end = self._rng.choice((self._router.kill, self._router.kill, self._router.stop))
        self._ledger.note(f"the router: {end.__name__}")
        end()
        time.sleep(self._rng.uniform(0.0, 1.0))
        self._router.start()
        self._router.wait_until_ready(120)
        self._restarted = time.monotonic()
