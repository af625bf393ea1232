"""The source of event streams. All streams of a topic in a process share one subscription."""

from __future__ import annotations

import contextlib
import functools
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..exceptions import ApplicationError, CallTimeout, NotJoined, TooSlow, WAMPError
from ..peer.connection import Connection
from ..peer.declarations import Subscription
from ..peer.invocations import ActiveEvent
from ..peer.listeners import PeerInterface
from ..peer.missing import log_missing
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from ..protocol.session import Session
from .event_stream import EventBuffer, EventStream, MakeItem, SharedEvent
from .stream_buffer import size_of

logger = get_logger("flask_wamp")

CHECK_INTERVAL = 0.5
"""Seconds between two checks, while streams are open, whether the server is about to end the process."""


def _no_handler(active: object) -> bool:
    raise NotImplementedError("a shared subscription has no handler")


class SharedSubscription(Subscription):
    """The subscription to a topic that has open streams.

    The lock of its :class:`EventHub` guards its attributes.

    :param close: Called with a buffer that was too full for an event.
    """

    def __init__(self, topic: str, match: str, close: t.Callable[[EventBuffer], None]) -> None:
        options = {} if match == "exact" else {"match": match}
        super().__init__(topic, _no_handler, options=options)
        self.take = self._take
        self.buffers: tuple[EventBuffer, ...] = ()
        self.connection: Connection | None = None
        """The connection on which SUBSCRIBE was sent."""
        self.asking = False
        """Whether the router has not answered SUBSCRIBE yet. It is not sent again before the answer."""
        self.late: tuple[EventBuffer, ...] = ()
        """The buffers that were added since SUBSCRIBE was sent, and that want the retained event."""
        self.served = False
        """Whether the router has ever acknowledged it."""
        self.retained_for: tuple[EventBuffer, ...] = ()
        """The buffers that get the next retained event. Only the reader uses it."""
        self._close = close

    @property
    def key(self) -> tuple[str, str]:
        """The topic and how it matches. There is one subscription for each key."""
        return self.uri, self.match

    def _take(self, message: m.Event) -> bool:
        """Put an event into all buffers. The reader calls this."""
        buffers, connection = self.buffers, self.connection
        if message.details.get("retained"):
            buffers = tuple(buffer for buffer in self.retained_for if buffer in buffers)
        if buffers and connection is not None:
            shared, size = SharedEvent(ActiveEvent(connection, self, message)), size_of(message)
            for buffer in buffers:
                if not buffer.put(shared, size):
                    self._close(buffer)
        return True


class _Subscribe:
    """The ticket of SUBSCRIBE.

    :param buffers: The buffers that get the retained event.
    """

    def __init__(
        self,
        hub: EventHub,
        subscription: SharedSubscription,
        connection: Connection,
        buffers: tuple[EventBuffer, ...],
    ):
        self._hub = hub
        self._subscription = subscription
        self._connection = connection
        self._buffers = buffers

    def resolve(self, answer: m.Subscribed | m.Error) -> None:
        """Handle SUBSCRIBED or ERROR. The reader calls this."""
        if isinstance(answer, m.Error):
            self._hub.refused(self._subscription, remote_error(answer))
        else:
            self._subscription.retained_for = self._buffers
            self._hub.subscribed(self._subscription, self._connection, answer.subscription_id)

    def fail(self, error: BaseException) -> None:
        """Do nothing. The session was lost, and SUBSCRIBE is sent again in the next one."""


