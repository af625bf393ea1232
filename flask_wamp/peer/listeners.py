"""Listeners, which follow the sessions of a process, and the part of the peer that they use."""

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
        """The id of the process in which the peer was made."""

    @property
    def summary(self) -> str:
        """A text for logs: how much is served in the current session."""

    def call_at(self, deadline: float, function: t.Callable[[], None]) -> TimerHandle:
        """Call a short function at a ``time.monotonic()``, on the timer's thread. It must not wait."""

    def listener(self, key: object) -> SessionListener | None:
        """Return the listener with this key; None if there is none."""


class SessionListener(t.Protocol):
    """Follows the sessions of one process. Lives as long as the peer does.

    If it has a method ``extended``, that is called like :meth:`joined` when more has been registered in the
    current session. If ``has_to_leave`` is False, :meth:`leave` is not called at the end of the process,
    because each listener that leaves takes a worker.
    """

    def joined(self, connection: Connection) -> None:
        """Take note of a new session, with everything registered. Must not wait."""

    def lost(self) -> None:
        """Take note that the session has ended. Must not wait."""

    def leave(self, deadline: float) -> None:
        """Prepare for the end of the process.

        :param deadline: The ``time.monotonic()`` until which to return.
        """


MakeListener = t.Callable[[PeerInterface], SessionListener]
"""Called with the peer, in every process that starts one."""

#: How many listeners leave side by side.
AT_ONCE = 16

logger = get_logger("flask_wamp")


class Listeners:
    """The listeners of one peer, by key. A listener that raises does not keep the others from anything.

    :param makers: Makes those that every process has, in :meth:`make`.
    :param lock: The peer's. It is held while a listener is made and told of the session, so that the reader
        can't lose that session in between. Listeners take their own locks, and the connection's, under it.
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

    def make(self) -> None:
        """Make those that every process has. Requires the lock."""
        for key, make in self._makers.items():
            self.add(key, make, None)

    def add(self, key: object, make: MakeListener, joined: Connection | None) -> None:
        """Make a listener, once for a key; tell it of the present session. Requires the lock."""
        assert self._lock._is_owned()  # type: ignore[attr-defined]
        if key not in self._listeners:
            self._listeners[key] = listener = make(self._peer)
            if joined is not None:
                self._tell_joined(listener, joined)

    def get(self, key: object) -> SessionListener | None:
        """Return a listener by its key."""
        return self._listeners.get(key)

    def joined(self, connection: Connection) -> None:
        """Tell all of a new session. Requires the lock."""
        assert self._lock._is_owned()  # type: ignore[attr-defined]
        for listener in list(self._listeners.values()):
            self._tell_joined(listener, connection)

    def extended(self, connection: Connection) -> None:
        """Tell those that want to know it that more has been registered. Requires the lock."""
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
        """Tell all that the session has ended."""
        for listener in list(self._listeners.values()):
            try:
                listener.lost()
            except BaseException:
                report(logger.exception, "a listener failed")

    def remove(self, key: object, deadline: float) -> None:
        """Have one leave."""
        listener = self._listeners.get(key)
        if listener is None:
            return
        try:
            listener.leave(deadline)
        except BaseException:
            report(logger.exception, "cannot leave in order")
        self._listeners.pop(key, None)

    def leave(self, deadline: float) -> None:
        """Have all leave, side by side, because each may wait for other processes.

        Workers of the pool run them, and this thread waits until the deadline. From Python 3.12 on, no
        thread can be started at the end of the interpreter: where the pool has no workers for it, this thread
        has the listeners leave one after another.
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
        # One worker stays for the jobs that listeners wait for.
        wanted = min(len(keys), AT_ONCE) if len(keys) > 1 else 0
        helpers = min(wanted, pool.reserve(wanted + 1) - 1) if wanted else 0
        for _ in range(helpers):
            pool.submit(leave_some, force=True)
        if helpers < 1:
            leave_some()
        with left:
            left.wait_for(lambda: not done, max(0.0, deadline - monotonic()))
