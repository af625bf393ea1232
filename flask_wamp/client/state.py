"""The state of a client in each process that uses it, and how its peer is started and stopped."""

from __future__ import annotations

import contextlib
import functools
import os
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.guards import guarded
from ..concurrency.per_process import PerProcess
from ..concurrency.pool import Pool
from ..coordination.delivery import Delivery
from ..coordination.linger import Linger
from ..coordination.other_apps import OtherApps
from ..exceptions import NotJoined
from ..peer.connection import Connection
from ..peer.declarations import Declaration, Subscription, key
from ..peer.invocations import ActiveEvent
from ..peer.listeners import MakeListener
from ..peer.peer import Peer
from ..peer.registrar import PrepareSignal
from ..peer.settings import PeerSettings
from ..protocol.options import CallOptions
from ..protocol.uris import matches
from .event_hub import EventHub
from .publications import Publications
from .start_policy import StartPolicy
from .testaments import Testaments

logger = get_logger("flask_wamp")

MakeEvent = t.Callable[[ActiveEvent], object]


class Closeable(t.Protocol):
    """Something that is stopped after a client."""

    def stop(self, deadline: float) -> None:
        """Stop it. The client has stopped already, and its handlers have ended or reached their limit.

        :param deadline: The ``time.monotonic()`` by which this must return.
        """

    def forget_parents(self) -> None:
        """Release what belongs to the parent. Called in the child after a fork."""


class Declarations:
    """All declarations, and which of them are served in this process."""

    def __init__(self) -> None:
        self._all: dict[tuple[type, str, str], Declaration] = {}
        self._at_run_time: dict[tuple[type, str, str], int] = {}
        """The ids of the processes in which declarations were made at run time."""
        self._serving: int | None = None
        """The id of the process that serves everything."""
        self.for_one: tuple[Subscription, ...] = ()
        """The subscriptions with ``delivery="one"``: one process of the app handles each event."""

    @property
    def all(self) -> list[Declaration]:
        """All declarations, whether this process serves them or not."""
        return list(self._all.values())

    @property
    def all_served(self) -> bool:
        """Whether this process serves everything. After a fork, the child does not until it is started."""
        return self._serving == os.getpid()

    def serve_all(self, serve: bool) -> None:
        """Serve everything in this process from now on, or only what was declared at run time."""
        self._serving = os.getpid() if serve else None

    def add(self, declaration: Declaration, *, at_run_time: bool) -> bool:
        """Add a declaration. Return whether it has to be served in this process.

        Several functions may handle the events of one topic. They share the declaration of the first one.

        :raises ValueError: The procedure is declared already. Or the topic is declared by the same function,
            or with another ``delivery``.
        """
        name = key(declaration)
        present = self._all.setdefault(name, declaration)
        if present is not declaration:
            served = self.all_served or not at_run_time or name in self._at_run_time
            if not (served and _share_events(present, declaration)):
                raise ValueError(
                    f"{declaration.uri} (match={declaration.match!r}) is declared twice: "
                    f"by {present.name} and by {declaration.name}"
                )
            present.subject.add_member(declaration.subject)
            return False
        if at_run_time:
            self._at_run_time[name] = os.getpid()
        if isinstance(declaration, Delivery):
            self._find_for_one()
        return at_run_time or self.all_served

    def discard(self, name: tuple[type, str, str]) -> Declaration | None:
        """Remove and return a declaration. None if there is none with this name."""
        self._at_run_time.pop(name, None)
        found = self._all.pop(name, None)
        if isinstance(found, Delivery):
            self._find_for_one()
        return found

    def clear(self) -> None:
        """Remove everything."""
        self._all.clear()
        self._at_run_time.clear()
        self.for_one = ()

    def served(self) -> list[Declaration]:
        """Return the declarations that are served in this process.

        In a process that serves, these are all. In any other process, these are the ones that were registered
        or subscribed at run time there.
        """
        if self.all_served:
            return list(self._all.values())
        own, at_run_time = os.getpid(), self._at_run_time
        # list() copies at once, because other threads may add declarations meanwhile.
        return [each for name, each in list(self._all.items()) if at_run_time.get(name) == own]

    def publish_options(self, topic: str, options: CallOptions) -> CallOptions:
        """Return the options with which :attr:`for_one` receive an event that this process publishes.

        By default, a router does not send an event to the session that has published it. But that session
        may be the one that receives the events for all processes of the app.
        """
        if "exclude_me" in options.publish:
            return options
        if any(matches(each.uri, each.match, topic) for each in self.for_one):
            return options.merged({"exclude_me": False})
        return options

    def _find_for_one(self) -> None:
        all_ = self.all
        self.for_one = tuple(each.subscription for each in all_ if isinstance(each, Delivery))


