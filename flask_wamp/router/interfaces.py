"""Protocols of the realm and the router, for modules that these two import.

The realm and the router import the session, so the session cannot import them.
"""

from __future__ import annotations

import typing as t

from .authorization import Authorizer
from .settings import RouterSettings
from .timers import Timers

#: Called with a session and a message from its client.
Handler = t.Callable[[t.Any, t.Any], None]

#: The handler of a message, and whether the message is a request.
Handlers = t.Mapping[type, tuple[Handler, bool]]


class RealmInterface(t.Protocol):
    """The part of the realm that a session uses."""

    @property
    def handlers(self) -> Handlers:
        """The messages that are legal in an established session."""

    def join(self, session: t.Any) -> None:
        """Add a session, just after it was sent WELCOME."""

    def leave(self, session: t.Any, quietly: bool) -> None:
        """Remove everything that a session has.

        :param quietly: Publish no meta events and no testaments.
        """


class RouterInterface(t.Protocol):
    """The part of the router that a session and its realm use."""

    settings: RouterSettings
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
