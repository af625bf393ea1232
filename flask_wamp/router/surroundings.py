"""What a session needs from its realm and its router.

These import sessions, so sessions know them only by these protocols.
"""

from __future__ import annotations

import typing as t

from .authorization import Authorizer
from .settings import Settings
from .timers import Timers

#: Called with a session and a message of it.
Handler = t.Callable[[t.Any, t.Any], None]

#: The handler of a message, and whether the message is a request of the client's.
Handlers = t.Mapping[type, tuple[Handler, bool]]


class JoinableRealm(t.Protocol):
    """What a session needs from its realm."""

    @property
    def handlers(self) -> Handlers:
        """The messages that are legal in an established session."""

    def join(self, session: t.Any) -> None:
        """Add a session, just before it gets WELCOME."""

    def leave(self, session: t.Any, quietly: bool) -> None:
        """Remove everything that a session has.

        :param quietly: Publish no meta events and no testaments.
        """


class Host(t.Protocol):
    """What a session needs from its router."""

    settings: Settings
    timers: Timers
    authorizer: Authorizer | None

    @property
    def establishing(self) -> Handlers:
        """The messages that are legal before HELLO."""

    @property
    def authenticating(self) -> Handlers:
        """The messages that are legal between HELLO and WELCOME."""

    def clock(self) -> float: ...

    def timestamp(self) -> str: ...

    def ended(self, session: t.Any) -> None:
        """Forget a session whose transport is closed."""

    def count(self, what: str) -> None: ...
