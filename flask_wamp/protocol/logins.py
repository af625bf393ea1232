"""Unused tickets, and logins that have ended.

Clients cannot join with the cookies, tickets or connections of an ended login.
"""

from __future__ import annotations

import collections
import hashlib
import secrets
import typing as t

from .identity import BrowserIdentity

#: The number of ended logins that are remembered. The oldest are forgotten first.
MOST_REMEMBERED: t.Final = 100_000

#: The number of unused tickets that are kept. More can only be an attack. The oldest are removed first.
MOST_TICKETS: t.Final = 100_000


#: The longest validity of a ticket, in seconds.
MAX_TICKET_AGE: t.Final = 3600.0

#: Error messages for a client whose login has ended, and for a client whose ticket is not valid.
SIGNED_OUT: t.Final = "you have signed out"
NO_TICKET: t.Final = "the ticket is used, expired or unknown"


def login_of(browser: str) -> str:
    """Return a name for a browser session that others may know. It does not reveal the session's id."""
    return hashlib.sha256(b"flask_wamp login\0" + browser.encode()).hexdigest()[:32]


def login_of_identity(identity: BrowserIdentity) -> str:
    """Return :func:`login_of` for the browser session of an identity, or ``""`` if it is unknown."""
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
        """End all logins that a user began at or before a time. The default is now."""
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
        """End the login of a browser session. ``login`` is the result of :func:`login_of` for it."""
        self._logins[login] = None
        if len(self._logins) > MOST_REMEMBERED:
            self._logins.popitem(last=False)

    def has_ended(self, identity: BrowserIdentity) -> bool:
        """Return whether the login of an identity has ended."""
        return self.is_over(identity.authid, login_of_identity(identity), identity.since)

    def is_over(self, authid: str, login: str, since: float) -> bool:
        """Return whether a login has ended.

        :param login: The result of :func:`login_of`. If it is empty, only logouts of the user count.
        """
        return login in self._logins or since <= self._users.get(authid, -1.0)


class Tickets:
    """Unused tickets. Each lets a client join once.

    :param clock: Returns the seconds of a monotonic clock.
    """

    def __init__(self, clock: t.Callable[[], float]) -> None:
        self._clock = clock
        self._tickets: collections.OrderedDict[str, tuple[BrowserIdentity, float]] = (
            collections.OrderedDict()
        )

    def __len__(self) -> int:
        return len(self._tickets)

    def add(self, identity: BrowserIdentity, max_age: float) -> str:
        """Create a ticket for an identity. It is valid for ``max_age`` seconds."""
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
        """Remove a ticket and return its identity. None if it is used, expired or unknown."""
        identity, expires = self._tickets.pop(ticket, (None, 0.0))
        return identity if expires >= self._clock() else None

    def drop(self, matches: t.Callable[[BrowserIdentity], bool]) -> None:
        """Remove the tickets of matching identities."""
        for ticket, (holder, _) in list(self._tickets.items()):
            if matches(holder):
                del self._tickets[ticket]
