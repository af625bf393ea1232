"""A realm: its sessions, their registrations and their subscriptions.

Source: WAMP Basic Profile, "Realms"; WAMP Advanced Profile, "Session Meta API".
"""

from __future__ import annotations

import itertools
import typing as t

from ..protocol import messages as m
from . import testaments
from .broker import Broker
from .dealer import Dealer
from .interfaces import Handlers, RouterInterface
from .meta import MetaProcedures, session_details
from .session import RouterSession


class Realm:
    """A realm.

    :param emptied: Called with the realm when its last session has left.
    """

    def __init__(
        self,
        name: str,
        router: RouterInterface,
        new_global_id: t.Callable[[], int],
        random_below: t.Callable[[int], int],
        time_ns: t.Callable[[], int],
        emptied: t.Callable[[Realm], object],
    ) -> None:
        self.name = name
        self.sessions: dict[int, RouterSession] = {}
        self._emptied = emptied
        self._is_quiet = False
        self._new_global_id = new_global_id
        # Basic Profile, "Router Scope IDs": they "can be chosen freely by the specific router
        # implementation".
        ids = itertools.count(1)
        new_id: t.Callable[[], int] = ids.__next__
        self.broker = Broker(router, new_id, new_global_id, time_ns)
        self.dealer = Dealer(router, self._announce, new_id, random_below, self._release)
        MetaProcedures(router, self.sessions, self.dealer, self.broker)
        self.handlers: Handlers = {
            **self.dealer.handlers,
            **self.broker.handlers,
            m.Goodbye: (RouterSession.on_goodbye, False),
            m.Abort: (RouterSession.on_abort, False),
        }

    def join(self, session: RouterSession) -> None:
        """Add a session, right after its WELCOME."""
        self.sessions[session.id] = session
        self._announce("wamp.session.on_join", session_details(session))

    def leave(self, session: RouterSession, quietly: bool) -> None:
        """Remove everything that a session has, and publish its testaments.

        :param quietly: Publish no meta events and no testaments.
        """
        del self.sessions[session.id]
        was_quiet, self._is_quiet = self._is_quiet, self._is_quiet or quietly
        try:
            self.dealer.forget(session)
            self.broker.forget(session, quietly=self._is_quiet)
            for publication, retain in testaments.take(session):
                if not self._is_quiet:
                    new = publication._replace(id=self._new_global_id())
                    self.broker.publish(new, retain=retain)
            identity = session.identity
            self._announce("wamp.session.on_leave", session.id, identity.authid, identity.authrole)
        finally:
            self._is_quiet = was_quiet
        self._release()

    def _release(self) -> None:
        """Let the router forget the realm if it is empty."""
        if not self.sessions:
            self._emptied(self)

    @property
    def is_empty(self) -> bool:
        """Whether nothing would be lost if the router forgot the realm."""
        return not self.sessions and self.dealer.is_empty and self.broker.is_empty

    def _announce(self, topic: str, *args: object) -> None:
        if not self._is_quiet:
            self.broker.announce(topic, *args)
