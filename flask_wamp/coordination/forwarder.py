"""Forwards events to the processes of an app, with a bounded queue and a window of unanswered events."""

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
"""How many forwarded events of a topic may be unanswered at a time."""


#: Errors that mean that no process has begun to handle the event.
_NOT_BEGUN = (error_uris.UNAVAILABLE, error_uris.NO_SUCH_PROCEDURE)

#: Seconds to wait for refusals. A process that refuses an event does so within this time.
SETTLE = 0.5

#: Seconds before a refused event is forwarded again: the first and the longest pause. Each pause is twice as
#: long as the one before.
PAUSE_MIN, PAUSE_MAX = 0.05, 2.0


class Forwarder:
    """Calls a procedure with each event of a topic. Only :meth:`finish` waits.

    The reader, the timer and workers call it. ``_lock`` guards its attributes. No method holds that lock
    when it takes the connection's lock.

    :param procedure: The procedure to call.
    :param subscription: The subscription that the events belong to.
    :param signer: Signs the events.
    :param handle_here: Lets this process handle an event on a worker. Returns False if it cannot.
    """

    def __init__(
        self,
        peer: PeerInterface,
        procedure: str,
        subscription: Subscription,
        signer: Signer,
        handle_here: t.Callable[[m.Event], bool],
    ) -> None:
        self._signer = signer
        self._handle_here = handle_here
        self.unknown = 0
        """How many events were forwarded, but never answered because the process had ended."""
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
        self._refused = 0
        """How many of the unanswered events were refused, and wait to be forwarded again."""
        self._forwarded_at = 0.0
        """The ``time.monotonic()`` of the last event that was forwarded."""
        self._window: float = WINDOW
        self._taking = False
        self._taken: list[int] | None = None
        self._skip: frozenset[int] = frozenset()
        self._leaving = False
        self._finished = False

    # The session.

    def joined(self, connection: Connection) -> None:
        """Forward the events that are left in the queue. Called when a session is established."""
        self._connection = connection
        self._pump()

    def lost(self) -> None:
        """Stop forwarding, because the session has ended. The queue is forwarded in the next session."""
        with self._lock:
            self._connection = self._held = None
            self._taking = False

    # Taking over, and handing over.

    def hold_events(self) -> None:
        """Hold the events that arrive, until :meth:`forward_held` is called."""
        with self._lock:
            self._held, self._taking, self._taken = [], True, None
            self._skip = frozenset()

    def forward_held(self, taken: t.Collection[int] | None) -> None:
        """Forward the held events and later ones, except for those that the predecessor has accepted.

        :param taken: The ids of the publications that the predecessor has accepted. Retained events are then
            skipped too. None if there is no predecessor.
        """
        with self._lock:
            self._skip = frozenset(taken or ())
            for event in self._held or ():
                if taken is None or not self._is_old(event):
                    self._queue.append(event)
            self._held = None
        self._pump()

    def discard_held(self) -> None:
        """Discard the held events and accept no more, because another process may handle them."""
        with self._lock:
            self._held, self._taking = None, False

    def record_taken(self) -> None:
        """Record which events are accepted from now on, because a successor may receive them too."""
        with self._lock:
            self._taken = []

    def stop_taking(self) -> list[int]:
        """Accept no more events. Return the publication ids since :meth:`record_taken`."""
        with self._lock:
            self._taking = False
            return list(self._taken or ())

    def lift_window(self) -> None:
        """Forward the whole queue at once, regardless of the window, because this process leaves."""
        with self._lock:
            self._window = float("inf")
            self._leaving = True
        self._pump()

    def finish(self, deadline: float) -> None:
        """Wait until all events have been forwarded and no refusals are expected, at most until ``deadline``.

        A process that has received an event handles it, even if its answer does not reach this process. If
        all other processes leave too, this process handles the events that they have refused.

        :param deadline: A ``time.monotonic()``.
        """
        with self._changed:
            self._leaving = True
            while (now := monotonic()) < deadline:
                waiting = len(self._queue) + self._refused
                until = deadline if waiting else min(deadline, self._forwarded_at + SETTLE)
                if not self._unanswered and not waiting or now >= until:
                    break
                self._changed.wait(until - now)
            left, self._finished = len(self._queue) + self._refused, True
        if left:
            logger.error(
                "%d events of %s are lost: no process accepted them in time", left, self._topic
            )

    def _is_old(self, event: m.Event) -> bool:
        return event.publication_id in self._skip or bool(event.details.get("retained"))

    # Events. The reader and the timer call these methods.

    def take(self, event: m.Event) -> bool:
        """Accept an event. Return False if the queue is full. The reader calls this."""
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
                self._forwarded_at = monotonic()
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
        """Put an event that was not sent back at the head of the queue."""
        with self._lock:
            self._queue.appendleft(event)
            self._unanswered -= 1
            if connection is not None and self._connection is connection:
                self._connection = None

    def answered(self, event: m.Event, message: object, attempt: int) -> None:
        """Handle the answer of the process that an event was forwarded to."""
        if not isinstance(message, m.Error) or self._handles_rest(message.error, event):
            self._done()
        elif message.error in _NOT_BEGUN:
            # Each event has its own pause, so that a refusal does not delay other events.
            pause = min(PAUSE_MAX, PAUSE_MIN * 2.0 ** min(attempt - 1, 10))
            again = functools.partial(self._forward_again, event, attempt + 1)
            with self._changed:
                self._refused += 1
                self._changed.notify_all()
            self._peer.call_at(monotonic() + pause * random.uniform(0.5, 1.0), again)
        else:
            self.outcome_unknown(message.error)

    def _handles_rest(self, error: str, event: m.Event) -> bool:
        """Handle an event here if this process is leaving and all others have left. Return False if not."""
        is_last = self._leaving and error == error_uris.NO_SUCH_PROCEDURE
        return is_last and self._handle_here(event)

    def _forward_again(self, event: m.Event, attempt: int) -> None:
        with self._lock:
            self._refused -= 1
            self._forwarded_at = monotonic()
        self._forward(event, attempt)

    def outcome_unknown(self, why: object) -> None:
        """Count an event that may or may not have been handled. It is not forwarded again."""
        self.unknown += not self._finished
        # Log the counts 1, 2, 4, 8 and so on only, so that the log is not flooded.
        if not self._finished and self.unknown & (self.unknown - 1) == 0:
            logger.warning(
                "%d forwarded events of %s may not have been handled: %s",
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
    """Return the payload that carries an event to another process. :func:`read_event` reads it.

    The reader calls this, so a payload that is a :class:`msgspec.Raw` is not decoded.
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
        if isinstance(value, bytes):  # sign_event has not decoded it
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
        """Handle the answer. The reader calls this."""
        self._forwarder.answered(self._event, message, self._attempt)

    def fail(self, error: BaseException) -> None:
        """Handle the end of the session, which came before the answer."""
        self._forwarder.outcome_unknown(error)
