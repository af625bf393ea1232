"""REGISTER and SUBSCRIBE for all declarations: in every session, and again if the router refused."""

from __future__ import annotations

import contextlib
import functools
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.threads import Waiter
from ..concurrency.timer_thread import TimerThread
from ..exceptions import NotJoined, WAMPError
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from ..protocol.session import Session
from ..protocol.session_events import Revoked
from .connection import Connection
from .declarations import Declaration, Registration, Served, Subscription
from .missing import log_missing
from .reregister import ForceReregister
from .settings import PeerSettings

logger = get_logger("flask_wamp")

Tell = t.Callable[..., None]
"""Called with the name and payload of a signal to send."""

PrepareSignal = t.Callable[..., t.Callable[[], None] | None]
"""Called with the name and payload of a signal. Returns the function that sends it. Returns None if it has no
receivers, so that no worker runs for nothing."""

Done = t.Callable[[list[Declaration]], None]
"""Called with the requested declarations when the router has answered all requests, or the time is over."""

#: Seconds before a refused declaration is tried again: the first and the longest pause. Each pause is twice
#: as long as the one before.
RETRY_MIN, RETRY_MAX = 0.5, 30.0

#: Seconds to wait for the answers to UNREGISTER and UNSUBSCRIBE before the process leaves.
PATIENCE = 2.0


