"""A client in the processes that use it: one peer in each, started and stopped in order."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
import typing as t

from ..concurrency.pool import Pool
from ..coordination.lease import Leases
from ..coordination.linger import Linger
from ..exceptions import NotJoined
from ..peer.connection import Connection
from ..peer.declarations import Declaration
from ..peer.listeners import MakeListener
from ..peer.peer import Notify, Peer
from ..peer.settings import Settings
from .event_hub import EventHub
from .testaments import Testaments

MakeEvent = t.Callable[[t.Any], t.Any]


@dataclasses.dataclass
class StartPolicy:
    """When a client starts by itself."""

    on_first_use: bool = True
    on_first_request: bool = True
    before_start: t.Callable[[], None] = lambda: None
    """Called before it starts: to find what is to be served."""
    linger: float = 0.0
    """Seconds the last callee of a procedure stays for its successor."""
    linger_at_restart: float = 0.0
    """The same, where the server says that successors are being started."""
    restarting: t.Callable[[], bool] = lambda: False
    """Whether the server has started successors of this process, as far as it tells."""
    ending: t.Callable[[], bool] = lambda: False
    """Whether the server is about to end the process, and waits for its requests before."""
    grace: float | None = None
    """Seconds the server leaves the process for its end; None: as many as it needs."""
    serves: bool = True
    """False: it calls and publishes, and what the app declares is not served in this process."""

    def limits(self, drain: float) -> tuple[float, float]:
        """How long to linger and how long to drain, in seconds, within what the server leaves."""
        linger = self.linger
        if self.linger_at_restart > linger and self.restarting():
            linger = self.linger_at_restart
        if self.grace is None:
            return linger, drain
        linger = min(linger, self.grace * 0.3)
        return linger, min(drain, self.grace * 0.9 - linger)


class Closeable(t.Protocol):
    """What lives and ends with a client."""

    def stop(self, deadline: float) -> None:
        """The client stops, and what was in hand has ended or had its time, until then."""

    def forget_parents(self) -> None:
        """After a fork, in the child: let go of what is the parent's."""


class ClientState:
    """What all views of one client share. Plain values: no lock is made before ``start()``.

    :param notify: Called with the name and payload of each signal, on a worker.
    :param make_event: Makes of an event in hand what streams of events hand out.
    """

    def __init__(self, settings: Settings, notify: Notify, make_event: MakeEvent) -> None:
        self.make_event = make_event
        self.settings = settings
        self.policy = StartPolicy()
        self.declarations: dict[tuple[type, str, str], Declaration] = {}
        self.closeables: list[Closeable] = []
        self.testaments = Testaments(lambda: self.peer)
        self._notify = notify
        self._peers: dict[int, Peer] = {}  # by process id: a forked child has none
        self._listeners: list[MakeListener] = []
        self._stopped_in: int | None = None

    @property
    def peer(self) -> Peer | None:
        """What keeps the session in this process; None before :meth:`start`."""
        return self._peers.get(os.getpid())

    @property
    def pool(self) -> Pool:
        """The workers of this process; there also without a session."""
        return self._make_peer().pool

    def start(self) -> None:
        """Begin to connect, where this process serves."""
        self._stopped_in = None
        if self.policy.serves:
            self.start_peer()

    def start_peer(self) -> Peer:
        """Begin to connect, and return at once; does nothing when begun already."""
        peer = self._make_peer()
        if not peer.started:
            if self.policy.serves:
                self.policy.before_start()
            peer.start()
            self.testaments.add_listener(peer)
            for make in self._listeners if self.policy.serves else ():
                peer.add_listener(make, make)
        return peer

    def connected(self) -> tuple[Connection, Peer]:
        """The session's connection; waits for a first attempt to join, starts where it must.

        :raises NotJoined: There is no session.
        """
        peer = self._peers.get(os.getpid())
        if peer is None:
            peer = self._autostart()
        connection = peer.connection
        if connection is None:
            if not peer.started:
                self._autostart()
            # A moment more than an attempt takes, to learn what came of it.
            connection = peer.wait(self.settings.connect_timeout + 0.5)
        return connection, peer

    def started(self) -> Peer:
        """What keeps the session, started where it must; a first attempt to join may have failed.

        :raises NotJoined: It was stopped, or does not start by itself.
        """
        peer = self.peer
        if peer is None or not peer.started:
            peer = self._autostart()
        if peer.connection is None and peer.failure is None:
            with contextlib.suppress(NotJoined):
                peer.wait(self.settings.connect_timeout + 0.5)
        return peer

    def event_hub(self) -> EventHub:
        """Return the streams of events of this process, started where it must.

        :raises NotJoined: It was stopped, or does not start by itself.
        """
        return t.cast(EventHub, EventHub.of(self.started()))

    def stop(self) -> None:
        """Leave the realm: linger, withdraw, drain, say GOODBYE."""
        self._stopped_in = os.getpid()
        peer = self.peer
        if peer is None:
            return
        linger, drain = self.policy.limits(self.settings.drain_timeout)
        leaving: t.Callable[[], None] = lambda: None  # noqa: E731
        if linger and peer.connection is not None:
            way_out = Linger(peer.connection, list(self.declarations.values()))
            way_out.wait(linger)
            leaving = way_out.release
        deadline = time.monotonic() + drain
        peer.stop(drain, withdrawn=leaving)
        self._peers.pop(os.getpid(), None)
        for companion in self.closeables:
            companion.stop(deadline)

    def only_call(self) -> None:
        """From now on connect on first use only, and serve nothing that is declared so far."""
        policy = self.policy
        policy.serves, policy.on_first_use, policy.on_first_request = False, True, False
        self.declarations.clear()

    def add_listener(self, make: MakeListener) -> None:
        """Have something come and go with the sessions of every process that serves."""
        self._listeners.append(make)
        peer = self.peer
        if peer is not None and peer.started and self.policy.serves:
            peer.add_listener(make, make)

    def forget_parents(self) -> None:
        """After a fork, in the child: let go of the sockets of other processes."""
        own = os.getpid()
        for pid in [pid for pid in self._peers if pid != own]:
            self._peers.pop(pid).forget()
            self.testaments.forget()
        for companion in self.closeables:
            companion.forget_parents()

    def _autostart(self) -> Peer:
        if self._stopped_in == os.getpid():
            raise NotJoined("the client was stopped; call wamp.start() to join again")
        if not self.policy.on_first_use:
            raise NotJoined("WAMP_AUTOSTART is False; call wamp.start() first")
        return self.start_peer()

    def _make_peer(self) -> Peer:
        peer = self.peer
        if peer is None:
            # The leases leave last.
            listeners: dict[object, MakeListener] = {
                Leases: Leases,
                EventHub: EventHub,
            }
            new = Peer(self.settings, self.declarations.values(), self._notify, listeners)
            peer = self._peers.setdefault(os.getpid(), new)  # one wins, without a lock
        return peer
