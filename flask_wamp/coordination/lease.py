"""Leases. One process of an app holds a lease at a time. When it ends, another process gets the lease.

A lease is a registration with ``invoke="single"``. The router accepts it from one session, refuses it to all
others, and frees it when that session ends. A process that was refused retries every 0.8 to 1.6 seconds. It
also retries at once when the router publishes that the registration is gone. That requires a router with the
registration meta API, and permission to use it.

**A lease has limits.** The router never accepts two holders. But a holder that is cut off from the router
does not notice that at once. The router ends its session if its pings are not answered, and another process
gets the lease. The old holder notices that at its next heartbeat (``WAMP_HEARTBEAT``), or when it cannot
send. Until then, two processes may believe that they hold the lease. The same is true if a process was
suspended. If a cluster of routers is split, each part has a holder.

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

#: Seconds that a thread waits for an answer of the router.
PATIENCE = 2.0

LeaseState = dict[str, object]


#: The longest pause, in seconds, after a process has given a lease back, see :meth:`Lease.give_back`.
GIVEN_BACK_MAX = 30.0


def nothing(*args: object) -> None:
    """Do nothing. This is the default for callbacks."""


class CallbackTicket:
    """The ticket of a request that no thread waits for. It calls a function with the answer."""

    __slots__ = ("_function",)

    def __init__(self, function: t.Callable[[object], object]) -> None:
        self._function = function

    def resolve(self, message: object) -> None:
        """Call the function with the answer. The reader calls this, so the function must not wait."""
        self._function(message)

    def fail(self, error: BaseException) -> None:
        """Do nothing, because listeners are notified of the end of the session anyway."""


class Lease:
    """One lease of one process.

    Make it with :meth:`.leases.Leases.add`. Callbacks run on workers, one after another and in order.

    :param on_acquired: Called when this process has acquired the lease.
    :param on_lost: Called when this process does not hold the lease any more, for any reason.
    :param on_state: Called in processes that do not hold the lease, with the state that the holder has passed
        to :meth:`share_state`. It is also called with the holder's ``state()`` when this process was refused.
    :param state: Returns the state that the holder sends to other processes of the app that ask for it.
    :param signer: Signs the messages between the processes of the app.
    :param retry_later: Schedules a call of :meth:`ask` after a pause.
    """

    def __init__(
        self,
        peer: PeerInterface,
        uri: str,
        *,
        on_acquired: t.Callable[[], object] = nothing,
        on_lost: t.Callable[[], object] = nothing,
        on_state: t.Callable[[LeaseState], object] | None = None,
        state: t.Callable[[], LeaseState] = dict,
        signer: Signer | None = None,
        retry_later: t.Callable[[], object] = nothing,
    ) -> None:
        self.uri = uri
        self._retry_later = retry_later
        self._signer = signer or Signer()
        self.held_elsewhere = False
        """Whether another session holds the lease, according to the router."""
        self._peer = peer
        self._on_acquired = on_acquired
        self._on_lost = on_lost
        self._on_state = on_state
        self._state = state
        self._lock = threading.Lock()
        self._callbacks = SerialQueue(peer.pool, 1, peer.settings.event_queue)
        self._active_callbacks = 0
        self._callbacks_done = threading.Condition(self._lock)
        self._wanted = True
        self._not_before = 0.0
        """The ``time.monotonic()`` before which this process does not ask for the lease again."""
        self._given_back = 0
        """How many times in a row the lease was given back."""
        self._connection: Connection | None = None
        self._asking = False
        self._id: int | None = None
        self._holder: int | None = None
        """The registration id of the holder. None if it is unknown."""

    @property
    def held(self) -> bool:
        """Whether this process holds the lease. False as soon as its session is lost."""
        return self._id is not None

    def share_state(self, state: LeaseState) -> None:
        """Publish a state, so that ``on_state`` is called in the other processes."""
        connection = self._connection
        if connection is not None and self.held:
            message = self._signer.sign_now(f"{self.uri}:state", state)
            with contextlib.suppress(WAMPError):
                args, _ = payload(connection.transport, message, {})
                connection.put(Session.publish, self.uri, args, {}, {})

    def release(self, timeout: float = PATIENCE) -> None:
        """Release the lease and do not ask for it again. Return when the router has freed it.

        :raises WAMPError: The session has ended, or the router does not answer.
        """
        connection, number = self._release(wanted=False)
        if connection is not None and number is not None:
            deadline = monotonic() + timeout
            request(connection, Session.unregister, number, deadline=deadline)

    def reacquire(self, timeout: float = PATIENCE) -> bool:
        """Acquire the lease again after :meth:`release`. Return False if another session holds it now.

        :raises WAMPError: The session has ended, or the router does not answer.
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
        """Release the lease, because this process cannot use it, and ask for it again after a pause.

        Another process may acquire it meanwhile. The pause is doubled each time, until :meth:`confirm` is
        called.
        """
        pause = min(GIVEN_BACK_MAX, PAUSE_MAX * 2.0 ** min(self._given_back, 10))
        self._given_back += 1
        self._not_before = monotonic() + pause * random.uniform(1.0, 1.5)
        connection, number = self._release(wanted=self._wanted)
        if connection is not None and number is not None:
            with contextlib.suppress(NotJoined):
                connection.put(Session.unregister, number, CallbackTicket(nothing))
        self._peer.call_at(self._not_before, self.ask)

    def confirm(self) -> None:
        """Confirm that this process can use the lease. This resets the pause of :meth:`give_back`."""
        self._given_back = 0

    def stop_asking(self, timeout: float) -> bool:
        """Stop asking for the lease, and wait until all pending callbacks have returned.

        This starts no thread, because from Python 3.12 on, none can be started while the interpreter ends.

        :returns: Whether all callbacks have returned in time.
        """
        with self._callbacks_done:
            self._wanted = False
            return self._callbacks_done.wait_for(lambda: not self._active_callbacks, timeout)

    def _count(self, callback: t.Callable[[], object]) -> bool:
        """Let :meth:`stop_asking` wait for a callback. Return False if there is none.

        Count the callback while you still hold the lock under which you changed the state that it reports.
        Otherwise, :meth:`stop_asking` could return in between. Requires the lock.
        """
        assert self._lock.locked()
        if callback is nothing:
            return False
        self._active_callbacks += 1
        return True

    def _call_back(self, callback: t.Callable[[], object]) -> None:
        """Call a callback that :meth:`_count` has counted, on a worker and after the previous callbacks."""
        self._callbacks.submit(functools.partial(self._run_callback, callback))

    def _run_callback(self, callback: t.Callable[[], object]) -> None:
        try:
            callback()
        finally:
            with self._callbacks_done:
                self._active_callbacks -= 1
                self._callbacks_done.notify_all()

    # Events. The reader and the timer call these methods, so they must not wait.

    def joined(self, connection: Connection) -> None:
        """Ask for the lease in a new session."""
        with self._lock:
            self._connection = connection
            self._asking = False
        if self._on_state is not None:
            topic = Subscription(self.uri, unused, options={})
            topic.take = self._on_event
            with contextlib.suppress(NotJoined):
                connection.put(Session.subscribe, self.uri, {}, topic, CallbackTicket(nothing))
        self.ask()

    def lost(self) -> None:
        """Lose the lease, because the session has ended."""
        self._release(wanted=self._wanted, lost=True)

    def deleted(self, registration_id: int) -> None:
        """Ask for the lease at once if the registration that is gone may have been the holder's."""
        if self._holder in (None, registration_id):
            self._holder = None
            self.ask()

    def ask(self) -> None:
        """Ask for the lease, unless this process holds it, is asking, or does not want it."""
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
            self.held_elsewhere = (
                error is not None and error.error == error_uris.PROCEDURE_ALREADY_EXISTS
            )
            acquired = self._wanted and registered is not None
            if self._wanted:
                self._id = registered
            counted = acquired and self._count(self._on_acquired)
        if error is not None:
            self._refused(connection, error)
        elif acquired:
            if counted:
                self._call_back(self._on_acquired)
        elif registered is not None:  # release() was called in the meantime
            with contextlib.suppress(NotJoined):
                connection.put(Session.unregister, registered, CallbackTicket(nothing))

    def _refused(self, connection: Connection, message: m.Error) -> None:
        self._retry_later()
        if not self.held_elsewhere:
            logger.warning(
                "cannot acquire the lease %s: %s %s", self.uri, message.error, message.readable_args
            )
            return
        if self._holder is not None:
            return
        with contextlib.suppress(NotJoined):
            if connection.session.features.has_registration_meta_api:
                connection.put(_call, LOOKUP, [self.uri], CallbackTicket(self._looked_up))
            if self._on_state is not None:
                question, _ = payload(
                    connection.transport, self._signer.sign_now(f"{self.uri}:ask", None), {}
                )
                connection.put(_call, self.uri, question, CallbackTicket(self._answered_by_holder))

    def _looked_up(self, message: object) -> None:
        """Store the registration id of the holder."""
        found = message.readable_args if isinstance(message, m.Result) else ()
        if found and type(found[0]) is int:
            self._holder = found[0]

    def _release(self, wanted: bool, *, lost: bool = False) -> tuple[Connection | None, int | None]:
        # All of this is one step. Otherwise ask() could use the old connection, which never answers.
        with self._lock:
            self._wanted = wanted
            number, self._id = self._id, None
            self._asking = self.held_elsewhere = False
            self._holder = None
            connection = self._connection
            if lost:
                self._connection = None
            counted = number is not None and self._count(self._on_lost)
        if counted:
            self._call_back(self._on_lost)
        return connection, number

    def _revoked(self, connection: Connection) -> None:
        if connection is self._connection:
            self._release(self._wanted)
            self._retry_later()

    # The state of the holder.

    def _answer(self, work: ActiveMessage) -> Outcome:
        """Answer with the id of this session. Processes of the app also get the state."""
        who: LeaseState = {"session": self._peer.session_id}
        if self._is_own(work):
            state = self._signer.sign_now(f"{self.uri}:state", self._state())
            return Success([work.plain(who), *(work.plain(part) for part in state)])
        return Success([work.plain(who)])

    def _is_own(self, work: ActiveMessage) -> bool:
        """Return whether the caller is a process of the app."""
        try:
            self._signer.read_recent(f"{self.uri}:ask", work.message.args)
        except InvalidPayload:
            return False
        return True

    def _answered_by_holder(self, message: object) -> None:
        if isinstance(message, m.Result):
            self._read_state(message.readable_args[1:])

    def _on_event(self, event: m.Event) -> bool:
        self._read_state(event.readable_args)
        return True

    def _read_state(self, message: t.Sequence[object]) -> None:
        on_state = self._on_state
        if on_state is None or self.held:
            return
        try:
            state = self._signer.read_recent(f"{self.uri}:state", message)
        except InvalidPayload as error:
            logger.debug("a message to %s is ignored: %s", self.uri, error)
            return
        if isinstance(state, dict):
            callback = functools.partial(on_state, state)
            with self._lock:
                self._count(callback)
            self._call_back(callback)


def unused(work: ActiveMessage) -> bool:
    """Fail. This is the handler of subscriptions whose events are taken by the reader instead."""
    raise AssertionError("the reader should have taken this event")


def _call(
    session: Session, procedure: str, args: t.Sequence[object], ticket: CallbackTicket
) -> int:
    return session.call(procedure, args, {}, {}, ticket)