class Registrar:
    """Registers and subscribes the declarations that this process serves, and handles the answers.

    :param served: Returns these declarations. Called at every join.
    :param tell: Called with the name and payload of a signal to send.
    """

    def __init__(
        self, settings: PeerSettings, served: Served, timer: TimerThread, tell: Tell
    ) -> None:
        self._settings = settings
        self._served = served
        self._timer = timer
        self._tell = tell
        self._logged_missing: set[str] = set()
        """The missing features of the router that were logged in this process."""
        self._connection: Connection | None = None

    # In every session.

    def restore(self, connection: Connection, done: Done) -> t.Callable[[], None]:
        """Request everything at once in a new session, and return without waiting for the answers.

        :param done: Called when all are answered, or ``WAMP_CALL_TIMEOUT`` has passed.
        :returns: A function with the rest of the work. It may log, so call it without a lock, and before the
            answers are read.
        """
        self._connection = connection
        declarations = self._served()
        for declaration in declarations:
            declaration.id = declaration.refused = None
            declaration.refusals = 0
        return self._ask_for_all(connection, declarations, done)

    def extend(self, connection: Connection, done: Done) -> None:
        """Request everything that was declared since the session was joined, like :meth:`restore`."""
        session = connection.session
        new = [d for d in self._served() if d.asked is None or d.asked[0] is not session]
        self._ask_for_all(connection, new, done)()

    def _ask_for_all(
        self, connection: Connection, declarations: list[Declaration], done: Done
    ) -> t.Callable[[], None]:
        all_answered = functools.partial(done, declarations)
        restoring = Restoring(declarations, all_answered)
        settled: list[Declaration] = []
        failed: list[tuple[Declaration, WAMPError]] = []

        def ask(session: Session) -> None:  # under the connection's lock: it only records failures
            for declaration in declarations:
                ticket = Acknowledgement(declaration, self._refused, restoring)
                try:
                    if self._ask_for(session, declaration, ticket) is not ticket:
                        settled.append(declaration)  # another thread requested it, and waits for it
                except WAMPError as error:  # this request cannot be sent, but the others can
                    failed.append((declaration, error))

        def follow_up() -> None:
            for declaration in declarations:
                self._note_missing(connection, declaration)
            at = monotonic() + self._settings.call_timeout
            self._timer.call_at(at, functools.partial(self._give_up, connection, restoring))
            for declaration, error in failed:
                self._refused(declaration, error)
                settled.append(declaration)
            for declaration in settled:
                restoring.answered(declaration)

        if not declarations:
            return all_answered
        # Not connection.ask(), because the reader calls this. It must not wait for the router to read, while
        # the router waits for the reader.
        connection.put(ask)
        return follow_up

    def lost(self) -> None:
        """Forget the ids of the session that has ended."""
        self._connection = None
        for declaration in self._served():
            declaration.id = declaration.refused = None

    def _note_missing(self, connection: Connection, declaration: Declaration) -> None:
        if isinstance(declaration, Subscription):
            topic, features = declaration.uri, connection.session.features
            log_missing(features, topic, declaration.wire_options, self._logged_missing)

    def _give_up(self, connection: Connection, restoring: Restoring) -> None:
        if connection is not self._connection or connection.closed:
            return
        for declaration in restoring.unanswered:
            self.unanswered(declaration)
            restoring.answered(declaration)

    def unanswered(self, declaration: Declaration) -> None:
        """Record that the router has not answered in time, so that no thread waits for it any more."""
        limit = self._settings.call_timeout
        self._refused(declaration, WAMPError(f"the router did not answer within {limit:g} s"))

    # Refusals.

    def _refused(self, declaration: Declaration, error: WAMPError) -> None:
        """Record the refusal, and try again later, because another app may have released the URI by then."""
        if declaration.id is not None or declaration.unwanted:
            return  # an earlier request was granted late, or this declaration was withdrawn
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
            return  # a new session has requested it, or a late answer has arrived
        if declaration in self._served():
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

    def revoked(self, connection: Connection, event: Revoked) -> None:
        """Record that the router has ended a registration or subscription. The reader calls this."""
        for declaration in event.targets:
            declaration.id = None
            declaration.refused = NotJoined(f"the router has revoked it: {event.details}")
            logger.error(
                "%s was taken away by the router: %s (realm %s); it is registered again when the "
                "session is joined again",
                declaration.uri,
                event.details,
                self._settings.realm,
            )
            if declaration.revoked is not None:
                declaration.revoked()

    # At run time, and at the end.

    def declare(
        self, declaration: Declaration, connection: Connection, *, once: bool = False
    ) -> Waiter:
        """Send REGISTER or SUBSCRIBE now. Return a waiter for the answer.

        :param once: Do not log a refusal, and do not try again, because the caller gets the error.
        """
        refused = _note_refusal if once else self._refused
        self._note_missing(connection, declaration)
        ticket = Acknowledgement(declaration, refused)
        return connection.ask(self._ask_for, declaration, ticket).waiter()

    def withdraw_granted(self, connection: Connection, declaration: Declaration) -> None:
        """End a registration or subscription that was granted after it was withdrawn."""
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
        """Send the request, unless another thread has sent it in this session. Return the ticket that counts.

        This is for :meth:`.Sender.ask` and ``put``, which call it under the connection's lock.
        """
        if declaration.asked is not None and declaration.asked[0] is session:
            return t.cast(Acknowledgement, declaration.asked[1])
        if isinstance(declaration, Registration) and declaration.options.get("force_reregister"):
            ForceReregister(declaration, ticket).begin(session)
        elif isinstance(declaration, Registration):
            session.register(declaration.uri, declaration.options, declaration, ticket)
        else:
            session.subscribe(declaration.uri, declaration.wire_options, declaration, ticket)
        declaration.asked, declaration.unwanted = (session, ticket), False
        return ticket

    def withdraw_all(self, connection: Connection, deadline: float) -> None:
        """Unregister and unsubscribe everything, and wait for the answers, at most 2 seconds.

        Wait for unanswered requests first. Otherwise, the router could accept one later, and send calls.
        """
        deadline = min(deadline, monotonic() + PATIENCE)
        declarations = self._served()
        for declaration in declarations:
            if declaration.id is None and declaration.refused is None:
                _await_acknowledgement(connection, declaration, deadline)
            declaration.unwanted = True
        try:
            answers = connection.ask(_withdraw_all, declarations)
        except NotJoined:
            return
        if answers.missing:
            connection.pool.wait(answers, deadline - monotonic())


class Restoring:
    """Counts the answers to the REGISTERs and SUBSCRIBEs of a new session."""

    def __init__(self, asked: t.Iterable[Declaration], done: t.Callable[[], None]) -> None:
        self._open = set(asked)
        self._done = done
        self._lock = threading.Lock()

    def answered(self, declaration: Declaration) -> None:
        """Count an answer, or a request that was not answered in time."""
        with self._lock:
            was_open = bool(self._open)
            self._open.discard(declaration)
            is_last = was_open and not self._open
        if is_last:
            self._done()

    @property
    def unanswered(self) -> list[Declaration]:
        """The declarations without an answer."""
        with self._lock:
            return list(self._open)


