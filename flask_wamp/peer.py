"""The peer: keeps a session with the router, for ever, and serves what is declared.

Connects, joins, registers and subscribes everything, reads until the session is lost, and begins
again. Lives in one process: after a fork the child makes its own.
"""

from __future__ import annotations

import functools
import logging
import os
import random
import threading
import time
import typing as t

from . import messages as m
from .auth import Authentication
from .connection import Connection
from .exceptions import ApplicationError, NotJoined, SessionLost, WAMPError
from .execution import Alarm, Lane, Pool, Timer, Waiter, default_workers, spawn
from .handlers import Declaration, Registration, Subscription
from .heartbeat import Heartbeat
from .inbound import EventWork, InvocationWork
from .session import Session
from .session_events import Answered, Delivered, Interrupted, Invoked, Joined, Revoked
from .settings import Settings
from .transports import open_transport

logger = logging.getLogger("flask_wamp")


Notify = t.Callable[..., None]


class _Restoring:
    """Counts the answers to what a new session registers and subscribes."""

    def __init__(self, count: int, done: t.Callable[[], None]) -> None:
        self._left = count
        self._done = done

    def answered(self) -> None:
        """One more; called by the reader only."""
        self._left -= 1
        if not self._left:
            self._done()


class Acknowledgement(Waiter):
    """The ticket of a REGISTER or SUBSCRIBE: notes the outcome with what was declared."""

    __slots__ = ("_declaration", "_restoring")

    def __init__(self, declaration: Declaration, restoring: _Restoring | None = None) -> None:
        super().__init__()
        self._declaration = declaration
        self._restoring = restoring

    def resolve(self, value: t.Any) -> None:
        declaration = self._declaration
        if isinstance(value, m.Error):
            declaration.refused = ApplicationError(value.error, *value.args, **value.kwargs)
            logger.error("%s was refused: %s", declaration.uri, declaration.refused)
        elif isinstance(value, m.Registered):
            declaration.id = value.registration_id
        else:
            declaration.id = value.subscription_id
        super().resolve(value)
        if self._restoring is not None:
            self._restoring.answered()


