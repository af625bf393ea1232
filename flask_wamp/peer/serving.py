"""Serving: register what is declared, and hand what arrives for it to workers."""

from __future__ import annotations

import contextlib
import functools
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.guards import report
from ..concurrency.pool import Pool
from ..concurrency.serial_queue import SerialQueue
from ..concurrency.threads import Waiter
from ..concurrency.timer import Timer
from ..exceptions import NotJoined, WAMPError
from ..protocol.session import Session
from ..protocol.session_events import Answered, Delivered, Interrupted, Invoked, Revoked
from .acknowledgements import Acknowledgement, Restoring
from .connection import Connection, Event
from .declarations import Declaration, Registration, Subscription
from .invocations import ActiveEvent, ActiveInvocation
from .missing import MissingFeatures
from .reregister import ForceReregister
from .settings import Settings

logger = get_logger("flask_wamp")

Tell = t.Callable[..., None]

#: Seconds before a refused declaration is tried again: the first pause, then doubled, and the longest.
RETRY_MIN, RETRY_MAX = 0.5, 30.0

#: Seconds to wait for the answers to UNREGISTER and UNSUBSCRIBE before the process leaves.
PATIENCE = 2.0


class Serving:
    """Serves declarations on one connection after another.

    :param declarations: What is served; read at every join.
    :param tell: Called with the name and payload of a signal to send.
    """

    def __init__(
        self,
        settings: Settings,
        declarations: t.Collection[Declaration],
        pool: Pool,
        timer: Timer,
        tell: Tell,
    ) -> None:
        self._settings = settings
        self._declarations = declarations
        self._pool = pool
        self._timer = timer
        self._tell = tell
        self.missing = MissingFeatures()
        self._connection: Connection | None = None
        self._handlers: dict[type, t.Callable[[Connection, t.Any], None]] = {
            Answered: self._on_answered,
            Invoked: self._on_invoked,
            Delivered: self._on_delivered,
            Interrupted: self._on_interrupted,
            Revoked: self._on_revoked,
        }

    @property
    def waiting(self) -> int:
        """How many calls and events wait in queues of their own."""
        queues = [
            each.queue
            for declaration in list(self._declarations)
            for each in (declaration, *getattr(declaration, "members", ())[1:])
        ]
        return sum(queue.pending for queue in queues if queue is not None)

    @property
    def refused(self) -> list[Declaration]:
        """What the router has refused in the present session."""
        return [d for d in list(self._declarations) if d.refused is not None]

    @property
    def summary(self) -> str:
        """How much is served in the present session, for people."""
        refused = len(self.refused)
        served = len(self._declarations) - refused
        return f"{served} procedures and topics" + (f", {refused} refused" if refused else "")

    def restore(
        self,
        connection: Connection,
        declarations: list[Declaration],
        done: t.Callable[[], None],
        *,
        joining: bool = True,
    ) -> None:
        """Ask for everything at once, and return without waiting for the answers.

        :param done: Called when all are answered, or ``WAMP_CALL_TIMEOUT`` has passed.
        :param joining: Whether the session is new; False: more is to be served in one that is not.
        """
        restoring = Restoring(declarations, done)
        settled: list[Declaration] = []
        failed: list[tuple[Declaration, WAMPError]] = []

        def ask_for_all(
            session: Session,
        ) -> None:  # under the connection's lock: it only takes note
            for declaration in declarations:
                ticket = Acknowledgement(declaration, self._refused, restoring)
                try:
                    if self._ask_for(session, declaration, ticket) is not ticket:
                        settled.append(declaration)  # another thread declared it, and waits for it
                except WAMPError as error:  # it can't be sent; the others can
                    failed.append((declaration, error))

        self._connection = connection
        if not declarations:
            done()
            return
        for declaration in declarations if joining else ():
            declaration.id = declaration.refused = None
            declaration.refusals = 0
        # Not ask(): the reader calls this, and must not wait for a router that waits for the reader.
        connection.put(ask_for_all)
        for declaration in declarations:
            self._note_missing(connection, declaration)
        at = monotonic() + self._settings.call_timeout
        self._timer.call_at(at, functools.partial(self._give_up, connection, restoring))
        for declaration, error in failed:
            self._refused(declaration, error)
            settled.append(declaration)
        for declaration in settled:
            restoring.answered(declaration)

    def _note_missing(self, connection: Connection, declaration: Declaration) -> None:
        if isinstance(declaration, Subscription):
            self.missing.note(connection, declaration.uri, declaration.wire_options)

    def _give_up(self, connection: Connection, restoring: Restoring) -> None:
        if connection is not self._connection or connection.closed:
            return
        for declaration in restoring.unanswered:
            self.unanswered(declaration)
            restoring.answered(declaration)

    def unanswered(self, declaration: Declaration) -> None:
        """Note that the router has not answered in time, so that others need not wait for it."""
        limit = self._settings.call_timeout
        self._refused(declaration, WAMPError(f"the router did not answer within {limit:g} s"))

    def withdraw_all(self, connection: Connection, deadline: float) -> None:
        """UNREGISTER and UNSUBSCRIBE everything, and wait for the answers until then, at most 2 seconds.

        Calls may arrive until the router has answered.
        """
        declarations = list(self._declarations)
        for declaration in declarations:
            declaration.unwanted = True
        try:
            answers = connection.ask(lambda session: [_withdraw(session, d) for d in declarations])
        except NotJoined:
            return
        deadline = min(deadline, monotonic() + PATIENCE)
        for answer in answers:
            if answer is not None:
                connection.pool.wait(answer, deadline - monotonic())

    # What happens on a connection; the reader calls these.

    def on_events(self, connection: Connection, events: list[Event]) -> None:
        """Handle what has happened, in order. Does not wait."""
        for event in events:
            try:
                self._handlers[type(event)](connection, event)
            except (
                BaseException
            ):  # a log handler's, or a defect of ours: it must not end the session
                report(logger.exception, "cannot handle %s", type(event).__name__)

    def _on_answered(self, connection: Connection, event: Answered) -> None:
        ticket, message = event.ticket, event.message
        if isinstance(ticket, ForceReregister):
            message = ticket.next(connection, message)
            ticket = ticket.acknowledgement if message is not None else None
        if ticket is not None:
            ticket.resolve(message)
            if isinstance(ticket, Acknowledgement) and ticket.declaration.unwanted:
                self._take_back(connection, ticket.declaration)

    def _on_invoked(self, connection: Connection, event: Invoked) -> None:
        invocation = ActiveInvocation(connection, event.target, event.message, self._timer)
        queue = event.target.queue
        if queue is None:
            accepted = self._pool.submit(invocation, kind=event.target, size=event.size)
        else:
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
                work = ActiveEvent(connection, member, message)
                queue = member.queue or self._make_queue(member)  # of one declared just now
                if queue is None or not queue.submit(work.run, size=event.size):
                    self._dropped(member)

    def _dropped(self, subscription: Subscription) -> None:
        subscription.dropped += 1
        if subscription.dropped & (subscription.dropped - 1) == 0:  # 1, 2, 4, 8: seen, not flooded
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

    def _refused(self, declaration: Declaration, error: WAMPError) -> None:
        """Note the refusal, and ask again later: another app may have released the URI by then."""
        if declaration.id is not None or declaration.unwanted:
            return  # an earlier request was granted late, or it was withdrawn
        first = declaration.refused is None
        declaration.refused = error
        declaration.refusals += 1
        log = logger.error if first else logger.debug
        realm = self._settings.realm
        log("%s was refused: %s (realm %s); it is tried again", declaration.uri, error, realm)
        if first:
            self._tell("registration_refused", uri=declaration.uri, error=error)
        session = declaration.asked[0] if declaration.asked is not None else None
        delay = min(RETRY_MAX, RETRY_MIN * 2.0 ** min(declaration.refusals - 1, 10))
        at = monotonic() + delay
        self._timer.call_at(at, lambda: self._ask_again(declaration, session))

    def _ask_again(self, declaration: Declaration, session: object) -> None:
        connection = self._connection
        if connection is None or connection.session is not session or declaration.id is not None:
            return  # a new session has asked for it, or an answer came late
        if declaration in list(self._declarations):
            declaration.asked = None
            answer = Acknowledgement(declaration, self._refused)
            with contextlib.suppress(NotJoined):
                connection.put(self._ask_for, declaration, answer)
                at = monotonic() + self._settings.call_timeout
                self._timer.call_at(at, lambda: self._look_for(answer, declaration))

    def _look_for(self, answer: Acknowledgement, declaration: Declaration) -> None:
        asked = declaration.asked
        if answer.value is None and asked is not None and asked[1] is answer:
            self.unanswered(declaration)

    def _on_revoked(self, connection: Connection, event: Revoked) -> None:
        for declaration in event.targets:
            declaration.id = None
            declaration.refused = NotJoined(f"the router took it away: {event.details}")
            logger.error(
                "%s was taken away by the router: %s (realm %s); it is registered again when the "
                "session is joined again",
                declaration.uri,
                event.details,
                self._settings.realm,
            )
            if declaration.revoked is not None:
                declaration.revoked()

    # Declarations, at run time.

    def declare(
        self, declaration: Declaration, connection: Connection, *, once: bool = False
    ) -> Acknowledgement:
        """REGISTER or SUBSCRIBE now. Wait for what is returned.

        :param once: If it is refused, do not log that nor try again: the caller gets the error.
        """
        refused = _note_refusal if once else self._refused
        self._note_missing(connection, declaration)
        return connection.ask(self._ask_for, declaration, Acknowledgement(declaration, refused))

    def _take_back(self, connection: Connection, declaration: Declaration) -> None:
        """Give back what was granted after it was withdrawn."""
        number, declaration.id = declaration.id, None
        if number is None:
            return
        with contextlib.suppress(NotJoined):
            if isinstance(declaration, Registration):
                connection.put(Session.unregister, number, None)
            else:
                connection.put(Session.drop_target, number, declaration)

    def _ask_for(
        self, session: Session, declaration: Declaration, ticket: Acknowledgement
    ) -> Acknowledgement:
        """Ask, unless another thread has asked in this session. Return the ticket that counts."""
        if declaration.asked is not None and declaration.asked[0] is session:
            return t.cast(Acknowledgement, declaration.asked[1])
        for each in (declaration, *getattr(declaration, "members", ())[1:]):
            self._make_queue(each)
        if isinstance(declaration, Registration) and declaration.options.get("force_reregister"):
            ForceReregister(declaration, ticket).begin(session)
        else:
            uri = declaration.uri
            if isinstance(declaration, Registration):
                session.register(uri, declaration.options, declaration, ticket)
            else:
                session.subscribe(uri, declaration.wire_options, declaration, ticket)
        declaration.asked, declaration.unwanted = (session, ticket), False
        return ticket

    def _make_queue(self, declaration: Declaration) -> SerialQueue | None:
        queue = declaration.queue
        if declaration.concurrency is None or (queue is not None and queue.pool is self._pool):
            return queue
        settings = self._settings
        is_call = isinstance(declaration, Registration)
        limit = settings.max_pending if is_call else settings.event_queue
        declaration.queue = SerialQueue(
            self._pool, declaration.concurrency, limit, settings.max_waiting_bytes
        )
        return declaration.queue


def withdraw(connection: Connection, declaration: Declaration) -> Waiter | None:
    """UNREGISTER or UNSUBSCRIBE. Wait for what is returned; None: there is nothing to wait for."""
    # Before its id is looked at. The reader sets the id first, and then looks at this: so one of the two
    # withdraws it.
    declaration.unwanted = True
    if declaration.id is None:
        declaration.asked = None
        return None
    return connection.ask(_withdraw, declaration)


def _withdraw(session: Session, declaration: Declaration) -> Waiter | None:
    """Say UNREGISTER or UNSUBSCRIBE; under the connection's lock."""
    number, declaration.id, declaration.asked = declaration.id, None, None
    if number is None:
        return None
    answer = Waiter()
    if isinstance(declaration, Registration):
        session.unregister(number, answer)
    elif not session.drop_target(number, declaration, answer):
        return None  # other subscribers of this process stay
    return answer


def _note_refusal(declaration: Declaration, error: WAMPError) -> None:
    declaration.refused = error
