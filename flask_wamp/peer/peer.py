"""The peer: keeps a session with the router, and serves what is declared.

It connects, joins, registers and subscribes everything, reads until the session is lost, and starts again. It
belongs to one process. After a fork, the child creates its own peer.
"""

from __future__ import annotations

import functools
import logging
import os
import threading
import time
import types
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.guards import guarded, report, without_frames
from ..concurrency.leader_followers import read_all
from ..concurrency.threads import is_ending, spawn
from ..concurrency.timer_thread import TimerHandle, TimerThread
from ..exceptions import NotJoined, SessionLost, WAMPError
from ..protocol.session import Session
from ..protocol.session_events import Joined
from ..transports import Stream
from . import heartbeat
from .attempts import connect, delay
from .connection import Connection, ReadAll
from .declarations import Declaration, Served, summary, waiting
from .listeners import Listeners, MakeListener, SessionListener
from .present_session import PresentSession
from .registrar import PrepareSignal, Registrar
from .serving import Serving
from .settings import PeerSettings
from .starvation import check_soon

logger = get_logger("flask_wamp")

#: Seconds for GOODBYE and its answer, after the time for running handlers.
LAST_WORDS = 1.0


class Peer(PresentSession):
    """One process's session with the router, and the threads that serve it.

    If any code raises in the reader's thread, even a log handler of the app, the peer joins again.

    :param served: Returns the declarations to serve. Called at every join.
    :param prepare_signal: Returns the function that sends a signal, or None if it has no receivers.
    :param listeners: Makes the listeners that every process has, by key, before its first session.
    """

    make_connection = Connection

    def __init__(
        self,
        settings: PeerSettings,
        served: Served,
        prepare_signal: PrepareSignal,
        listeners: t.Mapping[object, MakeListener] = types.MappingProxyType({}),
    ) -> None:
        super().__init__(settings, served)
        self._prepare_signal = prepare_signal
        self.pid = os.getpid()
        self.started = False
        self.lost = 0
        """How many sessions were lost."""
        self._timer: TimerThread
        self._opening: Stream | None = None
        self.registrar: Registrar
        self._serving: Serving
        self._listeners = Listeners(self, self._changed, listeners)

    # Life.

    def start(self) -> None:
        """Begin to connect, and return at once. Does nothing if it was called before."""
        with self._changed:
            if self.started:
                return
            settings, timer, tell = self.settings, self._make_timer(), self._tell
            self._timer = timer
            self.registrar = Registrar(settings, self._served, timer, tell)
            self._serving = Serving(settings, self.registrar, self.pool, timer, tell)
            self._begin()
            self.started = True

    def _make_timer(self) -> TimerThread:
        return TimerThread()

    def _begin(self) -> None:
        """Start the thread that joins. It also reads, unless two other threads take turns at that."""
        starving = functools.partial(check_soon, self.pool, self._timer, self._stopping)
        self.pool.on_starving = starving
        self._reader = spawn(self._run, "wamp-reader")

    def stop(self, drain: float, *, withdrawn: t.Callable[[], None] | None = None) -> None:
        """Leave the realm: accept no more work, finish the running work, send GOODBYE, and end all threads.

        This never raises. A step that fails is logged, and the next one follows. It starts no thread of its
        own, because from Python 3.12 on, none can be started while the interpreter ends.

        :param drain: Seconds for calls and events that have already arrived.
        :param withdrawn: Called when nothing is registered any more.
        """
        self._stopping.set()
        deadline = monotonic() + drain
        connection, session_id = self.connection, self.session_id
        steps: list[t.Callable[[], object]] = [
            functools.partial(self._prepare_stop, connection, deadline),
            functools.partial(self._listeners.leave, deadline),
        ]
        if connection is not None:
            steps.append(functools.partial(self.registrar.withdraw_all, connection, deadline))
        if withdrawn is not None:
            steps.append(withdrawn)
        steps.append(lambda: self.pool.stop(max(0.0, deadline - monotonic())))
        if connection is not None:
            steps.append(functools.partial(self._leave, connection))
        steps.append(self._end_threads)
        for step in steps:
            try:
                step()
            except BaseException:
                report(logger.exception, "a step of the stop failed; the next one follows")
        if session_id is not None:
            send = self._prepare_signal("session_left", session_id=session_id)
            if send is not None:
                guarded(logger.exception, "a receiver of session_left failed", send)

    def _prepare_stop(self, connection: Connection | None, deadline: float) -> None:
        with self._changed:
            self._changed.notify_all()
        if connection is not None:  # a router that does not read would block threads that send
            self._timer.call_at(deadline + LAST_WORDS, connection.close)

    def _leave(self, connection: Connection) -> None:
        try:
            connection.ask(Session.leave)
        except NotJoined:
            return
        self._await_goodbye()

    def _await_goodbye(self) -> None:
        """Wait for the router's GOODBYE, at most ``LAST_WORDS`` seconds."""
        self._join_reader(LAST_WORDS)

    def _end_threads(self) -> None:
        if not self.started:
            return
        for open_ in (self.connection, self._opening):
            if open_ is not None:
                open_.close()
        self._join_reader(self.settings.connect_timeout + 1.0)
        self._timer.stop()

    def _join_reader(self, timeout: float) -> None:
        if self._reader is not None and self._reader is not threading.current_thread():
            self._reader.join(timeout)

    @property
    def is_alive(self) -> bool:
        """Whether the thread that joins and the timer are running."""
        return self._reader is not None and self._reader.is_alive() and self._timer.is_alive

    def serve_more(self) -> None:
        """Serve the declarations that were added since the session was joined.

        Does not wait. If there is no session, the next one serves everything anyway.
        """
        with self._changed:
            connection = self.connection
            if connection is None:  # under the lock, as in entered_connection()
                return
            self._extending = connection
        try:
            self.registrar.extend(connection, functools.partial(self._extended, connection))
        except WAMPError as error:  # the session has ended: the next one serves everything
            logger.debug("not served in this session: %s", error)

    def _extended(self, connection: Connection, declarations: list[Declaration]) -> None:
        with self._changed:
            if self._extending is connection:
                self._extending = None
            self._changed.notify_all()
            if self.connection is connection:
                self._listeners.extended(connection)
        self._add_listeners_of(declarations)

    def add_listener(self, key: object, make: MakeListener) -> None:
        """Let a listener follow the sessions of this process.

        :param key: There is one listener for each key.
        """
        with self._changed:
            if not self._stopping.is_set():
                self.ensure_listener(key, make)

    def ensure_listener(self, key: object, make: MakeListener) -> SessionListener:
        """Return the listener with this key. Create it if there is none, also while the peer is stopping."""
        with self._changed:
            return self._listeners.add(key, make, self.connection if self._ready else None)

    def remove_listener(self, key: object, deadline: float) -> None:
        """Let a listener leave, until a ``time.monotonic()``."""
        self._listeners.remove(key, deadline)

    def listener(self, key: object) -> SessionListener | None:
        """Return the listener with this key. None if there is none."""
        return self._listeners.get(key)

    # The reader's thread.

    def _run(self) -> None:
        attempts = 0
        # Unlike threads, greenlets are copied by a fork. In a child, this greenlet must not join again.
        while not self._stopping.is_set() and os.getpid() == self.pid:
            lasted = 0.0
            try:
                lasted = self._join_and_serve()
            except BaseException as error:
                # For example from a log handler; the next attempt follows.
                report(logger.exception, "the reader failed; it joins again")
                self._note_failure(error)
            if lasted > self.settings.reconnect_max:
                attempts = 0  # so that there is a pause if the router ends each session at once
            if not self._stopping.is_set():
                self._stopping.wait(delay(self.settings, attempts))
            attempts += 1

    def _join_and_serve(self) -> float:
        """Join and serve until the session is lost. Return how many seconds it lasted."""
        found = self._connect()
        if found is None:
            return 0.0
        since = monotonic()
        follow_up = self._enter(*found)
        if follow_up is not None:
            self._serve(*found, follow_up)
        return monotonic() - since

    def _connect(self) -> tuple[Connection, Joined] | None:
        """Join. Return None if that failed."""
        try:
            found = connect(
                self.settings,
                self._serving.on_events,
                self.pool,
                self._opened,
                self.make_connection,
            )
        except Exception as error:
            self._note_failure(error)
            if not isinstance(error, WAMPError):
                logger.exception("cannot connect")
            if not self._stopping.is_set():
                self._failures.add(error)
            return None
        self._opening = None
        return found

    def _opened(self, stream: Stream) -> None:
        """Store the stream, so that :meth:`stop` can close it instead of waiting for a silent router."""
        self._opening = stream
        if self._stopping.is_set():
            raise NotJoined("the client was stopped")

    def _enter(self, connection: Connection, joined: Joined) -> t.Callable[[], None] | None:
        """Request all registrations and subscriptions, and store the session.

        :returns: A function to call without the lock. None if the peer is stopping, or the session has ended.
        """
        with self._changed:
            # stop() has already checked for a session, or will be called soon.
            if self._stopping.is_set() or is_ending():
                connection.close()
                return None
            # This comes before the connection is stored. Otherwise, another thread could publish an event
            # before this process has subscribed to it.
            ready = functools.partial(self._is_ready, connection, joined)
            try:
                follow_up = self.registrar.restore(connection, ready)
            except WAMPError:  # the session has ended before any thread used it, so join again
                connection.close()
                return None
            self.connection = connection
            self.session_id = joined.session_id
            self.joined_at = time.time()
            if self.failure is not None:
                self.failure = None
                self._failures.clear()
            self._changed.notify_all()
            return follow_up

    def _restore(self, connection: Connection, follow_up: t.Callable[[], None]) -> None:
        heartbeat.watch(connection, self._timer, self.settings.heartbeat)
        follow_up()

    def _serve(
        self,
        connection: Connection,
        joined: Joined,
        follow_up: t.Callable[[], None] | None = None,
    ) -> None:
        """Serve until the session is lost.

        :param follow_up: The function that :meth:`_enter` has returned. None if it was called already.
        """
        reason: BaseException
        try:
            if follow_up is not None:
                self._restore(connection, follow_up)
            reason = connection.run(self._read_all())
        except BaseException as error:  # after any error, the reader joins again
            if not (isinstance(error, WAMPError) or is_ending()):  # otherwise, it was lost early
                report(logger.exception, "the reader failed")
            guarded(logger.exception, "cannot close the connection", connection.close)
            reason = error
        if os.getpid() == self.pid:
            self._lost(connection, joined, without_frames(reason))

    def _read_all(self) -> ReadAll:
        return functools.partial(read_all, self.pool)

    def _is_ready(
        self, connection: Connection, joined: Joined, declarations: list[Declaration]
    ) -> None:
        if logger.isEnabledFor(logging.INFO):
            realm, url = self.settings.realm, self.settings.router_url.shown
            text = "joined realm %s at %s as session %s: %s"
            logger.info(text, realm, url, self.session_id, summary(declarations))
        with self._changed:
            if self.connection is not connection:  # it was lost before the last answer arrived
                return
            self._ready = True
            self._changed.notify_all()
            self._listeners.joined(connection)
        self._add_listeners_of(declarations)
        self._tell("session_joined", session_id=joined.session_id, details=joined.details)

    def _add_listeners_of(self, declarations: list[Declaration]) -> None:
        for declaration in declarations:
            if declaration.make_listener is not None:
                self.add_listener(declaration, declaration.make_listener)

    def _tell(self, name: str, **payload: object) -> None:
        """Send a signal from a worker, because receivers may do anything."""
        send = self._prepare_signal(name, **payload)
        if send is not None:
            self.pool.submit(send, force=True)

    def _lost(self, connection: Connection, joined: Joined, reason: BaseException) -> None:
        """Clean up after a session. If this fails, the next attempt to join follows anyway."""
        with self._changed:
            self.connection = self.session_id = self._extending = None
            self._ready = False
            self._changed.notify_all()
        self._listeners.lost()
        self.registrar.lost()
        tickets = connection.abandon()
        for work in list(connection.invocations.values()):
            work.canceled = True
        for ticket in tickets:
            error = SessionLost(f"the session was lost before an answer came: {reason}")
            error.__cause__ = reason
            guarded(logger.exception, "cannot end an unanswered request", ticket.fail, error)
        if self._stopping.is_set():
            return
        self.lost += 1
        session_id, unanswered = joined.session_id, len(tickets)
        report(
            logger.warning,
            "session %s with realm %s at %s is lost, %d requests unanswered, joining again: %s",
            session_id,
            self.settings.realm,
            self.settings.router_url.shown,
            unanswered,
            reason,
        )
        self._tell("session_lost", session_id=session_id, reason=reason, unanswered=unanswered)

    @property
    def summary(self) -> str:
        """A text for logs that says how much is served in the current session."""
        return summary(self._served())

    def call_at(self, deadline: float, function: t.Callable[[], None]) -> TimerHandle:
        """Call a short function at a ``time.monotonic()``, see :meth:`.TimerThread.call_at`."""
        return self._timer.call_at(deadline, function)

    @property
    def waiting(self) -> int:
        """How many calls and events wait."""
        return self.pool.pending + waiting(self._served())

    def forget(self) -> None:
        """Close the copy of the parent's socket in a child, without sending anything to the router."""
        if self.connection is not None:
            self.connection.transport.forget()