def _share_events(present: Declaration, other: Declaration) -> bool:
    """Return whether two functions may handle the events of one topic."""
    members = getattr(present.subject, "members", ())
    return (
        type(present) is type(other)
        and type(present.subject) is type(other.subject) is Subscription
        and all(each.function is not other.subject.function for each in members)
    )


class ClientState:
    """The state that all views of one client share. No lock is made before ``start()``.

    :param prepare_signal: Returns the function that sends a signal, or None if it has no receivers.
    :param make_event: Makes the event that an event stream yields from an :class:`.ActiveEvent`.
    """

    def __init__(
        self, settings: PeerSettings, prepare_signal: PrepareSignal, make_event: MakeEvent
    ) -> None:
        self.make_event = make_event
        self.settings = settings
        self.policy = StartPolicy()
        self.declarations = Declarations()
        self.closeables: list[Closeable] = []
        self.testaments = Testaments(lambda: self.peer)
        self.publications = Publications(settings, self.started)
        self._prepare_signal = prepare_signal
        self._peers: dict[int, Peer] = {}  # by process id, so that a forked child has none
        # Reentrant, because a warning about a declaration may be logged by a log handler that publishes.
        self._starting_lock = PerProcess[t.ContextManager[object]](lambda: threading.RLock())
        self._failures: dict[int, Exception] = {}  # by process id, why it cannot serve
        self._listeners: list[MakeListener] = []
        self._stopped_in: int | None = None
        self.ever_started = False
        """Whether the client was started in this process, or in a parent before the fork."""

    @property
    def peer(self) -> Peer | None:
        """The peer of this process. None before :meth:`start`."""
        return self._peers.get(os.getpid())

    @property
    def connection(self) -> Connection | None:
        """The session's connection. None while there is no session, and before :meth:`start`."""
        peer = self.peer
        return None if peer is None else peer.connection

    @property
    def pool(self) -> Pool:
        """The workers of this process. They need no session."""
        return self._make_peer().pool

    @property
    def stopped(self) -> bool:
        """Whether the client was stopped in this process, and not started again."""
        return self._stopped_in == os.getpid()

    def start(self) -> None:
        """Begin to connect and to serve what the app declares. Return at once.

        Does nothing if the client serves already, or if this process must not serve.

        :raises Exception: A declaration cannot be served. Every later use raises the same error.
        """
        self._stopped_in = None
        if self.policy.serves:
            self._serve()

    def start_peer(self) -> Peer:
        """Begin to connect, and return at once. Does nothing if the peer was started already."""
        policy = self.policy
        if policy.serves and not self.declarations.all_served and policy.serves_on_first_use():
            return self._serve()
        return self._connect()

    def wait(self, timeout: float, *, refusable: bool = False) -> dict[str, Exception]:
        """Begin to connect, and wait until the router has answered all requests, like :meth:`.Peer.wait`.

        :returns: The errors of refused declarations, by URI.
        """
        self.start_peer().wait(timeout, ready=True, refusable=refusable)
        served = self.declarations.served()
        return {each.uri: each.refused for each in served if each.refused is not None}

    def _serve(self) -> Peer:
        with self._starting_lock():
            started = self.peer if not self.declarations.all_served else None
            if not self.declarations.all_served:
                self._raise_failure()
                try:
                    self.policy.before_serving()
                except Exception as error:
                    self._failures[os.getpid()] = error
                    raise
                self.declarations.serve_all(True)
        if started is not None and started.started:  # it has only called and published until now
            started.serve_more()
        peer = self._connect()
        for make in self._listeners:
            peer.add_listener(make, make)
        return peer

    def _connect(self) -> Peer:
        self._raise_failure()
        peer = self.peer
        if peer is None or not peer.started:
            self.policy.on_start()  # called first, because it may raise
            peer = self._make_peer()
            self.ever_started = True
            peer.start()
            if self.testaments.by_key:
                self.testaments.add_listener(peer)
        return peer

    def _raise_failure(self) -> None:
        failure = self._failures.get(os.getpid())
        if failure is not None:
            raise failure

    def connected(self, deadline: float) -> tuple[Connection, Peer]:
        """Return the session's connection. Start and wait for the first attempt to join if necessary.

        :param deadline: The ``time.monotonic()`` until which to wait.
        :raises NotJoined: There is no session.
        """
        peer = self._peers.get(os.getpid())
        if peer is None:
            peer = self._autostart()
        connection = peer.connection
        if connection is None:
            if not peer.started:
                self._autostart()
            connection = peer.wait(self._patience(deadline))
        return connection, peer

    def started(self) -> Peer:
        """Return the peer, and start it if necessary. Does not wait.

        :raises NotJoined: The client was stopped, or it must be started explicitly.
        """
        peer = self.peer
        return self._autostart() if peer is None or not peer.started else peer

    def event_hub(self, deadline: float) -> EventHub:
        """Return the event streams of this process. Wait for the first attempt to join if necessary.

        :param deadline: The ``time.monotonic()`` until which to wait.
        :raises NotJoined: The client was stopped, or it must be started explicitly.
        """
        peer = self.started()
        if peer.connection is None and peer.failure is None:
            with contextlib.suppress(NotJoined):
                peer.wait(self._patience(deadline))
        peer.add_listener(EventHub, EventHub)
        hub = EventHub.of(peer)
        if hub is None:  # the peer is stopping, and its listeners have left
            raise NotJoined("the client is being stopped")
        return hub

    def _patience(self, deadline: float) -> float:
        """Return the seconds to wait for a session. This is slightly more than one attempt to join takes."""
        return min(self.settings.connect_timeout + 0.5, max(0.0, deadline - monotonic()))

    def stop(self) -> None:
        """Leave the realm: linger, unregister, drain, and send GOODBYE.

        Never raises. A step that fails is logged, and the next one follows.
        """
        self._stopped_in = os.getpid()
        peer = self.peer
        if peer is None:
            return
        linger, drain = self.policy.limits(self.settings.drain_timeout)
        leaving: t.Callable[[], None] | None = None
        if linger and peer.connection is not None:
            way_out = Linger(peer.connection, self.declarations.served())
            guarded(logger.exception, "cannot wait for a successor", way_out.wait, linger)
            leaving = way_out.release
        deadline = monotonic() + drain
        peer.stop(drain, withdrawn=leaving)
        for declaration in self.declarations.served():
            declaration.release()
        self._peers.pop(os.getpid(), None)
        self.declarations.serve_all(False)
        for companion in self.closeables:
            guarded(logger.exception, "cannot stop cleanly", companion.stop, deadline)

    def may_start_again(self) -> None:
        """Let the next use start the client again. Call this after :meth:`stop`."""
        self._stopped_in = None

    def only_call(self) -> None:
        """Connect on first use only, and never serve what the app declares."""
        policy = self.policy
        policy.serves, policy.on_first_use, policy.on_first_request = False, True, False
        self.declarations.clear()

    def add_listener(self, make: MakeListener) -> None:
        """Add a listener to the sessions of every process that serves, unless it was added before."""
        if make not in self._listeners:
            self._listeners.append(make)
        peer = self.peer
        if peer is not None and peer.started and self.declarations.all_served:
            peer.add_listener(make, make)

    def forget_parents(self) -> None:
        """Close the copies of other processes' sockets. Called in the child after a fork."""
        own = os.getpid()
        for pid in [pid for pid in self._peers if pid != own]:
            self._peers.pop(pid).forget()
            self.testaments.forget()
            self.publications.forget()
            for declaration in self.declarations.all:
                declaration.id = declaration.refused = None
                declaration.release()
                for each in getattr(declaration.subject, "members", (declaration.subject,)):
                    each.dropped = 0
        for companion in self.closeables:
            companion.forget_parents()

    def _autostart(self) -> Peer:
        if self.stopped:
            raise NotJoined("the client was stopped; call wamp.start() to join again")
        if not self.policy.on_first_use:
            raise NotJoined("WAMP_AUTOSTART is False; call wamp.start() first")
        return self.start_peer()

    def _make_peer(self) -> Peer:
        peer = self.peer
        if peer is None:
            served = self.declarations.served
            listeners: dict[object, MakeListener] = {}
            if self.settings.meets_others:
                listeners[OtherApps] = functools.partial(OtherApps, served)
            new = self.policy.make_peer(self.settings, served, self._prepare_signal, listeners)
            peer = self._peers.setdefault(os.getpid(), new)  # atomic, so no lock is needed
        return peer