class Acknowledgement:
    """The ticket of a REGISTER or SUBSCRIBE: stores the outcome in the declaration."""

    __slots__ = ("_refused", "_restoring", "_waiters", "declaration", "error", "value")

    def __init__(
        self,
        declaration: Declaration,
        refused: t.Callable[[Declaration, WAMPError], None],
        restoring: Restoring | None = None,
    ) -> None:
        self.declaration = declaration
        self.value: m.Message | None = None
        """The answer."""
        self.error: BaseException | None = None
        """The error, if the session has ended before the answer."""
        self._refused = refused
        self._restoring = restoring
        self._waiters: list[Waiter] = []

    def waiter(self) -> Waiter:
        """Return a waiter for the answer. Each thread that waits needs its own."""
        waiter = Waiter()
        self._waiters.append(waiter)
        self._wake()  # in case the answer has already arrived
        return waiter

    def resolve(self, value: m.Registered | m.Subscribed | m.Error) -> None:
        """Store the outcome. The reader calls this."""
        declaration = self.declaration
        if isinstance(value, m.Error):
            self._refused(declaration, remote_error(value))
        else:
            was_refused = declaration.refused is not None
            declaration.refused, declaration.refusals = None, 0
            declaration.id = (
                value.registration_id if isinstance(value, m.Registered) else value.subscription_id
            )
            if was_refused:
                logger.info("the router has now accepted %s", declaration.uri)
        self.value = value
        self._wake()
        if self._restoring is not None:
            self._restoring.answered(declaration)

    def fail(self, error: BaseException) -> None:
        """Set the error of a session that has ended before the answer."""
        self.error = error
        self._wake()

    def _wake(self) -> None:
        for waiter in self._waiters:
            if self.error is not None:
                waiter.fail(self.error)
            elif self.value is not None:
                waiter.resolve(self.value)


class Withdrawal(Waiter):
    """The ticket of several UNREGISTERs and UNSUBSCRIBEs. It is resolved by the last answer."""

    __slots__ = ("missing",)

    def __init__(self) -> None:
        super().__init__()
        self.missing = 0
        """How many requests are not answered yet."""

    def resolve(self, value: m.Message) -> None:
        """Count an answer. The reader calls this."""
        self.missing -= 1
        if not self.missing:
            super().resolve(value)


def withdraw(connection: Connection, declaration: Declaration) -> Waiter | None:
    """Send UNREGISTER or UNSUBSCRIBE. The caller waits for the returned waiter, if there is one."""
    # Set before the id is read. The reader sets the id first, and then reads this flag. So one of the two
    # threads withdraws it.
    declaration.unwanted = True
    if declaration.id is None:
        declaration.asked = None
        return None
    answer = Waiter()
    return answer if connection.ask(_withdraw, declaration, answer) else None


def _withdraw(session: Session, declaration: Declaration, answer: Waiter) -> bool:
    """Encode UNREGISTER or UNSUBSCRIBE. :meth:`.Sender.ask` calls this under the connection's lock.

    :returns: Whether there will be an answer.
    """
    number, declaration.id, declaration.asked = declaration.id, None, None
    if number is None:
        return False
    if isinstance(declaration, Registration):
        session.unregister(number, answer)
        return True
    return session.drop_target(number, declaration, answer)  # not if other subscribers stay


def _withdraw_all(session: Session, declarations: list[Declaration]) -> Withdrawal:
    answers = Withdrawal()
    answers.missing = sum(_withdraw(session, each, answers) for each in declarations)
    return answers


def _await_acknowledgement(
    connection: Connection, declaration: Declaration, deadline: float
) -> None:
    """Wait for the answer to a REGISTER or SUBSCRIBE of this session, if it is missing."""
    if declaration.asked is not None and declaration.asked[0] is connection.session:
        acknowledgement = t.cast(Acknowledgement, declaration.asked[1])
        connection.pool.wait(acknowledgement.waiter(), deadline - monotonic())


def _note_refusal(declaration: Declaration, error: WAMPError) -> None:
    declaration.refused = error
