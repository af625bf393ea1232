"""Where streams of events come from: one subscription for all streams of a topic in a process."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import typing as t

from .._text import get_logger
from ..exceptions import ApplicationError, CallTimeout, NotJoined, TooSlow, WAMPError
from ..peer.connection import Connection
from ..peer.declarations import Subscription
from ..peer.invocations import ActiveEvent
from ..peer.listeners import Host
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from ..protocol.session import Session
from .event_stream import Arrived, Box, EventStream
from .result_stream import size_of

logger = get_logger("flask_wamp")

#: Seconds between two looks whether the server is about to end the process, while streams are open.
LOOK = 0.5


def _not_used(work: t.Any) -> bool:
    raise NotImplementedError("a feed takes its events itself")


class SharedSubscription(Subscription):
    """A topic that streams are open on: the target of its subscription.

    What it knows of the present session changes under the lock of its :class:`EventHub`.
    """

    def __init__(self, topic: str, match: str, too_slow: t.Callable[[Box], None]) -> None:
        super().__init__(topic, _not_used, options={} if match == "exact" else {"match": match})
        self.take = self._take
        self.boxes: tuple[Box, ...] = ()
        self.connection: Connection | None = None
        """Where it was asked for."""
        self.served = False
        """Whether there was a session that served it."""
        self.retained_for: tuple[Box, ...] = ()
        """Who gets the retained event that comes next; the reader's."""
        self._too_slow = too_slow

    def _take(self, message: m.Event) -> bool:
        """Put an event into all boxes; the reader calls it."""
        retained, boxes = message.details.get("retained"), self.boxes
        if retained:
            boxes = tuple(box for box in self.retained_for if box in boxes)
        if boxes and self.connection is not None:
            work = ActiveEvent(self.connection, self, message)
            arrived = Arrived(work, size_of(message))
            for box in boxes:
                if not box.put(arrived):
                    self._too_slow(box)
        return True


class _Ask:
    """The ticket of a SUBSCRIBE for a feed."""

    def __init__(
        self,
        feeds: EventHub,
        feed: SharedSubscription,
        connection: Connection,
        boxes: tuple[Box, ...],
    ):
        self._feeds = feeds
        self._feed = feed
        self._connection = connection
        self._boxes = boxes

    def resolve(self, answer: t.Any) -> None:
        """Take SUBSCRIBED or ERROR; the reader calls it."""
        if isinstance(answer, m.Error):
            self._feeds.refused(self._feed, remote_error(answer))
        else:
            self._feed.retained_for = self._boxes
            self._feeds.subscribed(self._feed, self._connection, answer.subscription_id)

    def fail(self, error: BaseException) -> None:
        """The session is lost; the next one is asked."""


