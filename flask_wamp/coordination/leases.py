"""The leases of one process, see :mod:`.lease`."""

from __future__ import annotations

import contextlib
import random
import threading
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.timer_thread import TimerHandle
from ..exceptions import NotJoined
from ..peer.connection import Connection
from ..peer.declarations import Subscription
from ..peer.listeners import PeerInterface
from ..protocol import messages as m
from ..protocol.session import Session
from .lease import PAUSE_MAX, PAUSE_MIN, CallbackTicket, Lease, nothing, unused

#: The meta event for a session that has lost a registration. ``on_delete`` does not work with Crossbar 26.10:
#: when a session ends, it publishes ``on_delete`` either for all of its registrations or for none, depending
#: on whether the last one has other callees (``Dealer.detach`` calls ``_publish`` after its loop).
ON_UNREGISTER = "wamp.registration.on_unregister"


class Leases:
    """The leases of one process, and its subscription to :data:`ON_UNREGISTER`."""

    has_to_leave = False

    def __init__(self, peer: PeerInterface) -> None:
        self._peer = peer
        self._leases: list[Lease] = []
        self._connection: Connection | None = None
        self._watched: Connection | None = None
        self._lock = threading.Lock()
        self._alarm: TimerHandle | None = None

    @classmethod
    def of(cls, peer: PeerInterface) -> Leases:
        """Return the leases of a peer that has started. They follow its sessions from the first use on."""
        return t.cast(Leases, peer.ensure_listener(cls, cls))

    def add(self, uri: str, **callbacks: t.Any) -> Lease:
        """Create a lease and ask for it. The arguments are those of :class:`Lease`."""
        lease = Lease(self._peer, uri, retry_later=self.retry_later, **callbacks)
        self._leases.append(lease)
        if self._connection is not None:
            self._joined(lease, self._connection)
        return lease

    def remove(self, lease: Lease) -> None:
        """Remove a lease that was released."""
        self._leases.remove(lease)

    def retry_later(self) -> None:
        """Ask for all leases that are not held after a random pause, which differs between processes."""
        with self._lock:
            if self._alarm is None:
                at = monotonic() + random.uniform(PAUSE_MIN, PAUSE_MAX)
                self._alarm = self._peer.call_at(at, self._ask_all)

    def _ask_all(self) -> None:
        with self._lock:
            self._alarm = None
        for lease in list(self._leases):
            lease.ask()

    def joined(self, connection: Connection) -> None:
        """Ask for all leases in a new session."""
        self._connection = connection
        for lease in list(self._leases):
            self._joined(lease, connection)

    def lost(self) -> None:
        """Lose all leases, because the session has ended."""
        self._connection = None
        for lease in list(self._leases):
            lease.lost()

    def leave(self, deadline: float) -> None:
        """Do nothing. The code that has added a lease must release it."""

    def _joined(self, lease: Lease, connection: Connection) -> None:
        if self._watched is not connection:
            self._watched = connection
            self._watch(connection)
        lease.joined(connection)

    def _watch(self, connection: Connection) -> None:
        """Subscribe to :data:`ON_UNREGISTER` if the router has it. Otherwise, retry_later() is enough."""
        if connection.session.features.has_registration_meta_api:
            topic = Subscription(ON_UNREGISTER, unused)
            topic.take = self._deleted
            with contextlib.suppress(NotJoined):
                connection.put(Session.subscribe, ON_UNREGISTER, {}, topic, CallbackTicket(nothing))

    def _deleted(self, event: m.Event) -> bool:
        if len(event.readable_args) > 1:
            for lease in list(self._leases):
                lease.deleted(event.readable_args[1])
        return True
