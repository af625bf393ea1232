"""Publications that may wait for a session: ``g.wampy.with_options(best_effort=True).publish(...)``."""

from __future__ import annotations

import collections
import copy
import threading
import typing as t

from .._text import get_logger
from ..exceptions import NotJoined, WAMPError
from ..peer.connection import Connection
from ..peer.listeners import PeerInterface
from ..peer.peer import Peer
from ..peer.sending import payload
from ..peer.settings import PeerSettings
from ..protocol import messages as m
from ..protocol.options import CallOptions
from ..protocol.payload import plain
from ..protocol.session import Session
from .stream_buffer import size_of

logger = get_logger("flask_wamp")


class QueuedPublication(t.NamedTuple):
    """A publication that has not been sent yet."""

    topic: str
    args: t.Sequence[object]
    kwargs: dict[str, object]
    options: CallOptions
    size: int


class Publications:
    """The best-effort publications of one client. It creates no lock before it is first used.

    :param started: Returns the peer of this process, and starts it if necessary. Does not wait.
    """

    def __init__(self, settings: PeerSettings, started: t.Callable[[], Peer]) -> None:
        self._settings = settings
        self._started = started
        self._queue: PublicationQueue | None = None
        self.dropped = 0
        """How many events were dropped in this process."""

    @property
    def waiting(self) -> int:
        """How many events wait for a session in this process."""
        return len(self._queue) if self._queue is not None else 0

    def publish(
        self, topic: str, args: t.Sequence[object], kwargs: dict[str, object], options: CallOptions
    ) -> None:
        """Send an event, or keep it for the next session. This never waits for a session.

        :raises SerializationError: The payload cannot be sent.
        """
        default = self._settings.default
        # Copy the payload, because the view may change it before the session is joined.
        sent_args, sent_kwargs = copy.deepcopy((plain(args, default), plain(kwargs, default)))
        size = size_of(m.Event(0, 0, {}, sent_args, sent_kwargs))
        try:
            peer = self._started()
        except NotJoined as error:  # the client was stopped, or does not start automatically
            self._drop(1, str(error))
            return
        queue = self._queue
        if queue is None or queue.peer is not peer:
            peer.add_listener(Publications, self._make_queue)
            queue = self._queue
        if queue is None:  # the client is being stopped
            self._drop(1, "the client was stopped")
            return
        dropped = queue.put(QueuedPublication(topic, sent_args, sent_kwargs, options, size))
        if dropped:
            self._drop(dropped, "too many are waiting for a session (WAMP_EVENT_QUEUE)")

    def forget(self) -> None:
        """Forget the queue in the child after a fork. The parent sends the events."""
        self._queue, self.dropped = None, 0

    def _make_queue(self, peer: PeerInterface) -> PublicationQueue:
        self._queue = PublicationQueue(peer, self._drop, self._release)
        return self._queue

    def _release(self) -> None:
        self._queue = None

    def _drop(self, count: int, why: str) -> None:
        before, self.dropped = self.dropped, self.dropped + count
        # Log the counts 1, 2, 4, 8 and so on only, so that the log is not flooded.
        if before.bit_length() != self.dropped.bit_length():
            logger.warning("%d best-effort events dropped so far: %s", self.dropped, why)


class PublicationQueue:
    """The events that wait for a session, in order. It is a listener of the peer's sessions.

    :param drop: Called with the number of events that cannot be sent, and the reason.
    :param release: Called when the process leaves, because the queue takes no more events then.
    """

    def __init__(
        self,
        peer: PeerInterface,
        drop: t.Callable[[int, str], None],
        release: t.Callable[[], None],
    ) -> None:
        self.peer = peer
        self._drop = drop
        self._release = release
        self._max_items = peer.settings.event_queue
        self._max_bytes = 4 * peer.settings.max_message_size
        self._bytes = 0
        self._items: collections.deque[QueuedPublication] = collections.deque()
        self._connection: Connection | None = None
        self._lock = threading.Lock()  # held while items are sent, so that they keep their order

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: QueuedPublication) -> int:
        """Send an item, or keep it. Return how many of the oldest items were dropped to make room for it."""
        with self._lock:
            self._items.append(item)
            self._bytes += item.size
            unsendable = self._flush(Connection.ask)  # this waits while the router does not read
            dropped = 0
            while len(self._items) > self._max_items or self._bytes > self._max_bytes:
                self._bytes -= self._items.popleft().size
                dropped += 1
        self._drop_all(unsendable)
        return dropped

    def joined(self, connection: Connection) -> None:
        """Send the waiting items."""
        with self._lock:
            self._connection = connection
            unsendable = self._flush(Connection.put)
        self._drop_all(unsendable)

    def lost(self) -> None:
        """Keep new items for the next session."""
        with self._lock:
            self._connection = None

    def leave(self, deadline: float) -> None:
        """Drop the waiting items, because the process leaves without a session."""
        with self._lock:
            waiting, self._bytes = len(self._items), 0
            self._items.clear()
            self._connection = None
        self._release()
        if waiting:
            self._drop(waiting, "the client was stopped before it joined")

    def _flush(self, send: t.Callable[..., object]) -> list[str]:
        """Send all items. Return the reasons for those that cannot be sent. Requires the lock."""
        assert self._lock.locked()
        unsendable = []
        while self._items and self._connection is not None:
            item = self._items[0]
            try:
                self._send(send, self._connection, item)
            except NotJoined:
                self._connection = None  # they are sent in the next session
                break
            except WAMPError as error:  # the item is too large, or cannot be serialized
                unsendable.append(f"{item.topic}: {error}")
            self._items.popleft()
            self._bytes -= item.size
        return unsendable

    def _drop_all(self, unsendable: list[str]) -> None:
        """Count and log items that cannot be sent.

        Call this without the lock, because log handlers may publish.
        """
        for why in unsendable:
            self._drop(1, why)

    def _send(
        self, send: t.Callable[..., object], connection: Connection, item: QueuedPublication
    ) -> None:
        args, kwargs = payload(connection.transport, item.args, item.kwargs)
        wire = item.options.on_the_wire(connection.session.session_id)
        send(connection, Session.publish, item.topic, args, kwargs, wire)