class EventHub:
    """The streams of events of one process. Comes and goes with its sessions.

    :param make: Makes of an event in hand what streams hand out.
    """

    def __init__(self, peer: Host) -> None:
        self._peer = peer
        self._feeds: dict[tuple[str, str], SharedSubscription] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._watching = False

    @classmethod
    def of(cls, peer: Host) -> EventHub | None:
        """Return the hub of a process; None before its client has started."""
        return t.cast("EventHub | None", peer.listener(cls))

    @property
    def open_streams(self) -> dict[str, int]:
        """How many streams are open, by topic."""
        counts: dict[str, int] = {}
        for (topic, _), feed in list(self._feeds.items()):
            counts[topic] = counts.get(topic, 0) + len(feed.boxes)
        return counts

    def open(
        self,
        topic: str,
        match: str,
        *,
        get_retained: bool,
        keep_alive: float,
        timeout: float,
        make: t.Callable[[ActiveEvent], t.Any],
        ending: t.Callable[[], bool],
    ) -> EventStream:
        """Open a stream; where there is a session, wait until the topic is subscribed to.

        :param ending: Whether the server is about to end the process.
        :raises NotJoined: The client was stopped.
        :raises ApplicationError: The router refused the topic.
        :raises CallTimeout: It did not answer in time.
        """
        peer, settings = self._peer, self._peer.settings
        box = Box(topic, get_retained, settings.event_queue, 4 * settings.max_message_size)
        feed = self._add(topic, match, box)
        later = functools.partial(peer.call_at, 0.0)
        stream = EventStream(box, match, keep_alive, peer.pool, make, self.close, later)
        self._watch(ending)
        connection = peer.connection
        if connection is not None:
            self._ask(feed, connection, box)
            try:
                self._wait(feed, connection, box, timeout)
            except BaseException:
                stream.close()
                raise
        return stream

    def close(self, box: Box) -> None:
        """Take a box away; UNSUBSCRIBE where it was the last one. Does not wait."""
        with self._changed:
            for key, feed in self._feeds.items():
                if box in feed.boxes:
                    feed.boxes = tuple(each for each in feed.boxes if each is not box)
                    if not feed.boxes:
                        del self._feeds[key]
                    break
            else:
                return
        self._let_go(feed)

    def _add(self, topic: str, match: str, box: Box) -> SharedSubscription:
        with self._changed:
            if self._ended:
                raise NotJoined("the client was stopped; call wamp.start() to join again")
            feed = self._feeds.get((topic, match))
            if feed is None:
                feed = self._feeds[topic, match] = SharedSubscription(topic, match, self.close)
                taken = ApplicationError(error_uris.UNSUBSCRIBED, "the router took it away")
                feed.revoked = functools.partial(self.refused, feed, taken)
            feed.boxes = (*feed.boxes, box)
            return feed

    def _ask(
        self, feed: SharedSubscription, connection: Connection, box: Box | None = None
    ) -> None:
        """SUBSCRIBE, unless this connection was asked; again for a retained event."""
        with self._changed:
            was_asked = feed.connection is connection
            if was_asked and (box is None or not box.get_retained):
                return
            wanting = feed.boxes if box is None or not was_asked else (box,)
            boxes = tuple(each for each in wanting if each.get_retained)
            if not was_asked:
                feed.connection, feed.id = connection, None
        options = {**feed.options, "get_retained": True} if boxes else feed.options
        ticket = _Ask(self, feed, connection, boxes)
        try:
            connection.ask(Session.subscribe, feed.uri, options, feed, ticket)
        except NotJoined:
            pass  # the next session is asked
        except WAMPError as error:  # too long for a message
            self.refused(feed, error)

    def _wait(
        self, feed: SharedSubscription, connection: Connection, box: Box, timeout: float
    ) -> None:
        """Wait until the router has answered, or is gone."""

        def decided() -> bool:
            return (
                feed.id is not None
                or box.ended
                or feed.connection is not connection
                or connection.closed
            )

        with self._peer.pool.release_slot(), self._changed:
            if not self._changed.wait_for(decided, timeout):
                raise CallTimeout(feed.uri, timeout)
        if box.error is not None and not isinstance(box.error, TooSlow):
            raise box.error

    def _let_go(self, feed: SharedSubscription) -> None:
        with self._changed:
            connection, number = feed.connection, feed.id
            if feed.boxes or number is None or connection is None:
                return  # wanted, or not there yet: its answer comes here too
            feed.id = None
        with contextlib.suppress(NotJoined):
            connection.put(Session.drop_target, number, feed)

    # What the reader tells.

    def subscribed(self, feed: SharedSubscription, connection: Connection, number: int) -> None:
        """SUBSCRIBED came."""
        with self._changed:
            if feed.connection is not connection:
                return
            resumed = feed.served and feed.id is None
            feed.id, feed.served = number, True
            self._changed.notify_all()
        if resumed:
            for box in feed.boxes:
                box.resume()
        self._let_go(feed)

    def refused(self, feed: SharedSubscription, error: WAMPError) -> None:
        """ERROR came, the router has taken the subscription away, or it cannot be asked for."""
        with self._changed:
            if self._feeds.get((feed.uri, feed.match)) is feed:
                del self._feeds[feed.uri, feed.match]
            boxes, feed.boxes = feed.boxes, ()
            for box in boxes:
                box.end(error)
            self._changed.notify_all()

    # As an attendant of the peer's.

    def joined(self, connection: Connection) -> None:
        """There is a session: ask for all that streams are open on."""
        for feed in list(self._feeds.values()):
            self._ask(feed, connection)

    def lost(self) -> None:
        """There is none any more; the streams stay."""
        with self._changed:
            for feed in self._feeds.values():
                feed.connection = feed.id = None
            self._changed.notify_all()

    def leave(self, deadline: float) -> None:
        """End all streams, and open none any more. Does not wait."""
        with self._changed:
            self._ended = True
            feeds, self._feeds = list(self._feeds.values()), {}
            for feed in feeds:
                boxes, feed.boxes = feed.boxes, ()
                for box in boxes:
                    box.end()
            self._changed.notify_all()
        for feed in feeds:
            self._let_go(feed)

    # The server.

    def _watch(self, ending: t.Callable[[], bool]) -> None:
        """End with the server: it waits for its requests before the process may end."""
        with self._changed:
            if self._watching:
                return
            self._watching = True
        self._look(ending)

    def _look(self, ending: t.Callable[[], bool]) -> None:
        if ending():
            self.leave(0.0)
            return
        with self._changed:
            self._watching = bool(self._feeds)
            if not self._watching:
                return
        self._peer.call_at(time.monotonic() + LOOK, functools.partial(self._look, ending))
