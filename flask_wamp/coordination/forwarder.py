"""Forwarding events to whoever is next: a line of those that wait, and a window of those in hand."""

from __future__ import annotations

import collections
import functools
import random
import threading
import time
import typing as t

import msgspec

from .._text import get_logger
from ..exceptions import InvalidPayload, NotJoined, SerializationError
from ..peer.connection import Connection, payload
from ..peer.declarations import Subscription
from ..peer.listeners import Host
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from .signing import Signer

logger = get_logger("flask_wamp.delivery")

WINDOW = 64
"""How many events may be forwarded and unanswered, for each topic."""


#: The answers that say that nobody has begun with it.
_NOBODY = (error_uris.UNAVAILABLE, error_uris.NO_SUCH_PROCEDURE)

#: Seconds in which a process refuses an event, if it does.
SETTLE = 0.5

#: Seconds before an event is forwarded once more that no process has begun with: the first pause, then
#: doubled, and the longest.
PAUSE_MIN, PAUSE_MAX = 0.05, 2.0


class Forwarder:
    """Calls a procedure with each event of a topic. Nothing in it waits, but :meth:`finish`.

    :param procedure: What to call.
    :param subscription: What the events are for.
    :param signer: Signs what is forwarded.
    """

    def __init__(
        self, peer: Host, procedure: str, subscription: Subscription, signer: Signer
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
        self._line: collections.deque[m.Event] = collections.deque()
        self._held: list[m.Event] | None = None
        self._in_hand = 0
        self._window: float = WINDOW
        self._taking = False
        self._taken: list[int] | None = None
        self._skip: frozenset[int] = frozenset()
        self._finished = False

    # The session.

    def joined(self, connection: Connection) -> None:
        """There is a session: what was left in line can be forwarded."""
        self._connection = connection
        self._pump()

    def lost(self) -> None:
        """There is none any more. What came before is forwarded in the next one."""
        with self._lock:
            self._connection = self._held = None
            self._taking = False

    # Taking over, and handing over.

    def hold(self) -> None:
        """Keep what comes, until :meth:`go_on`."""
        with self._lock:
            self._held, self._taking, self._taken = [], True, None
            self._skip = frozenset()

    def go_on(self, taken: t.Collection[int] | None) -> None:
        """Forward what was kept and what comes, but for publications the predecessor took.

        :param taken: None: there was no predecessor. Otherwise retained events are left out too.
        """
        with self._lock:
            self._skip = frozenset(taken or ())
            for event in self._held or ():
                if taken is None or not self._is_old(event):
                    self._line.append(event)
            self._held = None
        self._pump()

    def forget(self) -> None:
        """Drop what was kept, and take no more: another process may handle it."""
        with self._lock:
            self._held, self._taking = None, False

    def note(self) -> None:
        """From now on, note what is taken: a successor may get it too."""
        with self._lock:
            self._taken = []

    def stop_taking(self) -> list[int]:
        """Take no more events; return the publication ids of those noted."""
        with self._lock:
            self._taking = False
            return list(self._taken or ())

    def open_wide(self) -> None:
        """Forward all there is at once: what the others get, they handle."""
        with self._lock:
            self._window = float("inf")
        self._pump()

    def finish(self, deadline: float) -> None:
        """Wait until everything was forwarded, and nobody refuses it, at most until a ``time.monotonic()``.

        Who has an event handles it though its answer comes to nobody.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._line, max(0, deadline - time.monotonic()))
            timeout = min(SETTLE, deadline - time.monotonic())
            self._changed.wait_for(lambda: not self._line and not self._in_hand, max(0, timeout))
            left, self._finished = len(self._line), True
        if left:
            logger.error("%d events of %s are lost: nobody took them in time", left, self._topic)

    def _is_old(self, event: m.Event) -> bool:
        return event.publication_id in self._skip or bool(event.details.get("retained"))

    # Events. The reader calls these, and the timer.

    def take(self, event: m.Event) -> bool:
        """Take an event; False: there are too many in line."""
        with self._lock:
            if not self._taking or event.publication_id in self._skip:
                return True
            if self._taken is not None:
                self._taken.append(event.publication_id)
            line = self._line if self._held is None else self._held
            if len(line) >= self._limit:
                return False
            line.append(event)
        self._pump()
        return True

    def add(self, event: m.Event) -> None:
        """Forward an event that another process had forwarded to this one."""
        with self._lock:
            self._line.append(event)
        self._pump()

    def _pump(self) -> None:
        """Forward as many as may be in hand."""
        while True:
            with self._lock:
                ready = self._line and self._in_hand < self._window and self._held is None
                if not ready or self._connection is None:
                    return
                event = self._line.popleft()
                self._in_hand += 1
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
        """It was not sent: it is the first in the next session."""
        with self._lock:
            self._line.appendleft(event)
            self._in_hand -= 1
            if connection is not None and self._connection is connection:
                self._connection = None

    def answered(self, event: m.Event, message: t.Any, attempt: int) -> None:
        """A process has handled it, or not."""
        if not isinstance(message, m.Error):
            self._done()
        elif message.error in _NOBODY:
            # Each event by itself, so that one refusal does not hold up what others take.
            pause = min(PAUSE_MAX, PAUSE_MIN * 2.0 ** min(attempt - 1, 10))
            again = functools.partial(self._forward, event, attempt + 1)
            self._peer.call_at(time.monotonic() + pause * random.uniform(0.5, 1.0), again)
        else:
            self.gone(message.error)

    def gone(self, why: object) -> None:
        """Nobody knows whether an event was handled; so it is not forwarded again."""
        self.unknown += not self._finished
        if (
            not self._finished and self.unknown & (self.unknown - 1) == 0
        ):  # 1, 2, 4, 8: seen, not flooded
            logger.warning(
                "%d events of %s were forwarded, and may not have been handled: %s",
                self.unknown,
                self._topic,
                why,
            )
        self._done()

    def _done(self) -> None:
        with self._changed:
            self._in_hand -= 1
            self._changed.notify_all()
        self._pump()


def sign_event(signer: Signer, procedure: str, event: m.Event) -> list[bytes]:
    """Return the payload that carries an event to another process; :func:`read_event` reads it."""
    envelope = [event.subscription_id, event.publication_id, event.details]
    return signer.sign(f"{procedure}:event", [*envelope, event.args, event.kwargs])


def read_event(signer: Signer, procedure: str, payload: t.Sequence[object]) -> m.Event:
    """Return the event that another process of the app has forwarded.

    :raises InvalidPayload: It was not signed by one, or is no event.
    """
    elements = signer.read(f"{procedure}:event", payload)
    if not isinstance(elements, list):
        raise InvalidPayload("not an event")
    try:
        return t.cast(m.Event, m.from_elements([m.code(m.Event), *elements], m.Event))
    except msgspec.ValidationError as error:
        raise InvalidPayload(str(error)) from None


class _Forwarded:
    """The ticket of a forwarded event."""

    __slots__ = ("_attempt", "_event", "_forwarder")

    def __init__(self, forwarder: Forwarder, event: m.Event, attempt: int) -> None:
        self._forwarder = forwarder
        self._event = event
        self._attempt = attempt

    def resolve(self, message: t.Any) -> None:
        """The router has an answer."""
        self._forwarder.answered(self._event, message, self._attempt)

    def fail(self, error: BaseException) -> None:
        """The session ended before there was one."""
        self._forwarder.gone(error)
