"""The current session of a peer, and the threads that wait for one."""

from __future__ import annotations

import threading

from .._text import get_logger
from ..concurrency.pool import Pool
from ..exceptions import AuthenticationError, NotJoined
from ..protocol import error_uris
from .connection import Connection
from .declarations import Served
from .settings import PeerSettings

logger = get_logger("flask_wamp")

MAX_REASONS = 100
"""How many reasons of failed attempts are remembered, so that each is logged once."""


class PresentSession:
    """The current session, or the reason why there is none. :class:`.Peer` adds joining and serving.

    Locks: ``_changed`` guards the state for which :meth:`wait` waits. The locks of listeners, of the pool and
    of the connection may be taken while it is held, but not the reverse.

    :param served: Returns the declarations to serve. Called at every join.
    """

    def __init__(self, settings: PeerSettings, served: Served) -> None:
        self.settings = settings
        self.pool = self._make_pool()
        self.connection: Connection | None = None
        self.session_id: int | None = None
        self.failure: BaseException | None = None
        """Why there is no session, after an attempt to join has failed."""
        self.joined_at: float | None = None
        """When the session was joined, seconds since the epoch."""
        self._failures = FailureLog(settings)
        self._served = served
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._reader: threading.Thread | None = None
        """The thread that joins. None before the start."""
        self._ready = False
        """Whether the router has answered everything that was requested when the session was joined."""
        self._extending: Connection | None = None
        """The connection on which declarations are being registered that were added after the join."""

    def _make_pool(self) -> Pool:
        settings = self.settings
        return Pool(settings.workers, settings.max_pending, max_bytes=settings.max_waiting_bytes)

    def wait(self, timeout: float, *, ready: bool = False, refusable: bool = False) -> Connection:
        """Wait for a session.

        :param ready: Also wait until the router has answered all requests.
        :param refusable: With ``ready``, stop waiting if the router has refused the login.
        :raises NotJoined: There was no session in time, or, without ``ready``, an attempt to join has failed.
        """

        def decided() -> bool:
            if self._stopping.is_set():
                return True
            if ready:
                return self._is_complete or (refusable and is_login_refused(self.failure))
            return self.connection is not None or self.failure is not None

        if threading.current_thread() is self._reader:
            timeout = 0.0  # this is the thread that joins, and a log handler of the app has called
        with self.pool.release_slot(), self._changed:
            self._changed.wait_for(decided, timeout)
            connection = self.connection
        if connection is None or (ready and not self._is_complete):
            raise NotJoined(self._why_not(), getattr(self.failure, "reason", None))
        return connection

    def entered_connection(self) -> Connection | None:
        """Return the connection of the session, or None if there is no session.

        Waits while a session is being entered. So everything that was declared or withdrawn before this call
        is part of a session that is entered after it.
        """
        with self._changed:
            return self.connection

    @property
    def _is_complete(self) -> bool:
        """Whether there is a session in which the router has answered all requests."""
        return self._ready and self._extending is None

    def _why_not(self) -> str:
        where = self._failures.where
        if self._stopping.is_set():
            return f"not joined to {where}: the client was stopped"
        if self.connection is not None:
            return f"joined {where}, but {self._unanswered()}"
        return f"not joined to {where}: {self.failure or 'still connecting'}"

    def _unanswered(self) -> str:
        uris = [d.uri for d in self._served() if d.id is None and d.refused is None]
        return f"the router has not registered {', '.join(uris[:5]) or 'everything'} yet"

    def _note_failure(self, error: BaseException) -> None:
        """Wake the threads that wait for a session."""
        if not self._stopping.is_set():
            with self._changed:
                self.failure = error
                self._changed.notify_all()


class FailureLog:
    """Logs why attempts to join have failed. Each reason is logged once, until a session is joined."""

    def __init__(self, settings: PeerSettings) -> None:
        self._settings = settings
        self._reasons: set[str] = set()

    @property
    def where(self) -> str:
        """The realm and the router, for errors."""
        return f"realm {self._settings.realm} at {self._settings.router_url.shown}"

    def add(self, error: Exception) -> None:
        """Log why an attempt has failed."""
        reason = str(error)
        if reason in self._reasons:
            return
        if len(self._reasons) >= MAX_REASONS:  # a router may have a new one each time
            self._reasons.clear()
        self._reasons.add(reason)
        logger.warning(
            "not joined to realm %s at %s, trying again: %s",
            self._settings.realm,
            self._settings.router_url.shown,
            error,
        )

    def clear(self) -> None:
        """Forget the reasons, because a session was joined."""
        self._reasons.clear()


def is_login_refused(failure: BaseException | None) -> bool:
    """Return whether the router refused the credentials, so that another attempt is unlikely to help soon."""
    return isinstance(failure, AuthenticationError) or (
        isinstance(failure, NotJoined) and failure.reason in error_uris.LOGIN_REFUSED
    )
