"""Leases: something that one process of an app has at a time, and that another gets when it has gone.

A lease is a registration with ``invoke="single"``. The router gives it to one session, refuses it to all
others, and frees it when that session ends. A process that was refused tries again every second or two, and
at once when the router says that the registration has gone, if the router has the registration meta API and
permits it.

**What a lease cannot do.** As far as the router can tell, there are never two holders. A holder that is cut
off from the router does not know it at once. The router drops its session and gives the lease to another one
when its own pings are not answered; the old holder learns it from its next heartbeat (``WAMP_HEARTBEAT``), or
when it cannot send. For that time, two processes may believe that they hold the lease. The same is true of a
process that was suspended, and of a cluster of routers that have lost each other: each part has a holder.

Source: WAMP Advanced Profile, "Registration Meta API" and "Shared Registration".
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.serial_queue import SerialQueue
from ..exceptions import InvalidPayload, NotJoined, WAMPError
from ..peer.connection import Connection
from ..peer.declarations import ActiveMessage, Outcome, Registration, Subscription, Success
from ..peer.listeners import PeerInterface
from ..peer.requests import request
from ..peer.sending import payload
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.uris import LOOKUP
from .signing import Signer

logger = get_logger("flask_wamp.lease")

#: The shortest and the longest pause between two attempts, in seconds.
PAUSE_MIN, PAUSE_MAX = 0.8, 1.6

#: Seconds the router may take to answer where a thread waits for it.
PATIENCE = 2.0

LeaseState = dict[str, object]


#: Seconds, the longest pause of a process that could not use the lease, see :meth:`Lease.give_back`.
GIVEN_BACK_MAX = 30.0


def nothing(*args: object) -> None:
    """Stands in for a callback that was not given."""


class CallbackTicket:
    """The ticket of a request that nothing waits for: calls a function with the answer, if one comes."""

    __slots__ = ("_function",)

    def __init__(self, function: t.Callable[[object], object]) -> None:
        self._function = function

    def resolve(self, message: object) -> None:
        """Call the function with the answer. The reader calls this, so the function must not wait."""
        self._function(message)

    def fail(self, error: BaseException) -> None:
        """Do nothing: listeners learn otherwise that the session has ended."""


class Lease:
    """One lease of one process.

    Make it with :meth:`.leases.Leases.add`. Callbacks run on workers, one after another and in order.

    :param on_acquired: Called when this process has got the lease.
    :param on_lost: Called when this process does not hold it any more, for whatever reason.
    :param on_told: Called in processes that do not hold it, with what the holder says: its ``state`` after
        this process was refused, and what it gives to :meth:`tell`.
    :param state: Returns what the holder answers when another process of the app asks it.
    :param signer: Signs what the processes say to each other.
    :param try_again: Has :meth:`ask` called after a pause.
    """

    def __init__(
        self,
        peer: PeerInterface,
        uri: str,
        *,
        on_acquired: t.Callable[[], object] = nothing,
        on_lost: t.Callable[[], object] = nothing,
        on_told: t.Callable[[LeaseState], object] | None = None,
        state: t.Callable[[], LeaseState] = dict,
        signer: Signer | None = None,
        try_again: t.Callable[[], object] = nothing,
    ) -> None:
        self.uri = uri
        self._try_again = try_again
        self._signer = signer or Signer()
        self.taken = False
        """Whether the router said that another session holds it."""
        self._peer = peer
        self._on_acquired = on_acquired
        self._on_lost = on_lost
        self._on_told = on_told
        self._state = state
        self._lock = threading.Lock()
        self._callbacks = SerialQueue(peer.pool, 1, peer.settings.event_queue)
        self._active_callbacks = 0
        self._callbacks_done = threading.Condition(self._lock)
        self._wanted = True
        self._not_before = 0.0
        """The ``time.monotonic()`` before which it is not asked for again."""
        self._given_back = 0
        """How often it was given back in a row."""
        self._connection: Connection | None = None
        self._asking = False
        self._id: int | None = None
        self._others: int | None = None
        """The registration id of its holder; None if the router does not say."""

    @property
    def held(self) -> bool:
        """Whether this process holds it. False as soon as its session is lost."""
        return self._id is not None

    def tell(self, state: LeaseState) -> None:
        """Have ``on_told`` called in the other processes, if this process may publish."""
        connection = self._connection
        if connection is not None and self.held:
            message = self._signer.sign_now(f"{self.uri}:state", state)
            with contextlib.suppress(WAMPError):
                args, _ = payload(connection.transport, message, {})
                connection.put(Session.publish, self.uri, args, {}, {})

    def release(self, timeout: float = PATIENCE) -> None:
        """Release it for good; return when the router has freed it.

        :raises WAMPError: The session ended, or the router does not answer.
        """
        connection, number = self._let_go(wanted=False)
        if connection is not None and number is not None:
            deadline = monotonic() + timeout
            request(connection, Session.unregister, number, deadline=deadline)

    def retake(self, timeout: float = PATIENCE) -> bool:
        """Get it again after :meth:`release`, unless another session holds it by now.

        :raises WAMPError: The session ended, or the router does not answer.
        """
        connection = self._connection
        if connection is None:
            raise NotJoined("the session has ended")
        deadline = monotonic() + timeout
        answer = request(
            connection, Session.register, *self._registering(connection), deadline=deadline
        )
        if isinstance(answer, m.Registered):
            self._id = answer.registration_id
        return self.held

    def give_back(self) -> None:
        """Release it because this process cannot do what it is for, and ask for it again after a pause.

        Another process gets it meanwhile. The pause is doubled each time until :meth:`keep` is called.
        """
        pause = min(GIVEN_BACK_MAX, PAUSE_MAX * 2.0 ** min(self._given_back, 10))
        self._given_back += 1
        self._not_before = monotonic() + pause * random.uniform(1.0, 1.5)
        connection, number = self._let_go(wanted=self._wanted)
        if connection is not None and number is not None:
            with contextlib.suppress(NotJoined):
                connection.put(Session.unregister, number, CallbackTicket(nothing))
        self._peer.call_at(self._not_before, self.ask)

    def keep(self) -> None:
        """Note that this process does what the lease is for: the next pause is the first one again."""
        self._given_back = 0

    def stop_asking(self, timeout: float) -> bool:
        """Stop asking for it; wait until the callbacks of what has happened have returned.

        Starts no thread: from Python 3.12 on, none can be started at the end of the interpreter.
        """
        with self._callbacks_done:
            self._wanted = False
            return self._callbacks_done.wait_for(lambda: not self._active_callbacks, timeout)

    def _call_back(self, callback: t.Callable[[], object]) -> None:
        """Have a callback called on a worker, after those before it."""
        if callback is nothing:
            return
        with self._lock:
            self._active_callbacks += 1
        self._callbacks.submit(functools.partial(self._run_callback, callback))

    def _run_callback(self, callback: t.Callable[[], object]) -> None:
        try:
            callback()
        finally:
            with self._callbacks_done:
                self._active_callbacks -= 1
                self._callbacks_done.notify_all()

    # What happens. The reader and the timer call these methods, so none of them waits.

    def joined(self, connection: Connection) -> None:
        """Take note of a new session, and ask for the lease in it."""
        with self._lock:
            self._connection = connection
            self._asking = False
        if self._on_told is not None:
            topic = Subscription(self.uri, unused, options={})
            topic.take = self._told
            with contextlib.suppress(NotJoined):
                connection.put(Session.subscribe, self.uri, {}, topic, CallbackTicket(nothing))
        self.ask()

    def lost(self) -> None:
        """Take note that the session has ended, and the lease with it."""
        self._let_go(wanted=self._wanted, lost=True)

    def deleted(self, registration_id: int) -> None:
        """Ask at once if the registration that has gone was the holder's, or may have been."""
        if self._others in (None, registration_id):
            self._others = None
            self.ask()

    def ask(self) -> None:
        """Ask for the lease."""
        with self._lock:
            connection = self._connection
            if connection is None or self._asking or self.held or not self._wanted:
                return
            if monotonic() < self._not_before:
                return  # give_back() has set a timer
            self._asking = True
        ticket = CallbackTicket(functools.partial(self._answered, connection))
        try:
            connection.put(Session.register, *self._registering(connection), ticket)
        except NotJoined:  # the next session asks
            with self._lock:
                if self._connection is connection:
                    self._asking = False

    def _registering(self, connection: Connection) -> tuple[str, m.Details, Registration]:
        registration = Registration(self.uri, self._answer)
        registration.revoked = functools.partial(self._revoked, connection)
        return self.uri, {"invoke": "single"}, registration

    def _answered(self, connection: Connection, message: object) -> None:
        registered = message.registration_id if isinstance(message, m.Registered) else None
        error = message if isinstance(message, m.Error) else None
        with self._lock:
            if connection is not self._connection:
                return
            self._asking = False
            self.taken = error is not None and error.error == error_uris.PROCEDURE_ALREADY_EXISTS
            if self._wanted:
                self._id = registered
        if error is not None:
            self._refused(connection, error)
        elif self.held:
            self._call_back(self._on_acquired)
        elif registered is not None:  # it was released meanwhile
            with contextlib.suppress(NotJoined):
                connection.put(Session.unregister, registered, CallbackTicket(nothing))

    def _refused(self, connection: Connection, message: m.Error) -> None:
        self._try_again()
        if not self.taken:
            logger.warning(
                "cannot have the lease %s: %s %s", self.uri, message.error, message.readable_args
            )
            return
        if self._others is not None:
            return
        with contextlib.suppress(NotJoined):
            if connection.session.features.has_registration_meta_api:
                connection.put(_call, LOOKUP, [self.uri], CallbackTicket(self._looked_up))
            if self._on_told is not None:
                question, _ = payload(
                    connection.transport, self._signer.sign_now(f"{self.uri}:ask", None), {}
                )
                connection.put(_call, self.uri, question, CallbackTicket(self._answered_by_holder))

    def _looked_up(self, message: object) -> None:
        """Note which registration to watch."""
        found = message.readable_args if isinstance(message, m.Result) else ()
        if found and type(found[0]) is int:
            self._others = found[0]

    def _let_go(self, wanted: bool, *, lost: bool = False) -> tuple[Connection | None, int | None]:
        # In one step: ask() must not see the old connection with _asking reset, for nothing would answer it.
        with self._lock:
            self._wanted = wanted
            number, self._id = self._id, None
            self._asking = self.taken = False
            self._others = None
            connection = self._connection
            if lost:
                self._connection = None
        if number is not None:
            self._call_back(self._on_lost)
        return connection, number

    def _revoked(self, connection: Connection) -> None:
        if connection is self._connection:
            self._let_go(self._wanted)
            self._try_again()

    # What the holder says.

    def _answer(self, work: ActiveMessage) -> Outcome:
        """Answer which session holds the lease, and tell processes of the app its state."""
        who: LeaseState = {"session": self._peer.session_id}
        if self._is_own(work):
            state = self._signer.sign_now(f"{self.uri}:state", self._state())
            return Success([work.plain(who), *(work.plain(part) for part in state)])
        return Success([work.plain(who)])

    def _is_own(self, work: ActiveMessage) -> bool:
        """Whether the caller is a process of the app."""
        try:
            self._signer.read_recent(f"{self.uri}:ask", work.message.args)
        except InvalidPayload:
            return False
        return True

    def _answered_by_holder(self, message: object) -> None:
        if isinstance(message, m.Result):
            self._hear(message.readable_args[1:])

    def _told(self, event: m.Event) -> bool:
        self._hear(event.readable_args)
        return True

    def _hear(self, message: t.Sequence[object]) -> None:
        on_told = self._on_told
        if on_told is None or self.held:
            return
        try:
            state = self._signer.read_recent(f"{self.uri}:state", message)
        except InvalidPayload as error:
            logger.debug("a message to %s is ignored: %s", self.uri, error)
            return
        if isinstance(state, dict):
            self._call_back(functools.partial(on_told, state))


def unused(work: ActiveMessage) -> bool:
    """Stand in for the handler of a subscription whose events the reader takes."""
    raise AssertionError("the reader takes these events")


def _call(
    session: Session, procedure: str, args: t.Sequence[object], ticket: CallbackTicket
) -> int:
    return session.call(procedure, args, {}, {}, ticket)