class Peer:
    """One process's session with the router, and the threads that serve it.

    :param declarations: What is served; read at every join.
    :param notify: Called with the name and payload of each signal, on a worker.
    """

    def __init__(
        self, settings: Settings, declarations: t.Collection[Declaration], notify: Notify
    ) -> None:
        self.settings = settings
        self._notify = notify
        self.pid = os.getpid()
        self.pool = Pool(settings.workers or default_workers(), settings.max_pending)
        self.connection: Connection | None = None
        self.session_id: int | None = None
        self.failure: Exception | None = None
        """Why there is no session, after an attempt to join has failed."""
        self._declarations = declarations
        self._lanes: dict[Declaration, Lane] = {}
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self.started = False
        self._ready = False
        self._timer: Timer
        self._reader: threading.Thread
        self._handlers: dict[type, t.Callable[[Connection, t.Any], None]] = {
            Answered: self._on_answered,
            Invoked: self._on_invoked,
            Delivered: self._on_delivered,
            Interrupted: self._on_interrupted,
            Revoked: self._on_revoked,
        }

    # Life.

    def start(self) -> None:
        """Begin to connect, and return at once. Does nothing when begun already."""
        with self._changed:
            if self.started:
                return
            self.started = True
            self._timer = Timer()
            self._reader = spawn(self._run, "wamp-reader")

    def stop(self, drain: float, *, withdrawn: t.Callable[[], None] = lambda: None) -> None:
        """Leave: take no more, finish what is in hand, say GOODBYE, end all threads.

        :param drain: Seconds for what is in hand.
        :param withdrawn: Called when nothing is registered any more.
        """
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        deadline = time.monotonic() + drain
        connection = self.connection
        if connection is not None:
            self._withdraw(connection, deadline)
        withdrawn()
        self.pool.stop(max(0.0, deadline - time.monotonic()))
        session_id = self.session_id
        if connection is not None:
            self._leave(connection)
        if self.started:
            self._join_reader()
            self._timer.stop()
        if session_id is not None:
            self._notify("session_left", session_id=session_id)

    def wait(self, timeout: float, *, ready: bool = False) -> Connection:
        """Wait for a session, or with ``ready`` until everything is registered too.

        :raises NotJoined: There is none in time; without ``ready`` as soon as an attempt has failed.
        """

        def decided() -> bool:
            if self._stopping.is_set():
                return True
            if ready:
                return self._ready
            return self.connection is not None or self.failure is not None

        with self.pool.yield_place(), self._changed:
            self._changed.wait_for(decided, timeout)
            connection = self.connection
        if connection is None or (ready and not self._ready):
            raise NotJoined(self._why_not())
        return connection

    def _why_not(self) -> str:
        where = f"realm {self.settings.realm} at {self.settings.router_url.url}"
        why = "the client was stopped" if self._stopping.is_set() else self.failure
        return f"not joined to {where}: {why or 'still connecting'}"

    def _join_reader(self) -> None:
        connection = self.connection
        if connection is not None:
            connection.close()
        if self._reader is not threading.current_thread():
            self._reader.join(self.settings.connect_timeout + 1.0)

    def _withdraw(self, connection: Connection, deadline: float) -> None:
        """UNREGISTER and UNSUBSCRIBE; calls may arrive until the router has answered."""
        answers = []
        try:
            for declaration in list(self._declarations):
                answer = self.withdraw(connection, declaration)
                if answer is not None:
                    answers.append(answer)
        except NotJoined:
            return
        for answer in answers:
            answer.wait(min(deadline - time.monotonic(), 2.0))

    def _leave(self, connection: Connection) -> None:
        try:
            connection.ask(Session.leave)
        except NotJoined:
            return
        if self._reader is not threading.current_thread():
            self._reader.join(1.0)  # until the router's GOODBYE, or not

    # The reader's thread.

    def _run(self) -> None:
        attempts = 0
        while not self._stopping.is_set():
            try:
                connection, joined = self._connect()
            except WAMPError as error:
                self._failed(error)
            except Exception as error:
                logger.exception("cannot connect")
                self._failed(error)
            else:
                attempts = 0
                self._serve(connection, joined)
            self._stopping.wait(self._delay(attempts))
            attempts += 1

    def _delay(self, attempts: int) -> float:
        """Seconds before the next attempt: doubled each time, and never the same for two processes."""
        settings = self.settings
        delay = settings.reconnect_min * 2.0 ** min(attempts, 30)
        return min(delay, settings.reconnect_max) * random.uniform(0.5, 1.0)

    def _connect(self) -> tuple[Connection, Joined]:
        settings = self.settings
        deadline = time.monotonic() + settings.connect_timeout
        transport = open_transport(
            settings.router_url,
            serializers=settings.serializers,
            max_message_size=settings.max_message_size,
            timeout=settings.connect_timeout,
            tls=settings.tls,
        )
        try:
            session = Session(
                transport.serializer,
                settings.realm,
                Authentication(settings.credentials),
                agent=settings.agent,
                max_message_size=min(settings.max_message_size, transport.max_send_size),
            )
            connection = Connection(transport, session, self._on_events)
            return connection, connection.join(deadline)
        except BaseException:
            transport.close()
            raise

    def _failed(self, error: Exception) -> None:
        if str(error) != str(self.failure):  # once for each reason, not for each attempt
            logger.warning(
                "not joined to realm %s at %s, trying again: %s",
                self.settings.realm,
                self.settings.router_url.url,
                error,
            )
        with self._changed:
            self.failure = error
            self._changed.notify_all()

    def _serve(self, connection: Connection, joined: Joined) -> None:
        with self._changed:
            self.connection = connection
            self.session_id = joined.session_id
            self.failure = None
            self._changed.notify_all()
            declarations = list(self._declarations)
        try:
            self._restore(connection, declarations, lambda: self._is_ready(joined))
            Heartbeat(connection, self._timer, self.settings.heartbeat).start()
            if self._stopping.is_set():
                connection.close()
            reason = connection.run()
        except WAMPError as error:  # lost before everything was asked for
            reason = error
        except Exception as error:  # a defect of ours must not end the reader: it joins again
            logger.exception("the reader failed")
            reason = error
        connection.close()
        self._lost(connection, joined, reason)

    def _restore(
        self,
        connection: Connection,
        declarations: list[Declaration],
        done: t.Callable[[], None],
    ) -> None:
        """Ask for everything at once and wait for nothing: the answers count themselves."""
        restoring = _Restoring(len(declarations), done)

        def ask_for_all(session: Session) -> None:
            for declaration in declarations:
                ticket = Acknowledgement(declaration, restoring)
                if self._ask_for(session, declaration, ticket) is not ticket:
                    restoring.answered()  # somebody declared it just now, and waits for it

        if not declarations:
            done()
            return
        for declaration in declarations:
            declaration.id = declaration.refused = None
        connection.ask(ask_for_all)

    def _is_ready(self, joined: Joined) -> None:
        refused = sum(1 for declaration in self._declarations if declaration.refused)
        logger.info(
            "joined realm %s at %s as session %s: %d procedures and topics%s",
            self.settings.realm,
            self.settings.router_url.url,
            self.session_id,
            len(self._declarations) - refused,
            f", {refused} refused" if refused else "",
        )
        with self._changed:
            self._ready = True
            self._changed.notify_all()
        self._tell("session_joined", session_id=joined.session_id, details=joined.details)

    def _tell(self, name: str, **payload: t.Any) -> None:
        """Send a signal from a worker: receivers may do what they like."""
        self.pool.submit(functools.partial(self._notify, name, **payload), force=True)

    def _lost(self, connection: Connection, joined: Joined, reason: Exception) -> None:
        with self._changed:
            self.connection = self.session_id = None
            self._ready = False
            self._changed.notify_all()
        tickets = connection.abandon()
        for work in list(connection.works.values()):
            work.canceled = True
        for ticket in tickets:
            error = SessionLost(f"the session was lost before an answer came: {reason}")
            error.__cause__ = reason
            ticket.fail(error)
        session_id, unanswered = joined.session_id, len(tickets)
        if self._stopping.is_set():
            return
        logger.warning("session lost, %d requests unanswered: %s", unanswered, reason)
        self._tell("session_lost", session_id=session_id, reason=reason, unanswered=unanswered)

    # What happens on a connection; the reader calls these.

    def _on_events(self, connection: Connection, events: list[t.Any]) -> None:
        for event in events:
            self._handlers[type(event)](connection, event)

    def _on_answered(self, connection: Connection, event: Answered) -> None:
        if event.ticket is not None:
            event.ticket.resolve(event.message)

    def _on_invoked(self, connection: Connection, event: Invoked) -> None:
        work = InvocationWork(connection, event.target, event.message, self._timer)
        lane = self._lanes.get(event.target)
        if not (self.pool.submit(work.run) if lane is None else lane.submit(work.run)):
            work.refuse()

    def _on_delivered(self, connection: Connection, event: Delivered) -> None:
        for subscription in event.targets:
            work = EventWork(connection, subscription, event.message)
            if not self._lanes[subscription].submit(work.run):
                self._dropped(subscription)

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
        work = connection.works.get(event.message.request_id)
        if work is not None:
            work.cancel()

    def _on_revoked(self, connection: Connection, event: Revoked) -> None:
        for declaration in event.targets:
            declaration.id = None
            declaration.refused = NotJoined(f"the router took it away: {event.details}")
            logger.error("%s was taken away by the router: %s", declaration.uri, event.details)

    # Declarations, at run time.

    def declare(self, declaration: Declaration, connection: Connection) -> Acknowledgement:
        """REGISTER or SUBSCRIBE now; wait for what is returned."""
        return connection.ask(self._ask_for, declaration, Acknowledgement(declaration))

    def withdraw(self, connection: Connection, declaration: Declaration) -> Waiter | None:
        """UNREGISTER or UNSUBSCRIBE; wait for what is returned. None: there is nothing to do."""
        number, declaration.id, declaration.asked = declaration.id, None, None
        if number is None:
            return None
        answer = Waiter()
        if isinstance(declaration, Registration):
            connection.ask(Session.unregister, number, answer)
        elif connection.ask(Session.drop_target, number, declaration):
            connection.ask(Session.unsubscribe, number, answer)
        else:
            return None
        return answer

    def _ask_for(
        self, session: Session, declaration: Declaration, ticket: Acknowledgement
    ) -> Acknowledgement:
        """Ask, unless a join that runs at the same time has; return the ticket that counts."""
        if declaration.asked is not None and declaration.asked[0] is session:
            return t.cast(Acknowledgement, declaration.asked[1])
        self._lane(declaration)
        request = session.register if isinstance(declaration, Registration) else session.subscribe
        request(declaration.uri, declaration.options, declaration, ticket)
        declaration.asked = session, ticket
        return ticket

    def _lane(self, declaration: Declaration) -> None:
        if declaration in self._lanes or declaration.concurrency is None:
            return
        settings = self.settings
        is_call = isinstance(declaration, Registration)
        limit = settings.max_pending if is_call else settings.event_queue
        self._lanes[declaration] = Lane(self.pool, declaration.concurrency, limit)

    def call_at(self, deadline: float, function: t.Callable[[], None]) -> Alarm:
        """Call a short function at a ``time.monotonic()``, see :meth:`.execution.Timer.call_at`."""
        return self._timer.call_at(deadline, function)

    # After a fork.

    def forget(self) -> None:
        """In a child: let go of the parent's socket without a word. Nothing else is touched."""
        if self.connection is not None:
            self.connection.transport.forget()
