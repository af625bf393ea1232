"""The router of ``memory:``, in this process. It has no socket, process or thread of its own.

Clients exchange bytes with it as with any router. The thread that sends a message also handles it. The
threads that wait for messages take care of timeouts.

Under gevent the locks are those of greenlets, because they are made when the first client connects.
"""

from __future__ import annotations

import collections
import os
import threading
import time
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.per_process import PerProcess
from ..exceptions import TransportError
from ..protocol.identity import Identity
from ..protocol.serializers import Buffer, get_serializer
from ..transports import OpenTransport, Transport
from ..transports.urls import RouterURL
from .authentication import JoinRequest
from .authorization import Authorizer
from .facts import TransportFacts
from .router import Router
from .settings import RouterSettings

#: The role of a client that names no identity: the app itself.
APP_ROLE = "trusted"


def believe(request: JoinRequest) -> Identity:
    """Let a client in with the identity that it claims, because no other process can reach the router."""
    return Identity(
        request.authid or "app", APP_ROLE, authmethod="anonymous", authprovider="memory"
    )


class MemoryRouter:
    """A router for the clients of one process. After a fork the child has an empty one.

    :param settings: Limits and policies.
    :param authorizer: Decides who may do what. It must not wait for the router.
    :param prepare: Called with the core before the first client connects.
    """

    def __init__(
        self,
        settings: RouterSettings | None = None,
        authorizer: Authorizer | None = None,
        prepare: t.Callable[[Router], object] = lambda core: None,
    ) -> None:
        self._settings = settings or RouterSettings()
        self._authorizer = authorizer
        self._prepare = prepare
        self._exchange = PerProcess(self._make_exchange)

    def open_transport(
        self,
        url: RouterURL,
        *,
        serializers: t.Sequence[str],
        max_message_size: int,
        **options: object,
    ) -> Transport:
        """Connect a client that joins as the app itself. See
        :func:`flask_wamp.transports.open_transport`."""
        return MemoryTransport(self._exchange(), serializers[0], max_message_size, None)

    def opener(self, identity: Identity) -> OpenTransport:
        """Return a function that connects clients which join with another identity."""

        def open_transport(
            url: RouterURL,
            *,
            serializers: t.Sequence[str],
            max_message_size: int,
            **options: object,
        ) -> Transport:
            return MemoryTransport(self._exchange(), serializers[0], max_message_size, identity)

        return open_transport

    def defer(self, job: t.Callable[[], object]) -> None:
        """Run a job with the core, after the job that runs now."""
        self._exchange().run(job)

    @property
    def handled(self) -> int:
        """The number of messages that the clients in this process have sent."""
        return self._exchange().handled

    def _make_exchange(self) -> _Exchange:
        exchange = _Exchange(self._settings, self._authorizer)
        self._prepare(exchange.core)
        return exchange


class _Exchange:
    """The router's core and the lock around it."""

    def __init__(self, settings: RouterSettings, authorizer: Authorizer | None) -> None:
        self.lock = threading.RLock()
        self.core = Router(
            settings,
            clock=monotonic,
            wall_clock=time.time_ns,
            authenticator=believe,
            authorizer=authorizer,
        )
        self.transports: set[MemoryTransport] = set()
        self.watched: float | None = None
        """The earliest deadline that a waiting thread knows of."""
        self.handled = 0
        """The number of messages that the clients have sent. Tests compare it to see whether any was sent."""
        self.overfull: list[MemoryTransport] = []
        self._jobs: collections.deque[t.Callable[[], object]] = collections.deque()
        self._is_running = False

    def run(self, job: t.Callable[[], object]) -> None:
        """Run a job with the core.

        If another job is running in this thread, as when a signal handler closes a connection, this one runs
        after it, because the core is not re-entrant.
        """
        with self.lock:
            self._jobs.append(job)
            if self._is_running:
                return
            self._is_running = True
            try:
                while self._jobs:
                    self._jobs.popleft()()
                    while self.overfull:
                        self.overfull.pop().report()
            finally:
                self._is_running = False
            self._look_at_deadline()

    def _look_at_deadline(self) -> None:
        """Wake a waiting thread if there is an earlier deadline now."""
        deadline = self.core.next_deadline
        if deadline is not None and (self.watched is None or deadline < self.watched):
            self.watched = deadline
            for transport in self.transports:
                transport.wake()


