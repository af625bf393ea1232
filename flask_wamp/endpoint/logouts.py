"""The ended logins of one app that this process or the app's store knows."""

from __future__ import annotations

import hashlib
import inspect
import threading
import time
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.per_process import PerProcess
from ..protocol.identity import BrowserIdentity
from ..protocol.logins import EndedLogins, login_of, login_of_identity

#: Seconds before the store is asked again about a login. Logouts that other processes publish count at once.
FRESH: t.Final = 30.0

#: The number of logins for which the store's answer is kept. If there are more, all answers are forgotten.
MOST_FRESH: t.Final = 100_000


class Store(t.Protocol):
    """Remembers logouts for all processes: a cache, or an object of the app."""

    def get(self, key: str, /) -> t.Any:
        """Return the value of a key, or None."""

    def set(self, key: str, value: float, /) -> object:
        """Store a value without expiry. A parameter ``timeout``, if there is one, gets 0 for no expiry."""


class Logouts:
    """Knows which logins have ended. Safe to use in any thread.

    :param app_name: Distinguishes the app from others in the same store.
    :param store: Returns the store of the app. If it returns None, only this process remembers.
    """

    def __init__(self, app_name: str, store: t.Callable[[], Store | None]) -> None:
        self._app_name = app_name
        self._store = store
        self._known = EndedLogins(time.time)
        self._lock = PerProcess(lambda: threading.Lock())
        self._fresh: dict[tuple[str, str, float], float] = {}
        """The times until which the store need not be asked again about a login."""
        self._round = 0
        """How often :meth:`look_again` was called."""

    # Ending.

    def end_user(self, authid: str) -> float:
        """End all logins that a user has begun until now. Return the time, in seconds since 1970."""
        now = time.time()
        self.hear_user(authid, now)
        self._keep("user", authid, now)
        return now

    def end_browser(self, browser: str) -> str:
        """End the login of a browser session. Return the result of :func:`~.logins.login_of` for it."""
        login = login_of(browser)
        self.hear_login(login)
        self._keep("login", login, time.time())
        return login

    def hear_user(self, authid: str, at: float) -> None:
        """Note that the logins which a user began at or before a time have ended."""
        with self._lock():
            self._known.end_user(authid, at)

    def hear_login(self, login: str) -> None:
        """Note that a login has ended."""
        with self._lock():
            self._known.end_login(login)

    def _keep(self, kind: str, name: str, at: float) -> None:
        store = self._store()
        if store is None:
            return
        # Without a timeout, Flask-Caching forgets the value after five minutes.
        options = {"timeout": 0} if _takes_timeout(store.set) else {}
        store.set(self._key(kind, name), at, **options)

    # Checking.

    def has_ended(self, identity: BrowserIdentity) -> bool:
        """Return whether the login of an identity has ended. Ask the store."""
        login = login_of_identity(identity)
        return identity.ended or self._is_over(identity.authid, login, identity.since)

    def is_known(self, identity: BrowserIdentity) -> bool:
        """Return whether this process knows that a login has ended. Do not ask the store."""
        with self._lock():
            return self._known.has_ended(identity)

    def is_over(self, authid: str, login: str, since: float) -> bool:
        """Return whether the login of a session has ended. Ask the store at most every :data:`FRESH` seconds.

        :param login: The result of :func:`~.logins.login_of`. Empty if it is unknown.
        """
        key, now, asked_in = (authid, login, since), monotonic(), self._round
        if self._fresh.get(key, 0.0) > now:
            with self._lock():
                return self._known.is_over(*key)
        if self._is_over(*key):
            return True
        with self._lock():
            # Otherwise, the store's answer may be older than a logout that was missed.
            if asked_in == self._round:
                if len(self._fresh) >= MOST_FRESH:
                    self._fresh.clear()
                self._fresh[key] = now + FRESH
        return False

    def look_again(self) -> None:
        """Ask the store again about every login, because this process may have missed a logout."""
        with self._lock():
            self._round += 1
            self._fresh.clear()

    def _is_over(self, authid: str, login: str, since: float) -> bool:
        with self._lock():
            if self._known.is_over(authid, login, since):
                return True
        store = self._store()
        if store is None:
            return False
        if login and store.get(self._key("login", login)) is not None:
            return True
        ended = store.get(self._key("user", authid))
        return ended is not None and since <= float(ended)

    def _key(self, kind: str, name: str) -> str:
        text = "\0".join((self._app_name, kind, name))
        return f"flask_wamp.logout.{hashlib.sha256(text.encode()).hexdigest()[:40]}"


def _takes_timeout(function: t.Callable[..., object]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # functions in C may have no signature
        return False
    return any(p.name == "timeout" or p.kind is p.VAR_KEYWORD for p in parameters)
