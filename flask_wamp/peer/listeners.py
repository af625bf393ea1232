"""Listeners, which are notified of the sessions of a process, and the part of the peer that they use."""

from __future__ import annotations

import collections
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.guards import guarded, report

if t.TYPE_CHECKING:
    from ..concurrency.pool import Pool
    from ..concurrency.timer_thread import TimerHandle
    from .connection import Connection
    from .settings import PeerSettings


class PeerInterface(t.Protocol):
    """The part of the peer that a listener uses."""

    @property
    def settings(self) -> PeerSettings:
        """The settings of the peer."""

    @property
    def pool(self) -> Pool:
        """The workers of this process."""

    @property
    def connection(self) -> Connection | None:
        """The session's connection. None while there is no session."""

    @property
    def session_id(self) -> int | None:
        """The session's id. None while there is no session."""

    @property
    def pid(self) -> int:
        """The id of the process in which the peer was created."""

    @property
    def summary(self) -> str:
        """A text for logs that says how much is served in the current session."""

    def call_at(self, deadline: float, function: t.Callable[[], None]) -> TimerHandle:
        """Call a short function on the timer's thread, at a ``time.monotonic()``. It must not wait."""

    def listener(self, key: object) -> SessionListener | None:
        """Return the listener with this key. None if there is none."""

    def ensure_listener(self, key: object, make: MakeListener) -> SessionListener:
        """Return the listener with this key. Create it if there is none, even while the peer is stopping."""


class SessionListener(t.Protocol):
    """Is notified of the sessions of one process. It exists as long as the peer.

    If it has a method ``extended``, this is called like :meth:`joined` when more has been registered in the
    current session. If it has the attribute ``has_to_leave = False``, :meth:`leave` is not called at the end
    of the process. This saves a worker, because each listener leaves on its own worker.
    """

    def joined(self, connection: Connection) -> None:
        """Handle a new session, in which the router has answered all requests. Must not wait."""

    def lost(self) -> None:
        """Handle the end of the session. Must not wait."""

    def leave(self, deadline: float) -> None:
        """Prepare for the end of the process.

        :param deadline: The ``time.monotonic()`` at which it must have returned.
        """


MakeListener = t.Callable[[PeerInterface], SessionListener]
"""Called with the peer, in every process that starts one."""

#: How many listeners leave at the same time.
AT_ONCE = 16

logger = get_logger("flask_wamp")


class Listeners:
    """The listeners of one peer, by key. If a listener raises an exception, the others are still called.

    :param lock: The peer's lock. It is held while a listener is created and notified of the session, so that
        the session cannot be lost meanwhile. Listeners may take their own locks, and the connection's, under
        it.
    :param makers: Create the listeners of every process, by key, before the first session.
    """

    def __init__(
        self,
        peer: PeerInterface,
        lock: threading.Condition,
        makers: t.Mapping[object, MakeListener],
    ) -> None:
        self._peer = peer
        self._lock = lock
        self._makers = makers
        self._listeners: dict[object, SessionListener] = {}

    def add(self, key: object, make: MakeListener, joined: Connection | None) -> SessionListener:
        """Create a listener, unless there is one with the key, and notify it of the current session.

        Requires the lock. Returns the listener with this key.
        """
        assert self._lock._is_owned()  # type: ignore[attr-defined]
        listener = self._listeners.get(key)
        if listener is None:
            self._listeners[key] = listener = make(self._peer)
            if joined is not None:
                self._tell_joined(listener, joined)
        return listener

    def get(self, key: object) -> SessionListener | None:
        """Return the listener with this key. None if there is none."""
        return self._listeners.get(key)

    def joined(self, connection: Connection) -> None:
        """Notify all listeners of a new session. Requires the lock."""
        assert self._lock._is_owned()  # type: ignore[attr-defined]
        for key, make in self._makers.items():
            self.add(key, make, None)
        for listener in list(self._listeners.values()):
            self._tell_joined(listener, connection)

    def extended(self, connection: Connection) -> None:
        """Notify the listeners with ``extended`` that more has been registered. Requires the lock."""
        assert self._lock._is_owned()  # type: ignore[attr-defined]
        for listener in list(self._listeners.values()):
            extended = getattr(listener, "extended", None)
            if extended is not None:
                guarded(logger.exception, "a listener failed", extended, connection)

    def _tell_joined(self, listener: SessionListener, connection: Connection) -> None:
        try:
            listener.joined(connection)
        except BaseException:
            report(logger.exception, "a listener failed")

    def lost(self) -> None:
        """Notify all listeners that the session has ended."""
        for listener in list(self._listeners.values()):
            try:
                listener.lost()
            except BaseException:
                report(logger.exception, "a listener failed")

    def remove(self, key: object, deadline: float) -> None:
        """Let a listener leave, and remove it."""
        listener = self._listeners.get(key)
        if listener is None:
            return
        try:
            listener.leave(deadline)
        except BaseException:
            report(logger.exception, "a listener failed to leave")
        self._listeners.pop(key, None)

    def leave(self, deadline: float) -> None:
        """Let all listeners leave, at the same time, because each may wait for other processes.

        They leave on workers of the pool, and this thread waits until the deadline. From Python 3.12 on, no
        thread can be started while the interpreter ends. If the pool then has no workers, the listeners leave
        one after another on this thread.
        """
        keys = collections.deque(
            key for key, each in self._listeners.items() if getattr(each, "has_to_leave", True)
        )
        left, done = threading.Condition(), len(keys)

        def leave_some() -> None:
            nonlocal done
            while True:
                try:
                    key = keys.popleft()
                except IndexError:
                    return
                self.remove(key, deadline)
                with left:
                    done -= 1
                    left.notify_all()

        pool = self._peer.pool
        # One worker stays free for the jobs that listeners wait for.
        wanted = min(len(keys), AT_ONCE)
        helpers = min(wanted, pool.reserve(wanted + 1) - 1) if wanted else 0
        for _ in range(helpers):
            pool.submit(leave_some, force=True)
        if helpers < 1:
            leave_some()
        with left:
            left.wait_for(lambda: not done, max(0.0, deadline - monotonic()))
