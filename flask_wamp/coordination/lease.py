"""A lease: what one process of an app has at a time, and another takes over when it is gone.

It is a registration with ``invoke="single"``: the router gives it to one session, refuses it to all
others, and frees it when that session ends. Who was refused tries again every second or two, and where
the ``wamp.`` meta API is permitted, at once when the router says that the registration is gone.

**What it cannot do.** The router decides, so as far as it can tell there are never two holders. A holder
that is cut off from the router does not know it at once: the router drops its session, and gives the
lease to another, when its own pings are not answered; the old holder finds out at its next heartbeat
(``WAMP_HEARTBEAT``), or when a send fails. For so long two processes may believe that they hold it. The
same goes for a process that was suspended, and for a cluster of routers that lost each other, where each
part has a holder of its own.

Source: WAMP Advanced Profile, "Registration Meta API" and "Shared Registration".
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import time
import typing as t

from .._text import get_logger
from ..concurrency.serial_queue import SerialQueue
from ..concurrency.timer import TimerHandle
from ..exceptions import InvalidPayload, NotJoined, WAMPError
from ..peer.connection import Connection, payload
from ..peer.declarations import Outcome, Registration, Result, Subscription, Work
from ..peer.listeners import Host
from ..peer.requests import request
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.uris import LOOKUP
from .signing import Signer

logger = get_logger("flask_wamp.lease")

#: Says that a session has lost a registration. Not ``on_delete``: when a session is lost, Crossbar 26.10
#: publishes that for all its registrations or for none, as the one it looks at last has other callees or
#: not (``_publish`` in ``Dealer.detach`` is called when the loop around it has ended).
ON_UNREGISTER = "wamp.registration.on_unregister"


#: The shortest and the longest pause between two tries, in seconds.
PAUSE_MIN, PAUSE_MAX = 0.8, 1.6

#: How long the router may take to answer, where somebody waits for it.
PATIENCE = 2.0

State = dict[str, t.Any]


#: The longest pause before a process tries again that could not use the lease, see :meth:`Lease.give_back`.
GIVEN_BACK_MAX = 30.0


def _nothing(*args: t.Any) -> None:
    """Stands in for a callback that was not given."""


class Ticket:
    """The ticket of a request: calls a function with the message that answers, if one does."""

    __slots__ = ("_function",)

    def __init__(self, function: t.Callable[[t.Any], object]) -> None:
        self._function = function

    def resolve(self, message: t.Any) -> None:
        """Called by the reader; the function must not wait."""
        self._function(message)

    def fail(self, error: BaseException) -> None:
        """The session ended; whoever has to know is told otherwise."""


class Lease:
    """One lease of one process.

    :param on_acquired: Called on a worker when this process has got it.
    :param on_lost: Called on a worker when it has it no more, whatever the reason. These two and
        ``on_told`` are called one after another, in order.
    :param on_told: Called on a worker, in processes that have not got it, with what the holder says: its
        ``state`` after this process was refused, and what it gives to :meth:`tell`.
    :param state: What the holder answers when another process of the app asks it.
    :param signer: Signs what the processes tell each other.
    """

    def __init__(
        self,
        peer: Host,
        uri: str,
        *,
        on_acquired: t.Callable[[], object] = _nothing,
        on_lost: t.Callable[[], object] = _nothing,
        on_told: t.Callable[[State], object] | None = None,
        state: t.Callable[[], State] = dict,
        signer: Signer | None = None,
    ) -> None:
        self.uri = uri
        self._signer = signer or Signer()
        self.taken = False
        """Whether the router said that another session has it."""
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
        """The registration id of who has it, where we may know."""

    @property
    def held(self) -> bool:
        """Whether this process has it. False as soon as its session is lost."""
        return self._id is not None

    def tell(self, state: State) -> None:
        """Have ``on_told`` called in the other processes, where publishing is permitted."""
        connection = self._connection
        if connection is not None and self.held:
            message = self._signer.sign_now(f"{self.uri}:state", state)
            with contextlib.suppress(WAMPError):
                args, _ = payload(connection.transport, message, {})
                connection.put(Session.publish, self.uri, args, {}, {})

    def release(self, timeout: float = PATIENCE) -> None:
        """Let go of it for good; returns when the router has freed it.

        :raises WAMPError: The session ended, or the router does not answer.
        """
        connection, number = self._let_go(wanted=False)
        if connection is not None and number is not None:
            deadline = time.monotonic() + timeout
            request(connection, Session.unregister, number, deadline=deadline)

    def retake(self, timeout: float = PATIENCE) -> bool:
        """After :meth:`release`: have it once more, unless another session has it by now.

        :raises WAMPError: The session ended, or the router does not answer.
        """
        connection = self._connection
        if connection is None:
            raise NotJoined("the session has ended")
        deadline = time.monotonic() + timeout
        answer = request(
            connection, Session.register, *self._registering(connection), deadline=deadline
        )
        if isinstance(answer, m.Registered):
            self._id = answer.registration_id
        return self.held

    def give_back(self) -> None:
        """Let go of it, because this process cannot do what it is for; want it again after a pause.

        Another process gets it meanwhile. The pause is doubled each time, see :meth:`keep`.
        """
        pause = min(GIVEN_BACK_MAX, PAUSE_MAX * 2.0 ** min(self._given_back, 10))
        self._given_back += 1
        self._not_before = time.monotonic() + pause * random.uniform(1.0, 1.5)
        connection, number = self._let_go(wanted=self._wanted)
        if connection is not None and number is not None:
            with contextlib.suppress(NotJoined):
                connection.put(Session.unregister, number, Ticket(_nothing))
        self._peer.call_at(self._not_before, self.ask)

    def keep(self) -> None:
        """Note that this process does what it is for: the next :meth:`give_back` is the first again."""
        self._given_back = 0

    def stop_asking(self, timeout: float) -> bool:
        """Keep it, or never get it; wait until the callbacks of what has happened returned.

        Starts no thread: where the interpreter is about to end, Python 3.12 and later have none to give.
        """
        with self._callbacks_done:
            self._wanted = False
            return self._callbacks_done.wait_for(lambda: not self._active_callbacks, timeout)

    def _call_back(self, callback: t.Callable[[], object]) -> None:
        """Have a callback called on a worker, after those before it."""
        if callback is _nothing:
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

    # What happens. None of this waits: the reader and the timer call it.

    def joined(self, connection: Connection) -> None:
        """There is a session: try to get it."""
        with self._lock:
            self._connection = connection
            self._asking = False
        if self._on_told is not None:
            topic = Subscription(self.uri, _unused, options={})
            topic.take = self._told
            with contextlib.suppress(NotJoined):
                connection.put(Session.subscribe, self.uri, {}, topic, Ticket(_nothing))
        self.ask()

    def lost(self) -> None:
        """The session has ended, and the lease with it."""
        self._let_go(wanted=self._wanted, lost=True)

    def deleted(self, registration_id: int) -> None:
        """Some registration is gone: try at once, if it was that of who has it."""
        if self._others in (None, registration_id):
            self._others = None
            self.ask()

    def ask(self) -> None:
        """Try to get it."""
        with self._lock:
            connection = self._connection
            if connection is None or self._asking or self.held or not self._wanted:
                return
            if time.monotonic() < self._not_before:
                return  # give_back() has set a timer
            self._asking = True
        ticket = Ticket(functools.partial(self._answered, connection))
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

    def _answered(self, connection: Connection, message: t.Any) -> None:
        with self._lock:
            if connection is not self._connection:
                return
            self._asking = False
            refused = isinstance(message, m.Error)
            self.taken = refused and message.error == error_uris.PROCEDURE_ALREADY_EXISTS
            if not refused and self._wanted:
                self._id = message.registration_id
        if refused:
            self._refused(connection, message)
        elif self.held:
            self._call_back(self._on_acquired)
        else:  # it was released meanwhile
            with contextlib.suppress(NotJoined):
                connection.put(Session.unregister, message.registration_id, Ticket(_nothing))

    def _refused(self, connection: Connection, message: m.Error) -> None:
        Leases.of(self._peer).try_again()
        if not self.taken:
            logger.warning(
                "cannot have the lease %s: %s %s", self.uri, message.error, message.readable_args
            )
            return
        if self._others is not None:
            return
        with contextlib.suppress(NotJoined):
            connection.put(_call, LOOKUP, [self.uri], Ticket(self._looked_up))
            if self._on_told is not None:
                question, _ = payload(
                    connection.transport, self._signer.sign_now(f"{self.uri}:ask", None), {}
                )
                connection.put(_call, self.uri, question, Ticket(self._answered_by_holder))

    def _looked_up(self, message: t.Any) -> None:
        """Now we know whose end to watch for."""
        if (
            isinstance(message, m.Result)
            and message.readable_args
            and isinstance(message.readable_args[0], int)
        ):
            self._others = message.readable_args[0]

    def _let_go(self, wanted: bool, *, lost: bool = False) -> tuple[Connection | None, int | None]:
        # All in one step: a session that is gone must not be asked in between, for nothing would answer.
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
            Leases.of(self._peer).try_again()

    # What the holder says.

    def _answer(self, work: Work) -> Outcome:
        """The procedure: says which session has it, and its state to processes of the app."""
        who: dict[str, t.Any] = {"session": self._peer.session_id}
        if self._is_own(work):
            state = self._signer.sign_now(f"{self.uri}:state", self._state())
            return Result([work.plain(who), *(work.plain(part) for part in state)])
        return Result([work.plain(who)])

    def _is_own(self, work: Work) -> bool:
        """Whether a process of the app asks."""
        try:
            self._signer.read_recent(f"{self.uri}:ask", work.message.args)
        except InvalidPayload:
            return False
        return True

    def _answered_by_holder(self, message: t.Any) -> None:
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


def _unused(work: Work) -> bool:
    raise AssertionError("an event that is taken has no handler")


def _call(session: Session, procedure: str, args: t.Sequence[t.Any], ticket: Ticket) -> int:
    return session.call(procedure, args, {}, {}, ticket)


class Leases:
    """The leases of one process, and its watch for registrations that are gone."""

    def __init__(self, peer: Host) -> None:
        self._peer = peer
        self._leases: list[Lease] = []
        self._connection: Connection | None = None
        self._watched: Connection | None = None
        self._lock = threading.Lock()
        self._alarm: TimerHandle | None = None

    @classmethod
    def of(cls, peer: Host) -> Leases:
        """Return the leases of a process that has started."""
        return t.cast(Leases, peer.listener(cls))

    def add(self, uri: str, **callbacks: t.Any) -> Lease:
        """Make a lease, and begin to want it. Takes what :class:`Lease` takes."""
        lease = Lease(self._peer, uri, **callbacks)
        self._leases.append(lease)
        if self._connection is not None:
            self._joined(lease, self._connection)
        return lease

    def remove(self, lease: Lease) -> None:
        """Forget a lease that was released."""
        self._leases.remove(lease)

    def try_again(self) -> None:
        """Have those that are not held tried later, all at once; when, no two processes agree."""
        with self._lock:
            if self._alarm is None:
                at = time.monotonic() + random.uniform(PAUSE_MIN, PAUSE_MAX)
                self._alarm = self._peer.call_at(at, self._ask_all)

    def _ask_all(self) -> None:
        with self._lock:
            self._alarm = None
        for lease in list(self._leases):
            lease.ask()

    def joined(self, connection: Connection) -> None:
        """There is a session: try to get them all."""
        self._connection = connection
        for lease in list(self._leases):
            self._joined(lease, connection)

    def lost(self) -> None:
        """The session has ended, and they with it."""
        self._connection = None
        for lease in list(self._leases):
            lease.lost()

    def leave(self, deadline: float) -> None:
        """Each was released by who asked for it."""

    def _joined(self, lease: Lease, connection: Connection) -> None:
        if self._watched is not connection:
            self._watched = connection
            topic = Subscription(ON_UNREGISTER, _unused)
            topic.take = self._deleted
            with contextlib.suppress(NotJoined):  # where it is not permitted: no matter
                connection.put(Session.subscribe, ON_UNREGISTER, {}, topic, Ticket(_nothing))
        lease.joined(connection)

    def _deleted(self, event: m.Event) -> bool:
        if len(event.readable_args) > 1:
            for lease in list(self._leases):
                lease.deleted(event.readable_args[1])
        return True
