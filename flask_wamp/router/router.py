"""The router: realms, and the sessions that join them."""

from __future__ import annotations

import datetime as dt
import os
import random
import typing as t

from ..protocol import error_uris
from .authentication import Authenticator, everybody
from .authorization import Authorizer
from .facts import TransportFacts
from .joining import JoinHandler
from .realm import Realm
from .session import RouterSession
from .settings import RouterSettings
from .timers import Timers


class Router:
    """A WAMP router without I/O, threads or a clock of its own.

    It is not thread-safe: its driver calls it from one thread, or under one lock.

    :param clock: Returns seconds of a monotonic clock, as ``time.monotonic`` does.
    :param wall_clock: Returns nanoseconds since 1970, as ``time.time_ns`` does.
    :param authenticator: Decides who may join. By default, all clients join as ``anonymous``.
    :param authorizer: Decides about requests. By default, all clients may do everything.
    :param nonce: Returns random bytes that cannot be guessed.
    :param seed: Makes ids and random choices reproducible.
    """

    def __init__(
        self,
        settings: RouterSettings | None = None,
        *,
        clock: t.Callable[[], float],
        wall_clock: t.Callable[[], int],
        authenticator: Authenticator = everybody,
        authorizer: Authorizer | None = None,
        nonce: t.Callable[[int], bytes] = os.urandom,
        seed: int | None = None,
    ) -> None:
        self.settings = settings or RouterSettings()
        self.clock = clock
        self.authorizer = authorizer
        self.timers = Timers()
        self.realms: dict[str, Realm] = {}
        self.sessions: set[RouterSession] = set()
        """All sessions whose transport is open, also those before WELCOME."""
        self.counters: dict[str, int] = {}
        """The number of ``violations``, ``cut_off``, ``refused``, ``undeliverable`` and ``failures``."""
        self._wall_clock = wall_clock
        self._random = random.Random(seed)
        joining = JoinHandler(self, authenticator, self.settings.agent, nonce)
        self.establishing, self.authenticating = joining.establishing, joining.authenticating
        for name in self.settings.realms or ():
            self._create(name)

    # What the driver calls.

    def open(
        self,
        facts: TransportFacts,
        *,
        send: t.Callable[[bytes], object],
        close: t.Callable[[bool], object],
    ) -> RouterSession:
        """Begin a session on a transport that has just been opened.

        :param facts: What the transport knows about the client.
        :param send: Accepts the bytes of one message. It must not block and must not call the router.
        :param close: Closes the transport: with ``True`` at once, with ``False`` when everything has been
            sent. It must not call the router before it has returned.
        """
        session = RouterSession(self, facts, send, close)
        self.sessions.add(session)
        return session

    @property
    def next_deadline(self) -> float | None:
        """The time on ``clock`` at which :meth:`tick` has to be called. None if it need not be called."""
        return self.timers.next_deadline

    def tick(self) -> None:
        """Handle the timeouts that are due, such as those of calls, HELLO and authentication."""
        self.timers.run_due(self.clock())

    def shut_down(self, message: str = "the router is shutting down") -> None:
        """Send GOODBYE to all sessions. Close each transport at the client's answer, or after a timeout."""
        for session in list(self.sessions):
            session.disconnect(error_uris.SYSTEM_SHUTDOWN, message, quietly=True)

    # What sessions call.

    def has_realm(self, name: str) -> bool:
        """Return whether a realm exists or may be created."""
        if name in self.realms:
            return True
        return self.settings.realms is None and len(self.realms) < self.settings.max_realms

    def find_realm(self, name: str) -> Realm | None:
        """Return a realm. None if it does not exist and must not be created."""
        return self.realms.get(name) or (self._create(name) if self.has_realm(name) else None)

    def ended(self, session: RouterSession) -> None:
        """Forget a session whose transport is closed."""
        self.sessions.discard(session)

    def count(self, what: str) -> None:
        """Count an incident. See :attr:`counters`."""
        self.counters[what] = self.counters.get(what, 0) + 1

    def timestamp(self) -> str:
        """Return the time in UTC, in ISO 8601."""
        time_ns = self._wall_clock()
        time = dt.datetime.fromtimestamp(time_ns // 10**9, dt.timezone.utc)
        return f"{time:%Y-%m-%dT%H:%M:%S}.{time_ns // 10**6 % 1000:03}Z"

    def new_session_id(self) -> int:
        """Return an id that no session of any realm has."""
        while True:
            session_id = self._new_global_id()
            if not any(session_id in realm.sessions for realm in self.realms.values()):
                return session_id

    # Helpers.

    def _new_global_id(self) -> int:
        """Return a random id.

        Basic Profile, "IDs": global scope ids "MUST be drawn randomly from a uniform distribution over the
        complete range [1, 2^53]".
        """
        return self._random.getrandbits(53) + 1

    def _create(self, name: str) -> Realm:
        realm = self.realms[name] = Realm(
            name,
            self,
            self._new_global_id,
            self._random.randrange,
            self._wall_clock,
            self._emptied,
        )
        return realm

    def _emptied(self, realm: Realm) -> None:
        if self.settings.realms is None and realm.is_empty:
            del self.realms[realm.name]
