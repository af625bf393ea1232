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
import socket
import threading
import time
import typing as t

from .._text import get_logger
from ..concurrency.serial_queue import SerialQueue
from ..concurrency.timer import TimerHandle
from ..exceptions import NotJoined
from ..peer.connection import Connection
from ..peer.declarations import Outcome, Registration, Result, Subscription, Work
from ..peer.listeners import Host
from ..peer.requests import request
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.uris import LOOKUP

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


def _nothing(*args: t.Any) -> None:
    """What a lease does when nobody wants to know."""


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
    :param state: What the holder answers when it is asked.
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
    ) -> None:
        self.uri = uri
        self.taken = False
        """Whether the router said that another session has it."""
        self._peer = peer
        self._on_acquired = on_acquired
        self._on_lost = on_lost
        self._on_told = on_told
        self._state = state
        self._lock = threading.Lock()
        self._callbacks = SerialQueue(peer.pool, 1, peer.settings.event_queue)
        self._wanted = True
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
            with contextlib.suppress(NotJoined):
                connection.put(Session.publish, self.uri, [state], {}, {})

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
        answer = request(connection, *self._registering(connection), deadline=deadline)
        if isinstance(answer, m.Registered):
            self._id = answer.registration_id
        return self.held

    def stop_asking(self, timeout: float) -> bool:
        """Keep it, or not get it any more; wait until the callbacks of what has happened returned."""
        with self._lock:
            self._wanted = False
        done = threading.Event()
        self._callbacks.submit(done.set)
        return done.wait(timeout)

    # What happens. None of this waits: the reader and the timer call it.

    def joined(self, connection: Connection) -> None:
        """There is a session: try to get it."""
        self._connection = connection
        if self._on_told is not None:
            topic = Subscription(self.uri, _unused, options={})
            topic.take = self._told
            with contextlib.suppress(NotJoined):
                connection.put(Session.subscribe, self.uri, {}, topic, Ticket(_nothing))
        self.ask()

    def lost(self) -> None:
        """The session has ended, and the lease with it."""
        self._let_go(wanted=self._wanted)
        self._connection = None

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
            self._asking = True
        with contextlib.suppress(NotJoined):  # lost() follows
            ticket = Ticket(functools.partial(self._answered, connection))
            connection.put(*self._registering(connection), ticket)

    def _registering(self, connection: Connection) -> tuple[t.Any, ...]:
        registration = Registration(self.uri, self._answer)
        registration.revoked = functools.partial(self._revoked, connection)
        return Session.register, self.uri, {"invoke": "single"}, registration

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
            self._callbacks.submit(self._on_acquired)
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
                connection.put(_call, self.uri, [], Ticket(self._answered_by_holder))

    def _looked_up(self, message: t.Any) -> None:
        """Now we know whose end to watch for."""
        if (
            isinstance(message, m.Result)
            and message.readable_args
            and isinstance(message.readable_args[0], int)
        ):
            self._others = message.readable_args[0]

    def _let_go(self, wanted: bool) -> tuple[Connection | None, int | None]:
        with self._lock:
            self._wanted = wanted
            number, self._id = self._id, None
            self._asking = self.taken = False
            self._others = None
        if number is not None:
            self._callbacks.submit(self._on_lost)
        return self._connection, number

    def _revoked(self, connection: Connection) -> None:
        if connection is self._connection:
            self._let_go(self._wanted)
            Leases.of(self._peer).try_again()

    # What the holder says.

    def _answer(self, work: Work) -> Outcome:
        """The procedure: who has it."""
        who = {"session": self._peer.session_id, "pid": self._peer.pid}
        answer = {**who, "host": socket.gethostname(), "state": self._state()}
        return Result([work.plain(answer)])

    def _answered_by_holder(self, message: t.Any) -> None:
        if (
            isinstance(message, m.Result)
            and message.readable_args
            and isinstance(message.readable_args[0], dict)
        ):
            self._hear(message.readable_args[0].get("state"))

    def _told(self, event: m.Event) -> bool:
        self._hear(event.readable_args[0] if event.readable_args else None)
        return True

    def _hear(self, state: t.Any) -> None:
        if isinstance(state, dict) and self._on_told is not None and not self.held:
            self._callbacks.submit(functools.partial(self._on_told, state))


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
