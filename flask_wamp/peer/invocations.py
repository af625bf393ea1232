"""Invocations and events that are being handled: run the handler on a worker, and answer."""

from __future__ import annotations

import time
import typing as t

from .._text import get_logger
from ..concurrency import deadlines
from ..concurrency.clock import monotonic
from ..concurrency.guards import guarded, report
from ..concurrency.interruption import Interruptible
from ..concurrency.timer_thread import TimerHandle, TimerThread
from ..exceptions import InvalidPayload, NotJoined, PayloadTooLarge, SerializationError
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.payload import Default
from ..protocol.session import Session
from .connection import Connection
from .declarations import Failure, Outcome, Registration, Subscription, Success

logger = get_logger("flask_wamp.inbound")


class ActiveInvocation:
    """One invocation, from its arrival to its answer."""

    __slots__ = (
        "_alarm",
        "_callbacks",
        "_interruptible",
        "_timer",
        "calls",
        "canceled",
        "connection",
        "deadline",
        "message",
        "received_at",
        "registration",
        "to_interrupt",
    )

    def __init__(
        self,
        connection: Connection,
        registration: Registration,
        message: m.Invocation,
        timer: TimerThread,
    ) -> None:
        self.connection = connection
        self.registration = registration
        self.message = message
        self.received_at = time.time()
        self.canceled = False
        self.deadline: float | None = None
        self.calls: dict[object, t.Callable[[], None]] = {}
        self.to_interrupt = False
        self._timer = timer
        self._alarm: TimerHandle | None = None
        self._callbacks: list[t.Callable[[bool], object]] | None = None
        self._interruptible: Interruptible | None = None
        connection.invocations[message.request_id] = self
        if registration.timeout is not None:
            self.limit(registration.timeout)

    @property
    def uri(self) -> str:
        """The procedure that was called, even if a pattern is registered."""
        return self.message.details.get("procedure") or self.registration.uri

    def plain(self, value: object, default: Default | None = None) -> t.Any:
        """Convert a payload to values that this connection's serializer can encode."""
        return self.connection.transport.serializer.plain(value, default)

    def __call__(self) -> None:
        """Run the handler and answer. A worker calls this."""
        if self.canceled and not self.registration.runs_if_canceled:
            return
        outcome = self._outcome()
        if self._alarm is not None:
            self._alarm.cancel()
        self.connection.invocations.pop(self.message.request_id, None)
        well = self._answer(outcome)
        for callback in self._callbacks or ():
            guarded(logger.exception, "a callback failed", callback, well)

    def _outcome(self) -> Outcome:
        try:
            self.message.decode_payload()
        except InvalidPayload as error:
            return Failure(error_uris.INVALID_ARGUMENT, error.args)
        try:
            return self.registration.handler(self)
        except BaseException:
            # This is a bug in this library, but the caller must get an answer.
            report(logger.exception, "the handler of %s gave no answer", self.uri)
            return Failure(error_uris.RUNTIME_ERROR)

    def limit(self, seconds: float) -> None:
        """Answer ``wamp.error.timeout`` unless there is an answer within this many seconds."""
        deadline = monotonic() + seconds
        if self.deadline is not None and self.deadline <= deadline:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self.deadline = deadline
        self._alarm = self._timer.call_at(deadline, self.expire)

    def interruptible(self) -> t.ContextManager[None] | None:
        """Return a context whose code ends when the caller cancels. None without greenlets."""
        if self.registration.runs_if_canceled or not self.connection.pool.in_greenlets:
            return None
        self._interruptible = Interruptible()
        return self._interruptible

    @property
    def max_message_size(self) -> int:
        """How many bytes an answer may have."""
        return self.connection.session.max_message_size

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Call ``callback(well)`` after the answer was sent."""
        self._callbacks = [*(self._callbacks or ()), callback]

    def progress(self, args: t.Sequence[object], kwargs: m.Details) -> None:
        """Send a progressive result, if the caller asked for them."""
        if not self.message.details.get("receive_progress") or self.canceled:
            return
        args, kwargs = self.plain(args), self.plain(kwargs)
        self.connection.ask(Session.yield_, self.message.request_id, args, kwargs, progress=True)

    def refuse(self) -> None:
        """Answer ``wamp.error.unavailable``, without running the handler. Does not wait."""
        text = f"too many calls are waiting for {self.uri}"
        self._give_up(error_uris.UNAVAILABLE, text)

    def cancel(self) -> None:
        """End the handler, as far as that is possible, because the caller has canceled. Does not wait."""
        self._give_up(error_uris.CANCELED, f"{self.uri} was canceled")
        if self.registration.runs_if_canceled:
            return
        if self._interruptible is not None:  # first, because this also interrupts a call that waits
            self._interruptible.interrupt()
        deadlines.interrupt(self, ends_itself=self._interruptible is not None)

    def expire(self) -> None:
        """Answer ``wamp.error.timeout``, because the deadline has passed. Does not wait."""
        self._give_up(error_uris.TIMEOUT, f"{self.uri} took too long")

    def _give_up(self, uri: str, text: str) -> None:
        self.canceled = True
        if self._alarm is not None:
            self._alarm.cancel()
        self.connection.invocations.pop(self.message.request_id, None)
        try:
            self.connection.put(Session.error, self.message.request_id, uri, [text], {})
        except NotJoined:
            logger.debug("no session to answer %s", self.uri)

    def _answer(self, outcome: Outcome) -> bool:
        """Send the answer. Return whether it was a result and was sent."""
        try:
            in_time = self._send(outcome)
        except NotJoined:
            logger.warning("the session ended before %s was answered", self.uri)
        except SerializationError as error:
            logger.error("the result of %s cannot be sent: %s", self.uri, error)
            self._answer(_unsent(error))
        else:
            if not (in_time or self.registration.runs_if_canceled) and isinstance(outcome, Success):
                logger.warning("%s ended too late; its result is dropped", self.uri)
            return in_time and isinstance(outcome, Success)
        return False

    def _send(self, outcome: Outcome) -> bool:
        request_id = self.message.request_id
        if isinstance(outcome, Success):
            return self.connection.answer(Session.yield_, request_id, outcome.args, outcome.kwargs)
        return self.connection.answer(Session.error, request_id, *outcome)


def _unsent(error: SerializationError) -> Failure:
    if isinstance(error, PayloadTooLarge):
        return Failure(error_uris.PAYLOAD_SIZE_EXCEEDED, ["the result is too large"])
    return Failure(error_uris.RUNTIME_ERROR)


class ActiveEvent:
    """One event for one subscription."""

    __slots__ = ("_callbacks", "calls", "connection", "message", "received_at", "subscription")

    canceled = to_interrupt = False
    deadline: float | None = None

    def __init__(
        self, connection: Connection, subscription: Subscription, message: m.Event
    ) -> None:
        self.connection = connection
        self.subscription = subscription
        self.message = message
        self.received_at = time.time()
        self.calls: dict[object, t.Callable[[], None]] = {}
        self._callbacks: list[t.Callable[[bool], object]] | None = None

    @property
    def uri(self) -> str:
        """The topic of the event, even if a pattern is subscribed."""
        return self.message.details.get("topic") or self.subscription.uri

    def plain(self, value: object, default: Default | None = None) -> t.Any:
        """Convert a payload to values that this connection's serializer can encode."""
        return self.connection.transport.serializer.plain(value, default)

    def progress(self, args: t.Sequence[object], kwargs: m.Details) -> None:
        """Raise an error, because an event has no results."""
        raise TypeError("an event has no results")

    def limit(self, seconds: float) -> None:
        """Do nothing, because an event has no answer that could be late."""

    def interruptible(self) -> None:
        """Return None, because an event cannot be canceled."""

    def when_done(self, callback: t.Callable[[bool], object]) -> None:
        """Call ``callback(well)`` after the event was handled."""
        self._callbacks = [*(self._callbacks or ()), callback]

    def isolated(self) -> ActiveEvent | None:
        """Return a copy with its own decoded payload.

        None if it cannot be decoded, and the event is dropped.
        """
        try:
            message = self.message.isolated()
        except InvalidPayload as error:
            self._dropped(error)
            return None
        own = ActiveEvent(self.connection, self.subscription, message)
        own.received_at = self.received_at
        return own

    def _dropped(self, error: InvalidPayload) -> None:
        count = self.subscription.unreadable = self.subscription.unreadable + 1
        if count & (count - 1) == 0:  # at 1, 2, 4, 8 and so on, so that the log is not flooded
            logger.warning("dropped %d events of %s so far: %s", count, self.uri, error)

    def __call__(self) -> None:
        """Run the handler. A worker calls this."""
        try:
            self.message.decode_payload()
        except InvalidPayload as error:
            self._dropped(error)
            well = False
        else:
            well = self.subscription.handler(self)
        for callback in self._callbacks or ():
            guarded(logger.exception, "a callback failed", callback, well)
