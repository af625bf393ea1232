"""The peer: keeps a session with the router, for ever, and serves what is declared.

Connects, joins, registers and subscribes everything, reads until the session is lost, and begins
again. Lives in one process: after a fork the child makes its own.
"""

from __future__ import annotations

import functools
import os
import threading
import time
import types
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.guards import guarded, report
from ..concurrency.leader_followers import read_all
from ..concurrency.pool import Pool
from ..concurrency.threads import default_workers, spawn
from ..concurrency.timer import Timer, TimerHandle
from ..exceptions import NotJoined, SessionLost, WAMPError
from ..protocol.session import Session
from ..protocol.session_events import Joined
from ..transports import Stream
from .attempts import FailureLog, connect, delay, is_login_refused
from .connection import Connection, ReadAll
from .declarations import Declaration
from .heartbeat import Heartbeat
from .listeners import Listeners, MakeListener, SessionListener
from .serving import Serving
from .settings import Settings
from .starvation import Starvation

logger = get_logger("flask_wamp")


Notify = t.Callable[..., None]

#: Seconds for GOODBYE and its answer, after the time for running handlers.
LAST_WORDS = 1.0


class Peer:
    """One process's session with the router, and the threads that serve it.

    Whatever is raised in the reader's thread, by the app's log handlers too, the peer joins again.

    Locks: ``_changed`` guards what :meth:`wait` waits for. Listeners' locks, the pool's and the connection's
    may be taken under it, never the other way round.

    :param declarations: What is served; read at every join.
    :param notify: Called with the name and payload of each signal, on a worker.
    :param listeners: What comes and goes with every session of this process, made in
        :meth:`start`, by key. The first one leaves after all others.
    """

    make_connection = Connection

    def __init__(
        self,
        settings: Settings,
        declarations: t.Collection[Declaration],
        notify: Notify,
        listeners: t.Mapping[object, MakeListener] = types.MappingProxyType({}),
    ) -> None:
        self.settings = settings
        self._notify = notify
        self.pid = os.getpid()
        self.pool = self._make_pool()
        self.connection: Connection | None = None
        self.session_id: int | None = None
        self.failure: BaseException | None = None
        """Why there is no session, after an attempt to join has failed."""
        self._failures = FailureLog(settings)
        self.joined_at: float | None = None
        """When the session was joined, seconds since the epoch."""
        self.lost = 0
        """How many sessions were lost."""
        self._declarations = declarations
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.started = False
        self._ready = False
        self._extending: Connection | None = None
        """The connection on which more is being registered than when it was joined."""
        self._timer: Timer
        self._reader: threading.Thread
        self._opening: Stream | None = None
        self.serving: Serving
        self._make_listeners = dict(listeners)
        self._listeners = Listeners(self, self._changed)

    # Life.

    def start(self) -> None:
        """Begin to connect, and return at once. Does nothing if it was called before."""
        with self._changed:
            if self.started:
                return
            self._timer = self._make_timer()
            self.serving = Serving(
                self.settings, self._declarations, self.pool, self._timer, self._tell
            )
            for key, make in self._make_listeners.items():
                self._listeners.add(key, make, None)
            self._begin()
            self.started = True

    def _make_pool(self) -> Pool:
        settings = self.settings
        return Pool(
            settings.workers or default_workers(),
            settings.max_pending,
            max_bytes=settings.max_waiting_bytes,
        )

    def _make_timer(self) -> Timer:
        return Timer()

    def _begin(self) -> None:
        """Start what joins and reads."""
        self._reader = spawn(self._run, "wamp-reader")
        Starvation(self.pool, self._timer, self._stopping).watch()

    def stop(self, drain: float, *, withdrawn: t.Callable[[], None] = lambda: None) -> None:
        """Leave: accept no more work, finish what has begun, say GOODBYE, end all threads.

        Never raises: a step that fails is logged, and the next one follows. Starts no thread of its own,
        because from Python 3.12 on none can be started at the end of the interpreter.

        :param drain: Seconds for calls and events that have come already.
        :param withdrawn: Called when nothing is registered any more.
        """
        self._stopping.set()
        deadline = monotonic() + drain
        connection, session_id = self.connection, self.session_id
        steps: tuple[t.Callable[[], object], ...] = (
            functools.partial(self._prepare_stop, connection, deadline),
            lambda: self._listeners.leave(deadline, next(iter(self._make_listeners), None)),
            functools.partial(self._withdraw_all, connection, deadline),
            withdrawn,
            lambda: self.pool.stop(max(0.0, deadline - monotonic())),
            functools.partial(self._leave, connection),
            self._end_threads,
        )
        for step in steps:
            try:
                step()
            except BaseException:
                report(logger.exception, "a step of the stop failed; the next one follows")
        if session_id is not None:
            tell = functools.partial(self._notify, "session_left", session_id=session_id)
            guarded(logger.exception, "a receiver of session_left failed", tell)

    def _prepare_stop(self, connection: Connection | None, deadline: float) -> None:
        with self._changed:
            self._changed.notify_all()
        if connection is not None:  # a router that does not read would block threads that send
            self._timer.call_at(deadline + LAST_WORDS, connection.close)

    def _withdraw_all(self, connection: Connection | None, deadline: float) -> None:
        if connection is not None:
            self.serving.withdraw_all(connection, deadline)

    def _leave(self, connection: Connection | None) -> None:
        if connection is None:
            return
        try:
            connection.ask(Session.leave)
        except NotJoined:
            return
        if self._reader is not threading.current_thread():
            self._reader.join(LAST_WORDS)  # until the router's GOODBYE, or not

    def _end_threads(self) -> None:
        if not self.started:
            return
        for open_ in (self.connection, self._opening):
            if open_ is not None:
                open_.close()
        if self._reader is not threading.current_thread():
            self._reader.join(self.settings.connect_timeout + 1.0)
        self._timer.stop()

    @property
    def is_alive(self) -> bool:
        """Whether the threads run without which no session is kept."""
        return self.started and self._reader.is_alive() and self._timer.is_alive

    def wait(self, timeout: float, *, ready: bool = False, refusable: bool = False) -> Connection:
        """Wait for a session, or with ``ready`` until everything is registered too.

        :param refusable: With ``ready``, do not wait any longer when the router has refused the login.
        :raises NotJoined: There is none in time; without ``ready`` as soon as an attempt has failed.
        """

        def decided() -> bool:
            if self._stopping.is_set():
                return True
            if ready:
                return self._is_complete or (refusable and is_login_refused(self.failure))
            return self.connection is not None or self.failure is not None

        if self.started and threading.current_thread() is self._reader:
            timeout = 0.0  # it is the one that joins: a log handler of the app's asks
        with self.pool.release_slot(), self._changed:
            self._changed.wait_for(decided, timeout)
            connection = self.connection
        if connection is None or (ready and not self._is_complete):
            raise NotJoined(self._why_not(), getattr(self.failure, "reason", None))
        return connection

    @property
    def _is_complete(self) -> bool:
        """Whether there is a session in which everything was asked for and answered."""
        return self._ready and self._extending is None

    def serve_more(self) -> None:
        """Serve what the declarations have in addition since the session was joined.

        Does not wait. Where there is no session, the next one serves everything anyway.
        """
        with self._changed:
            connection = self.connection
            if connection is None:  # it is set before the declarations are read, under this lock
                return
            self._extending = connection
        session = connection.session
        new = [d for d in self._declarations if d.asked is None or d.asked[0] is not session]
        try:
            self.serving.restore(connection, new, lambda: self._extended(connection), joining=False)
        except WAMPError as error:  # the session has ended: the next one serves everything
            logger.debug("not served in this session: %s", error)

    def _extended(self, connection: Connection) -> None:
        with self._changed:
            if self._extending is connection:
                self._extending = None
            self._changed.notify_all()
            if self.connection is connection:
                self._listeners.extended(connection)
        self._add_declared_listeners()

    def add_listener(self, key: object, make: MakeListener) -> None:
        """Have a listener follow the sessions of this process.

        :param key: There is one listener for each key.
        """
        with self._changed:
            if not self._stopping.is_set():
                self._listeners.add(key, make, self.connection if self._ready else None)

    def remove_listener(self, key: object, deadline: float) -> None:
        """Have a listener leave, by a ``time.monotonic()``."""
        self._listeners.remove(key, deadline)

    def listener(self, key: object) -> SessionListener | None:
        """Return the listener with that key; None before :meth:`start`."""
        return self._listeners.get(key)

    def _why_not(self) -> str:
        where = self._failures.where
        if self._stopping.is_set():
            return f"not joined to {where}: the client was stopped"
        if self.connection is not None:
            return f"joined {where}, but {self._unanswered()}"
        return f"not joined to {where}: {self.failure or 'still connecting'}"

    def _unanswered(self) -> str:
        uris = [d.uri for d in list(self._declarations) if d.id is None and d.refused is None]
        return f"the router has not registered {', '.join(uris[:5]) or 'everything'} yet"

    # The reader's thread.

    def _run(self) -> None:
        attempts = 0
        # A fork copies greenlets, unlike threads: in a child this one must not join again.
        while not self._stopping.is_set() and os.getpid() == self.pid:
            lasted = 0.0
            try:
                lasted = self._join_and_serve()
            except BaseException as error:  # a log handler's, for one: the next attempt follows
                report(logger.exception, "the reader failed; it joins again")
                self._note_failure(error)
            if lasted > self.settings.reconnect_max:
                attempts = 0  # else a router that throws us out at once would be hammered
            self._stopping.wait(delay(self.settings, attempts))
            attempts += 1

    def _join_and_serve(self) -> float:
        """Join and serve until the session is lost; return for how many seconds."""
        try:
            connection, joined = connect(
                self.settings, self.serving.on_events, self.pool, self._opened, self.make_connection
            )
        except Exception as error:
            self._note_failure(error)
            if not isinstance(error, WAMPError):
                logger.exception("cannot connect")
            if not self._stopping.is_set():
                self._failures.add(error)
            return 0.0
        since = monotonic()
        self._serve(connection, joined)
        return monotonic() - since

    def _opened(self, stream: Stream) -> None:
        """Note the stream, so that :meth:`stop` need not wait for a router that says nothing."""
        self._opening = stream
        if self._stopping.is_set():
            raise NotJoined("the client was stopped")

    def _note_failure(self, error: BaseException) -> None:
        """Wake the threads that wait for a session."""
        if not self._stopping.is_set():
            with self._changed:
                self.failure = error
                self._changed.notify_all()

    def _enter(self, connection: Connection, joined: Joined) -> list[Declaration] | None:
        """Note the session; return what to serve in it. None: the peer is stopping."""
        with self._changed:
            if self._stopping.is_set():  # stop() has looked for a session already and saw none
                connection.close()
                return None
            self.connection = connection
            self.session_id = joined.session_id
            self.joined_at = time.time()
            self.failure = None
            self._failures.clear()
            self._changed.notify_all()
            return list(self._declarations)

    def _serve(self, connection: Connection, joined: Joined) -> None:
        declarations = self._enter(connection, joined)
        if declarations is None:
            return
        reason: BaseException
        try:
            Heartbeat(connection, self._timer, self.settings.heartbeat).start()
            self.serving.restore(connection, declarations, lambda: self._is_ready(joined))
            reason = connection.run(self._read_all())
        except WAMPError as error:  # lost before everything was asked for
            reason = error
        except BaseException as error:  # whatever it is, the reader joins again
            report(logger.exception, "the reader failed")
            reason = error
        guarded(logger.exception, "cannot close the connection", connection.close)
        if os.getpid() == self.pid:
            self._lost(connection, joined, reason)

    def _read_all(self) -> ReadAll:
        return functools.partial(read_all, self.pool)

    def _is_ready(self, joined: Joined) -> None:
        logger.info(
            "joined realm %s at %s as session %s: %s",
            self.settings.realm,
            self.settings.router_url.shown,
            self.session_id,
            self.serving.summary,
        )
        with self._changed:
            self._ready = True
            self._changed.notify_all()
            if self.connection is not None:
                self._listeners.joined(self.connection)
        self._add_declared_listeners()
        self._tell("session_joined", session_id=joined.session_id, details=joined.details)

    def _add_declared_listeners(self) -> None:
        for declaration in list(self._declarations):
            if declaration.make_listener is not None:
                self.add_listener(declaration, declaration.make_listener)

    def _tell(self, name: str, **payload: object) -> None:
        """Send a signal from a worker: receivers may do what they like."""
        self.pool.submit(functools.partial(self._notify, name, **payload), force=True)

    def _lost(self, connection: Connection, joined: Joined, reason: BaseException) -> None:
        """Clean up after a session. Whatever fails here, the next attempt to join follows."""
        with self._changed:
            self.connection = self.session_id = self._extending = None
            self._ready = False
            self._changed.notify_all()
        self._listeners.lost()
        self._forget_ids()
        tickets = connection.abandon()
        for work in list(connection.invocations.values()):
            work.canceled = True
        for ticket in tickets:
            error = SessionLost(f"the session was lost before an answer came: {reason}")
            error.__cause__ = reason
            guarded(logger.exception, "cannot give up a request", ticket.fail, error)
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
        """How much is served in the present session, for people."""
        return self.serving.summary

    def call_at(self, deadline: float, function: t.Callable[[], None]) -> TimerHandle:
        """Call a short function at a ``time.monotonic()``, see :meth:`.timer.Timer.call_at`."""
        return self._timer.call_at(deadline, function)

    @property
    def waiting(self) -> int:
        """How many calls and events wait."""
        return self.pool.pending + (self.serving.waiting if self.started else 0)

    def _forget_ids(self) -> None:
        """Forget the ids of the session that has ended."""
        for declaration in list(self._declarations):
            declaration.id = declaration.refused = None

    # After a fork.

    def forget(self) -> None:
        """In a child: close the copy of the parent's socket, without a word to the router."""
        if self.connection is not None:
            self.connection.transport.forget()
