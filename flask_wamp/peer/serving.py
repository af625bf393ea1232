"""Serving: pass invocations and events to workers."""

from __future__ import annotations

import typing as t

from .._text import get_logger
from ..concurrency.guards import report
from ..concurrency.pool import Pool
from ..concurrency.serial_queue import SerialQueue
from ..concurrency.timer_thread import TimerThread
from ..protocol.session_events import Answered, Delivered, Interrupted, Invoked, Revoked
from .connection import Connection, ServedEvent
from .declarations import Declaration, Registration, Subscription
from .invocations import ActiveEvent, ActiveInvocation
from .registrar import Acknowledgement, Registrar, Tell
from .reregister import ForceReregister
from .settings import PeerSettings

logger = get_logger("flask_wamp")


class Serving:
    """Handles the session events of one connection after another. The reader calls it, and it does not wait.

    :param registrar: Handles the answers to REGISTER and SUBSCRIBE.
    :param tell: Called with the name and payload of a signal to send.
    """

    def __init__(
        self,
        settings: PeerSettings,
        registrar: Registrar,
        pool: Pool,
        timer: TimerThread,
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._registrar = registrar
        self._pool = pool
        self._timer = timer
        self._tell = tell
        self._handlers: dict[type, t.Callable[[Connection, t.Any], None]] = {
            Answered: self._on_answered,
            Invoked: self._on_invoked,
            Delivered: self._on_delivered,
            Interrupted: self._on_interrupted,
            Revoked: registrar.revoked,
        }

    def on_events(self, connection: Connection, events: list[ServedEvent]) -> None:
        """Handle the events of a session in order. Does not wait."""
        for event in events:
            try:
                self._handlers[type(event)](connection, event)
            except BaseException:
                # A log handler has raised it, or it is a bug in this library. It must not end the session.
                report(logger.exception, "cannot handle %s", type(event).__name__)

    def _on_answered(self, connection: Connection, event: Answered) -> None:
        ticket, message = event.ticket, event.message
        if isinstance(ticket, ForceReregister):
            message = ticket.next(connection, message)
            ticket = ticket.acknowledgement if message is not None else None
        if ticket is not None:
            ticket.resolve(message)
            if isinstance(ticket, Acknowledgement) and ticket.declaration.unwanted:
                self._registrar.withdraw_granted(connection, ticket.declaration)

    def _on_invoked(self, connection: Connection, event: Invoked) -> None:
        invocation = ActiveInvocation(connection, event.target, event.message, self._timer)
        if event.target.concurrency is None:
            accepted = self._pool.submit(invocation, kind=event.target, size=event.size)
        else:
            queue = serial_queue(event.target, self._pool, self._settings)
            accepted = queue.submit(invocation, size=event.size)
        if not accepted:
            invocation.refuse()

    def _on_delivered(self, connection: Connection, event: Delivered) -> None:
        message = event.message
        for subscription in event.targets:
            if subscription.take is not None:
                if not subscription.take(message):
                    self._dropped(subscription)
                continue
            for member in subscription.receivers(message):
                queue = serial_queue(member, self._pool, self._settings)
                work = ActiveEvent(connection, member, message)
                if not queue.submit(work, size=event.size):
                    self._dropped(member)

    def _dropped(self, subscription: Subscription) -> None:
        subscription.dropped += 1
        # At 1, 2, 4, 8 and so on, so that the log is not flooded.
        if subscription.dropped & (subscription.dropped - 1) == 0:
            logger.warning(
                "%d events of %s dropped so far: its subscriber is too slow (WAMP_EVENT_QUEUE)",
                subscription.dropped,
                subscription.uri,
            )
            self._tell("event_dropped", topic=subscription.uri, count=subscription.dropped)

    def _on_interrupted(self, connection: Connection, event: Interrupted) -> None:
        work = connection.invocations.get(event.message.request_id)
        if work is not None:
            work.cancel()


def serial_queue(declaration: Declaration, pool: Pool, settings: PeerSettings) -> SerialQueue:
    """Return the queue of a declaration that limits how many calls or events are handled at once.

    Create the queue if there is none, or if it belongs to a peer that was stopped.
    """
    queue = declaration.queue
    if queue is None or queue.pool is not pool:
        is_call = isinstance(declaration, Registration)
        limit = settings.max_pending if is_call else settings.event_queue
        at_once = declaration.concurrency or 1
        queue = SerialQueue(pool, at_once, limit, settings.max_waiting_bytes)
        declaration.queue = queue
    return queue
