"""The logins of one app that have ended, as far as this process knows."""

from __future__ import annotations

import os
import threading
import time

from ..protocol.identity import BrowserIdentity
from ..protocol.logins import EndedLogins, login_of


class Logouts:
    """Knows which logins have ended. Safe to use in any thread."""

    def __init__(self) -> None:
        self._known = EndedLogins(time.time)
        self._locks: dict[int, threading.Lock] = {}

    def end_user(self, authid: str, at: float | None = None) -> None:
        """End all logins that a user has begun by a time, in seconds since 1970; by default by now."""
        with self._lock:
            self._known.end_user(authid, at)

    def end_login(self, login: str) -> None:
        """End a login, by its :func:`~.logins.login_of`."""
        with self._lock:
            self._known.end_login(login)

    def has_ended(self, identity: BrowserIdentity) -> bool:
        """Return whether the login of an identity has ended."""
        login = login_of(identity.browser) if identity.browser else ""
        return self.is_over(identity.authid, login, identity.since)

    def is_over(self, authid: str, login: str, since: float) -> bool:
        """Do the same, for a login that is known by its :func:`~.logins.login_of`; empty: unknown."""
        with self._lock:
            return self._known.is_over(authid, login, since)

    @property
    def _lock(self) -> threading.Lock:
        # Made at first use, after a server may have patched the module; one wins, without a lock.
        return self._locks.setdefault(os.getpid(), threading.Lock())
