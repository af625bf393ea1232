"""Logins that have ended: old cookies, tickets and connections do not join with them again."""

from __future__ import annotations

import collections
import typing as t

from ..protocol.identity import BrowserIdentity

#: The number of ended logins that are remembered. The oldest are forgotten first.
MOST_REMEMBERED: t.Final = 100_000


class EndedLogins:
    """The logins that have ended since this router started.

    :param now: Returns the seconds since 1970, the clock of ``BrowserIdentity.since``.
    """

    def __init__(self, now: t.Callable[[], float]) -> None:
        self._now = now
        self._browsers: collections.OrderedDict[str, None] = collections.OrderedDict()
        self._users: collections.OrderedDict[str, float] = collections.OrderedDict()

    def end_user(self, authid: str) -> None:
        """End all logins that a user has begun so far."""
        self._users[authid] = self._now()
        self._users.move_to_end(authid)
        if len(self._users) > MOST_REMEMBERED:
            self._users.popitem(last=False)

    def end_browser(self, browser: str) -> None:
        """End the login of one browser session."""
        self._browsers[browser] = None
        if len(self._browsers) > MOST_REMEMBERED:
            self._browsers.popitem(last=False)

    def has_ended(self, identity: BrowserIdentity) -> bool:
        """Return whether the login of an identity has ended."""
        return identity.browser in self._browsers or identity.since <= self._users.get(
            identity.authid, -1.0
        )
