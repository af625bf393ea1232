"""Logins: unused tickets, and logins that have ended.

Old cookies, tickets and connections do not join with a login that has ended.
"""

from __future__ import annotations

import collections
import hashlib
import secrets
import typing as t

from .identity import BrowserIdentity

#: The number of ended logins that are remembered. The oldest are forgotten first.
MOST_REMEMBERED: t.Final = 100_000

#: The number of tickets that may wait to be used. More than so many within half a minute are an attack.
MOST_TICKETS: t.Final = 100_000


#: What a client is told whose login has ended, and one whose ticket lets nobody in.
SIGNED_OUT: t.Final = "you have signed out"
NO_TICKET: t.Final = "the ticket is used, expired or unknown"


def login_of(browser: str) -> str:
    """Return what names a browser session to others: they cannot find out its id from it."""
    return hashlib.sha256(b"flask_wamp login\0" + browser.encode()).hexdigest()[:32]


def login_of_identity(identity: BrowserIdentity) -> str:
    """Return the :func:`login_of` an identity's browser session; empty if that is unknown."""
    return login_of(identity.browser) if identity.browser else ""


class EndedLogins:
    """The logins that are known to have ended.

    :param now: Returns the seconds since 1970, the clock of ``BrowserIdentity.since``.
    """

    def __init__(self, now: t.Callable[[], float]) -> None:
        self._now = now
        self._logins: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._users: collections.OrderedDict[str, float] = collections.OrderedDict()

    def end_user(self, authid: str, at: float | None = None) -> None:
        """End all logins that a user has begun by a time, by default so far."""
        self._users[authid] = max(
            self._now() if at is None else at, self._users.get(authid, float("-inf"))
        )
        self._users.move_to_end(authid)
        if len(self._users) > MOST_REMEMBERED:
            self._users.popitem(last=False)

    def end_browser(self, browser: str) -> None:
        """End the login of one browser session."""
        self.end_login(login_of(browser))

    def end_login(self, login: str) -> None:
        """Do the same, for who knows its :func:`login_of` only."""
        self._logins[login] = None
        if len(self._logins) > MOST_REMEMBERED:
            self._logins.popitem(last=False)

    def has_ended(self, identity: BrowserIdentity) -> bool:
        """Return whether the login of an identity has ended."""
        return self.is_over(identity.authid, login_of_identity(identity), identity.since)

    def is_over(self, authid: str, login: str, since: float) -> bool:
        """Do the same, for a login that is known by its :func:`login_of`; empty: by its user only."""
        return login in self._logins or since <= self._users.get(authid, -1.0)


class Tickets:
    """Tickets that were not used yet. Each lets a client join once.

    :param clock: Returns the seconds of a clock that only goes forward.
    """

    def __init__(self, clock: t.Callable[[], float]) -> None:
        self._clock = clock
        self._tickets: collections.OrderedDict[str, tuple[BrowserIdentity, float]] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, identity: BrowserIdentity, max_age: float) -> str:
        """Return a ticket for an identity, which is valid for so many seconds."""
        now = self._clock()
        while self._tickets:
            oldest, (_, expires) = next(iter(self._tickets.items()))
            if expires > now and len(self._tickets) < MOST_TICKETS:
                break
            del self._tickets[oldest]
        ticket = secrets.token_hex(24)
        self._tickets[ticket] = (identity, now + max_age)
        return ticket

    def take(self, ticket: str) -> BrowserIdentity | None:
        """Return who has got a ticket, and forget it. None if it is used, expired or unknown."""
        identity, expires = self._tickets.pop(ticket, (None, 0.0))
        return identity if expires >= self._clock() else None

    def drop(self, matches: t.Callable[[BrowserIdentity], bool]) -> None:
        """Forget the tickets of identities."""
        for ticket, (holder, _) in list(self._tickets.items()):
            if matches(holder):
                del self._tickets[ticket]