class EventHub:
    """The event streams of one process. It is a listener of the peer's sessions."""

    def __init__(self, peer: PeerInterface) -> None:
        self._peer = peer
        self._subscriptions: dict[tuple[str, str], SharedSubscription] = {}
        self._changed = threading.Condition()
        self._ended = False
        self._watching = False
        self._logged_missing: set[str] = set()
        """The missing features of the router that were logged in this process."""

    @classmethod
    def of(cls, peer: PeerInterface) -> EventHub | None:
        """Return the hub of a process. None before its first stream is opened, and when its client stops."""
        return t.cast("EventHub | None", peer.listener(cls))

    @property
    def open_streams(self) -> dict[str, int]:
        """The number of open streams by topic."""
        counts: dict[str, int] = {}
        for (topic, _), subscription in list(self._subscriptions.items()):
            if subscription.buffers:
                counts[topic] = counts.get(topic, 0) + len(subscription.buffers)
        return counts

    def open(
        self,
        topic: str,
        match: str,
        *,
        get_retained: bool,
        keep_alive: float,
        max_age: float | None,
        timeout: float,
        make: MakeItem,
        ending: t.Callable[[], bool],
    ) -> EventStream:
        """Open a stream. If there is a session, wait until the router has answered SUBSCRIBE.

        :param timeout: Seconds to wait.
        :param make: Makes the event that the stream yields.
        :param ending: Returns whether the server is about to end the process.
        :raises NotJoined: The client was stopped.
        :raises ApplicationError: The router refused the subscription.
        :raises CallTimeout: The router did not answer in time.
        """
        peer, settings = self._peer, self._peer.settings
        size = 4 * settings.max_message_size
        buffer = EventBuffer(topic, get_retained, settings.event_queue, size)
        subscription = self._add(topic, match, buffer)
        call_soon = functools.partial(peer.call_at, 0.0)
        stream = EventStream(
            buffer, match, keep_alive, max_age, peer.pool, make, self.close, call_soon
        )
        self._watch(ending)
        connection = peer.connection
        if connection is not None:
            self._ask(subscription, connection, buffer)
            try:
                self._wait(subscription, connection, buffer, timeout)
            except BaseException:
                stream.close()
                raise
        return stream

    def close(self, buffer: EventBuffer) -> None:
        """Remove a buffer. If it is the last one of its topic, send UNSUBSCRIBE. Does not wait."""
        with self._changed:
            for subscription in self._subscriptions.values():
                if buffer in subscription.buffers:
                    rest = tuple(other for other in subscription.buffers if other is not buffer)
                    subscription.buffers = rest
                    break
            else:
                return
        self._release(subscription)

    def _add(self, topic: str, match: str, buffer: EventBuffer) -> SharedSubscription:
        with self._changed:
            if self._ended:
                raise NotJoined("the client was stopped; call wamp.start() to join again")
            subscription = self._subscriptions.get((topic, match))
            if subscription is None:
                subscription = SharedSubscription(topic, match, self.close)
                self._subscriptions[topic, match] = subscription
                revoked = ApplicationError(
                    error_uris.UNSUBSCRIBED, "the router has revoked the subscription"
                )
                subscription.revoked = functools.partial(self.refused, subscription, revoked)
            subscription.buffers = (*subscription.buffers, buffer)
            return subscription

    def _ask(
        self,
        subscription: SharedSubscription,
        connection: Connection,
        buffer: EventBuffer | None = None,
    ) -> None:
        """Send SUBSCRIBE once on each connection, and again for each stream that wants the retained event.

        :param buffer: The buffer of the stream that is being opened. None after the session was joined again.
            This thread must not wait then.
        """
        with self._changed:
            buffers = tuple(each for each in subscription.buffers if each.get_retained)
            if subscription.connection is connection:
                if buffer is None or not buffer.get_retained:
                    return
                if subscription.asking:
                    subscription.late = (*subscription.late, buffer)
                    return
                buffers = (buffer,)
            else:
                subscription.connection, subscription.id = connection, None
            subscription.asking = True
        self._send(subscription, connection, buffers, wait=buffer is not None)

    def _send(
        self,
        subscription: SharedSubscription,
        connection: Connection,
        buffers: tuple[EventBuffer, ...],
        *,
        wait: bool,
    ) -> None:
        """Send SUBSCRIBE.

        :param buffers: The buffers that get the retained event.
        :param wait: Whether to wait while the router does not read.
        """
        options = subscription.options
        if buffers:
            options = {**options, "get_retained": True}
        log_missing(connection.session.features, subscription.uri, options, self._logged_missing)
        ticket = _Subscribe(self, subscription, connection, buffers)
        send = connection.ask if wait else connection.put
        try:
            send(Session.subscribe, subscription.uri, options, subscription, ticket)
        except NotJoined:
            pass  # SUBSCRIBE is sent in the next session
        except WAMPError as error:  # too long for a message
            self.refused(subscription, error)

    def _wait(
        self,
        subscription: SharedSubscription,
        connection: Connection,
        buffer: EventBuffer,
        timeout: float,
    ) -> None:
        """Wait until the router has answered, or the session is lost."""

        def decided() -> bool:
            return (
                subscription.id is not None
                or buffer.ended
                or subscription.connection is not connection
                or connection.closed
            )

        with self._peer.pool.release_slot(), self._changed:
            if not self._changed.wait_for(decided, timeout):
                raise CallTimeout(subscription.uri, timeout)
        if buffer.error is not None and not isinstance(buffer.error, TooSlow):
            raise buffer.error

    def _release(self, subscription: SharedSubscription) -> None:
        """Send UNSUBSCRIBE if no stream is left.

        A subscription that the router has not answered yet stays, so that a stream that is opened meanwhile
        waits for the same answer. It is released when the answer arrives.
        """
        with self._changed:
            if subscription.buffers or (subscription.asking and not self._ended):
                return
            connection, number = subscription.connection, subscription.id
            self._remove(subscription)
            subscription.id = None
        if number is not None and connection is not None:
            with contextlib.suppress(NotJoined):
                connection.put(Session.drop_target, number, subscription)

    def _remove(self, subscription: SharedSubscription) -> None:
        """Remove a subscription. Requires the lock."""
        assert self._changed._is_owned()  # type: ignore[attr-defined]
        if self._subscriptions.get(subscription.key) is subscription:
            del self._subscriptions[subscription.key]

    # The tickets call these, on the reader's thread.

    def subscribed(
        self, subscription: SharedSubscription, connection: Connection, number: int
    ) -> None:
        """Handle SUBSCRIBED."""
        with self._changed:
            if subscription.connection is not connection:
                return
            resumed = subscription.served and subscription.id is None
            subscription.id, subscription.served = number, True
            late = tuple(each for each in subscription.late if each in subscription.buffers)
            subscription.asking, subscription.late = bool(late), ()
            self._changed.notify_all()
        if late:
            self._send(subscription, connection, late, wait=False)
        if resumed:
            for buffer in subscription.buffers:
                buffer.add_gap()
        self._release(subscription)

    def refused(self, subscription: SharedSubscription, error: WAMPError) -> None:
        """End the streams of a subscription that was refused or revoked, or that cannot be sent."""
        with self._changed:
            self._remove(subscription)
            buffers, subscription.buffers = subscription.buffers, ()
            for buffer in buffers:
                buffer.end(error)
            self._changed.notify_all()

    # As a listener of the sessions.

    def joined(self, connection: Connection) -> None:
        """Send SUBSCRIBE for every topic that has open streams."""
        for subscription in list(self._subscriptions.values()):
            self._ask(subscription, connection)

    def lost(self) -> None:
        """Keep the streams open, for the next session."""
        with self._changed:
            for subscription in list(self._subscriptions.values()):
                subscription.connection = subscription.id = None
                subscription.asking, subscription.late = False, ()
                if not subscription.buffers:
                    self._remove(subscription)
            self._changed.notify_all()

    def leave(self, deadline: float) -> None:
        """End all streams, and do not open more. Does not wait."""
        with self._changed:
            self._ended = True
            subscriptions = list(self._subscriptions.values())
            for subscription in subscriptions:
                buffers, subscription.buffers = subscription.buffers, ()
                for buffer in buffers:
                    buffer.end()
            self._changed.notify_all()
        for subscription in subscriptions:
            self._release(subscription)

    # The server.

    def _watch(self, ending: t.Callable[[], bool]) -> None:
        """End the streams when the server is about to end, because it first waits for all requests."""
        with self._changed:
            if self._watching:
                return
            self._watching = True
        self._check_ending(ending)

    def _check_ending(self, ending: t.Callable[[], bool]) -> None:
        if ending():
            self.leave(0.0)
            return
        with self._changed:
            self._watching = bool(self._subscriptions)
            if not self._watching:
                return
        self._peer.call_at(
            monotonic() + CHECK_INTERVAL, functools.partial(self._check_ending, ending)
        )