class MemoryTransport:
    """A client's end of a connection to a :class:`MemoryRouter`. See
    :class:`flask_wamp.transports.Transport`.

    :param identity: The identity of the client. None means the app itself.
    """

    has_ping = True
    stuck_since = None

    def __init__(
        self,
        exchange: _Exchange,
        serializer: str,
        max_message_size: int,
        identity: Identity | None,
    ) -> None:
        self.serializer = get_serializer(serializer)
        self.max_send_size = exchange.core.settings.max_message_size
        self._exchange = exchange
        self._pid = os.getpid()
        self._incoming: list[Buffer] = []
        self._unread = 0
        self._is_awake = False
        self._has_ended = False
        self._deadline: float | None = None
        self._changed = threading.Condition(exchange.lock)
        facts = TransportFacts(
            serializer,
            max_message_size,
            {"channel_framing": "memory", "peer": f"memory:{os.getpid()}", "is_secure": True},
            identity=identity,
        )
        with exchange.lock:
            exchange.transports.add(self)
            self._session = exchange.core.open(facts, send=self._take, close=self._end)

    # The client's side.

    def receive(self) -> list[Buffer] | None:
        """Wait for messages and return them. The list is empty after :meth:`ping`. None at the end.

        :raises TransportError: The deadline has passed.
        """
        exchange = self._exchange
        with exchange.lock:
            while not self._incoming and not self._has_ended and not self._is_awake:
                deadline = exchange.core.next_deadline
                now = monotonic()
                if self._deadline is not None and self._deadline <= now:
                    raise TransportError("the router did not answer in time")
                if deadline is not None and deadline <= now:
                    exchange.run(exchange.core.tick)
                    continue
                exchange.watched = deadline
                due = [each for each in (deadline, self._deadline) if each is not None]
                self._changed.wait(min(due) - now if due else None)
            messages, self._incoming = self._incoming, []
            self._is_awake = False
            self._unread = 0
            return messages or (None if self._has_ended else [])

    def ready(self) -> bool:
        """Return whether :meth:`receive` returns at once, for threads that do not wait in it.

        It handles the router's timeouts, as :meth:`receive` does.
        """
        exchange = self._exchange
        with exchange.lock:
            deadline = exchange.core.next_deadline
            if deadline is not None and deadline <= monotonic():
                exchange.run(exchange.core.tick)
            return bool(self._incoming) or self._has_ended

    def pending(self) -> bool:
        """Return False: :meth:`receive` never leaves something to send."""
        return False

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Let the router handle messages, in this thread.

        :raises TransportError: The connection has ended.
        """
        if self._has_ended:
            raise TransportError("the connection broke: the router has closed it")
        receive = self._session.receive

        def handle() -> None:
            self._exchange.handled += len(messages)
            for data in messages:
                receive(bytes(data))

        self._exchange.run(handle)

    def ping(self) -> None:
        """Let :meth:`receive` return. No more is needed, because the router is in this process."""
        with self._exchange.lock:
            self._is_awake = True
            self._changed.notify_all()

    def settimeout(self, deadline: float | None) -> None:
        """Let :meth:`receive` fail at this ``time.monotonic()``. None means never."""
        with self._exchange.lock:
            self._deadline = deadline
            self._changed.notify_all()

    def close(self) -> None:
        """Close the connection. A thread that is in :meth:`receive` returns at once."""
        if self._pid == os.getpid():  # else the lock is the parent's, and may be held forever
            self._exchange.run(self._lose)

    def forget(self) -> None:
        """Do nothing in a forked child, which has another router."""

    # The router's side. It holds the lock.

    def _take(self, data: bytes) -> None:
        if self._has_ended:
            return
        self._incoming.append(data)
        self._unread += len(data)
        if self._unread > self._exchange.core.settings.max_unsent:
            self._exchange.overfull.append(self)
        self._changed.notify()

    def _end(self, at_once: bool) -> None:
        if at_once:
            self._incoming = []
        self._has_ended = True
        self._exchange.transports.discard(self)
        self._changed.notify_all()

    def _lose(self) -> None:
        if not self._has_ended:
            self._end(True)
        self._session.lost()

    def report(self) -> None:
        """Report to the core how much the client has not read."""
        self._session.report_unsent(self._unread)

    def wake(self) -> None:
        """Let the waiting thread check the deadlines again."""
        self._changed.notify()
