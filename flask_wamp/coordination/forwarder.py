"""Forwarding events to the processes of an app: a bounded queue, and a window of unanswered events."""

from __future__ import annotations

import collections
import functools
import random
import threading
import typing as t

import msgspec

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..exceptions import InvalidPayload, NotJoined, SerializationError
from ..peer.connection import Connection
from ..peer.declarations import Subscription
from ..peer.listeners import PeerInterface
from ..peer.sending import payload
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from .signing import Signer

logger = get_logger("flask_wamp.delivery")

WINDOW = 64
"""How many events may be forwarded and unanswered, for each topic."""


#: The errors that say that no process has begun to handle an event.
_NOT_BEGUN = (error_uris.UNAVAILABLE, error_uris.NO_SUCH_PROCEDURE)

#: Seconds within which a process refuses an event, if it refuses it.
SETTLE = 0.5

#: Seconds before an event is forwarded again that no process has begun to handle: the first pause, which is
#: doubled each time, and the longest.
PAUSE_MIN, PAUSE_MAX = 0.05, 2.0


class Forwarder:
    """Calls a procedure with each event of a topic. Only :meth:`finish` waits.

    The reader, the timer and workers call it; ``_lock`` guards its attributes. No method holds that lock when
    it takes the connection's.

    :param procedure: The procedure to call.
    :param subscription: The subscription that the events belong to.
    :param signer: Signs the events.
    """

    def __init__(
        self, peer: PeerInterface, procedure: str, subscription: Subscription, signer: Signer
    ) -> None:
        self._signer = signer
        self.unknown = 0
        """How many events were forwarded to a process that was gone before it answered."""
        self._peer = peer
        self._procedure = procedure
        self._topic = subscription.uri
        self._limit = peer.settings.event_queue
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._connection: Connection | None = None
        self._queue: collections.deque[m.Event] = collections.deque()
        self._held: list[m.Event] | None = None
        self._unanswered = 0
        self._window: float = WINDOW
        self._taking = False
        self._taken: list[int] | None = None
        self._skip: frozenset[int] = frozenset()
        self._finished = False

    # The session.

    def joined(self, connection: Connection) -> None:
        """Take note of a new session: forward the events that are left in the queue."""
        self._connection = connection
        self._pump()

    def lost(self) -> None:
        """Take note that the session has ended. The queue is forwarded in the next session."""
        with self._lock:
            self._connection = self._held = None
            self._taking = False

    # Taking over, and handing over.

    def hold(self) -> None:
        """Keep the events that arrive, until :meth:`go_on`."""
        with self._lock:
            self._held, self._taking, self._taken = [], True, None
            self._skip = frozenset()

    def go_on(self, taken: t.Collection[int] | None) -> None:
        """Forward the events that were kept and that arrive, except for those the predecessor took.

        :param taken: The publication ids that the predecessor took; retained events are left out too. None
            if there was no predecessor.
        """
        with self._lock:
            self._skip = frozenset(taken or ())
            for event in self._held or ():
                if taken is None or not self._is_old(event):
                    self._queue.append(event)
            self._held = None
        self._pump()

    def forget(self) -> None:
        """Drop the events that were kept, and take no more: another process may handle them."""
        with self._lock:
            self._held, self._taking = None, False

    def note(self) -> None:
        """Note from now on which events are taken: a successor may receive them too."""
        with self._lock:
            self._taken = []

    def stop_taking(self) -> list[int]:
        """Take no more events; return the publication ids of those noted."""
        with self._lock:
            self._taking = False
            return list(self._taken or ())

    def open_wide(self) -> None:
        """Forward the whole queue at once, beyond the window."""
        with self._lock:
            self._window = float("inf")
        self._pump()

    def finish(self, deadline: float) -> None:
        """Wait until all events have been forwarded and none is refused, at most until ``deadline``.

        A process that has received an event handles it, even if no one receives its answer.

        :param deadline: A ``time.monotonic()``.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._queue, max(0, deadline - monotonic()))
            timeout = min(SETTLE, deadline - monotonic())
            self._changed.wait_for(
                lambda: not self._queue and not self._unanswered, max(0, timeout)
            )
            left, self._finished = len(self._queue), True
        if left:
            logger.error(
                "%d events of %s are lost: no process took them in time", left, self._topic
            )

    def _is_old(self, event: m.Event) -> bool:
        return event.publication_id in self._skip or bool(event.details.get("retained"))

    # Events. The reader calls these, and the timer.

    def take(self, event: m.Event) -> bool:
        """Take an event; return False if the queue is full. The reader calls it."""
        with self._lock:
            if not self._taking or event.publication_id in self._skip:
                return True
            if self._taken is not None:
                self._taken.append(event.publication_id)
            queue = self._queue if self._held is None else self._held
            if len(queue) >= self._limit:
                return False
            queue.append(event)
        self._pump()
        return True

    def add(self, event: m.Event) -> None:
        """Forward an event that another process has forwarded to this process."""
        with self._lock:
            self._queue.append(event)
        self._pump()

    def _pump(self) -> None:
        """Forward as many events as the window allows."""
        while True:
            with self._lock:
                ready = self._queue and self._unanswered < self._window and self._held is None
                if not ready or self._connection is None:
                    return
                event = self._queue.popleft()
                self._unanswered += 1
            self._forward(event)

    def _forward(self, event: m.Event, attempt: int = 1) -> None:
        connection = self._connection
        if connection is None:
            self._take_back(event)
            return
        try:
            args, _ = payload(
                connection.transport, sign_event(self._signer, self._procedure, event), {}
            )
            ticket = _Forwarded(self, event, attempt)
            connection.put(Session.call, self._procedure, args, {}, {}, ticket)
        except NotJoined:
            self._take_back(event, connection)
        except (SerializationError, InvalidPayload) as error:
            logger.error("an event of %s is lost, it cannot be forwarded: %s", self._topic, error)
            self._done()

    def _take_back(self, event: m.Event, connection: Connection | None = None) -> None:
        """Put an event back that was not sent, at the head of the queue."""
        with self._lock:
            self._queue.appendleft(event)
            self._unanswered -= 1
            if connection is not None and self._connection is connection:
                self._connection = None

    def answered(self, event: m.Event, message: object, attempt: int) -> None:
        """Take note of the answer of the process that the event was forwarded to."""
        if not isinstance(message, m.Error):
            self._done()
        elif message.error in _NOT_BEGUN:
            # Each event pauses by itself, so that one refusal does not delay the others.
            pause = min(PAUSE_MAX, PAUSE_MIN * 2.0 ** min(attempt - 1, 10))
            again = functools.partial(self._forward, event, attempt + 1)
            self._peer.call_at(monotonic() + pause * random.uniform(0.5, 1.0), again)
        else:
            self.gone(message.error)

    def gone(self, why: object) -> None:
        """Count an event that may have been handled or not. It is not forwarded again."""
        self.unknown += not self._finished
        # At 1, 2, 4, 8 and so on, so that the log is not flooded.
        if not self._finished and self.unknown & (self.unknown - 1) == 0:
            logger.warning(
                "%d events of %s were forwarded, and may not have been handled: %s",
                self.unknown,
                self._topic,
                why,
            )
        self._done()

    def _done(self) -> None:
        with self._changed:
            self._unanswered -= 1
            self._changed.notify_all()
        self._pump()


def sign_event(signer: Signer, procedure: str, event: m.Event) -> list[bytes]:
    """Return the payload that carries an event to another process; :func:`read_event` reads it.

    The event's own payload is not decoded where it is a :class:`msgspec.Raw`: the reader calls this.
    """
    args = bytes(event.raw_args) if type(event.raw_args) is msgspec.Raw else event.args
    kwargs = bytes(event.raw_kwargs) if type(event.raw_kwargs) is msgspec.Raw else event.kwargs
    envelope = [event.subscription_id, event.publication_id, event.details]
    return signer.sign(f"{procedure}:event", [*envelope, args, kwargs])


def read_event(signer: Signer, procedure: str, payload: t.Sequence[object]) -> m.Event:
    """Return the event that another process of the app has forwarded.

    :raises InvalidPayload: The payload was not signed by a process of the app, or is not an event.
    """
    elements = signer.read(f"{procedure}:event", payload)
    if not isinstance(elements, list):
        raise InvalidPayload("not an event")
    try:
        event = t.cast(m.Event, m.from_elements([m.code(m.Event), *elements], m.Event))
    except msgspec.ValidationError as error:
        raise InvalidPayload(str(error)) from None
    for name, value in zip(("raw_args", "raw_kwargs"), elements[3:], strict=False):
        if isinstance(value, bytes):  # as sign_event has put it there
            setattr(event, name, msgspec.Raw(value))
    return event


class _Forwarded:
    """The ticket of a forwarded event."""

    __slots__ = ("_attempt", "_event", "_forwarder")

    def __init__(self, forwarder: Forwarder, event: m.Event, attempt: int) -> None:
        self._forwarder = forwarder
        self._event = event
        self._attempt = attempt

    def resolve(self, message: object) -> None:
        """Take the answer. The reader calls it."""
        self._forwarder.answered(self._event, message, self._attempt)

    def fail(self, error: BaseException) -> None:
        """Take note that the session ended before the answer."""
        self._forwarder.gone(error)
