"""What a session needs of what is around it: its realm and its router.

They know sessions, so sessions know them by these protocols only.
"""

from __future__ import annotations

import typing as t

from .authorization import Authorizer
from .settings import Settings
from .timers import Timers

#: Called with a session and a message of it.
Handler = t.Callable[[t.Any, t.Any], None]

#: Who handles a message, and whether it is a request of the client's own.
Handlers = t.Mapping[type, tuple[Handler, bool]]


class JoinableRealm(t.Protocol):
    """What a session needs of its realm."""

    @property
    def handlers(self) -> Handlers:
        """What is legal for an established session."""

    def join(self, session: t.Any) -> None:
        """Take a session in, just before it gets WELCOME."""

    def leave(self, session: t.Any, quietly: bool) -> None:
        """Dispose of all that a session has.

        :param quietly: Publish no meta events and no testaments.
        """


class Host(t.Protocol):
    """What a session needs of its router."""

    settings: Settings
    timers: Timers
    authorizer: Authorizer | None

    @property
    def establishing(self) -> Handlers:
        """What is legal before HELLO."""

    @property
    def authenticating(self) -> Handlers:
        """What is legal between HELLO and WELCOME."""

    def clock(self) -> float: ...

    def timestamp(self) -> str: ...

    def ended(self, session: t.Any) -> None:
        """Forget a session whose transport is closed."""

    def count(self, what: str) -> None: ...
