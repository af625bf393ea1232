"""The heartbeat, which closes a connection if the router is silent for too long."""

from __future__ import annotations

from ..concurrency.clock import monotonic
from ..concurrency.timer_thread import TimerThread
from ..exceptions import NotJoined, SessionLost
from ..protocol.session import Session
from .connection import Connection


def watch(connection: Connection, timer: TimerThread, limit: float) -> None:
    """Watch a connection until it is closed, on the timer's thread.

    It is checked four times per ``limit``. If the router has sent nothing for about half of the limit, it is
    pinged. It then has a quarter of the limit to answer. So a router that has died, or that does not read, is
    noticed within the limit.

    :param limit: ``WAMP_HEARTBEAT``, seconds.
    """
    _Heartbeat(connection, timer, limit).start()


class _Heartbeat:
    """The checks of one connection."""

    def __init__(self, connection: Connection, timer: TimerThread, limit: float) -> None:
        self._connection = connection
        self._timer = timer
        self._limit = limit
        self._asked_at = 0.0

    def start(self) -> None:
        """Check again after a quarter of the limit."""
        self._check_after(self._limit / 4)

    def _check_after(self, delay: float) -> None:
        self._timer.call_at(monotonic() + delay, self._look)

    def _look(self) -> None:
        connection, now = self._connection, monotonic()
        if connection.closed:
            return
        stuck_since = connection.transport.stuck_since
        if stuck_since is not None:
            # A ping would have to wait until the bytes before it are sent. While the system accepts some of
            # them, the router reads. If it accepts none, the router does not read, even if it still sends.
            left = stuck_since + self._limit * 0.7 - now
            if left <= 0:
                connection.close(SessionLost("the router has stopped reading (WAMP_HEARTBEAT)"))
                return
            self._asked_at = 0.0
            self._check_after(min(left, self._limit / 4))
            return
        if self._asked_at > connection.last_received:
            if now - self._asked_at >= self._limit * 0.2:
                connection.close(SessionLost("the router was silent for too long (WAMP_HEARTBEAT)"))
                return
        elif now - connection.last_received >= self._limit * 0.45:
            self._asked_at = now
            try:
                self._ask_for_life()
            except NotJoined:
                return
        self.start()

    def _ask_for_life(self) -> None:
        if self._connection.transport.has_ping:
            self._connection.ping()
        else:  # any answer will do, even an error
            self._connection.put(Session.call, "wamp.session.count", (), {}, {}, None)
