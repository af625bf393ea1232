"""The sending side of a connection.

Any thread may send. Under one lock, the session allocates the request id and encodes the message. If no other
thread is sending, the thread then sends all unsent messages, including those of other threads. So under load,
one system call sends many answers. A single answer is sent at once.
"""

from __future__ import annotations

import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.guards import report
from ..concurrency.pool import Pool
from ..exceptions import NotJoined, SessionLost, WAMPError
from ..protocol.messages import Details
from ..protocol.session import Session
from ..protocol.session_states import SessionState
from ..transports import Transport

logger = get_logger("flask_wamp.connection")

T = t.TypeVar("T")
P = t.ParamSpec("P")

_OPEN = (SessionState.JOINED, SessionState.NEW)

MAX_BATCH = 64 * 1024
"""Bytes of unsent messages above which an answer is sent at once, even if more answers follow soon."""

MAX_UNSENT = 4 * 1024 * 1024
"""Bytes of unsent messages above which :meth:`Connection.ask` waits, so that a router that does not read
cannot fill the memory."""


class Sender:
    """The sending part of a connection. :class:`.Connection` adds the receiving part.

    Locks: ``_lock`` guards the session and the unsent messages, and nothing else. It is released before
    logging, callbacks and the transport's I/O.
    """

    def __init__(self, transport: Transport, session: Session, pool: Pool) -> None:
        self.transport = transport
        self.session = session
        self.pool = pool
        self._lock = threading.Lock()
        self._sent = threading.Condition(self._lock)
        self._held_up = 0
        """How many threads wait in :meth:`ask` because too much is unsent."""
        self._unsent = 0
        self._sending = False
        self._more_to_send = False
        """Whether the sending thread must call the transport again, because it has its own data to send."""
        self._closing = False
        self._nudge = threading.Event()
        self._error: Exception | None = None

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closing

    def close(self, error: Exception | None = None) -> None:
        """Close the transport.

        :param error: The reason that :meth:`.Connection.run` returns.
        """
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._error = error
            self._sent.notify_all()
        self._nudge.set()
        self.transport.close()

    # Messages of this peer.

    def ask(
        self, request: t.Callable[t.Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the session and send its messages: ``ask(Session.call, uri, ...)``.

        :raises NotJoined: The session is not joined.
        :raises SerializationError: The message cannot be encoded. Nothing was sent.
        """
        session = self.session
        with self._lock:
            if self._unsent > MAX_UNSENT and self._sending:
                self._wait_until_sent()
            self._check_open()
            result = request(session, *args, **kwargs)
            if self._sending:  # that thread sends this message too
                self._unsent += len(session.outgoing[-1]) if session.outgoing else 0
                return result
            batch = self._take_outgoing()
        self._send(batch)
        return result

    def answer(
        self,
        request: t.Callable[t.Concatenate[Session, P], bool],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> bool:
        """Do the same as :meth:`ask`, but hold the message back if more answers follow soon.

        One system call then sends them together. The thread with the last answer makes it, or the writer,
        whichever runs first.
        """
        if self.pool.queue.length and self._unsent < MAX_BATCH:
            session = self.session
            with self._lock:
                self._check_open()
                answered = request(session, *args, **kwargs)
                if session.outgoing:
                    self._unsent += len(session.outgoing[-1])
            # Wake the writer, unless another thread is about to send the message.
            if not (self.pool.is_watched or self._nudge.is_set()):
                self._nudge.set()
            return answered
        return self.ask(request, *args, **kwargs)

    def call(
        self,
        procedure: str,
        args: t.Sequence[object],
        kwargs: Details,
        options: Details,
        ticket: object,
    ) -> int:
        """Send CALL with any payload and return the request id. The ticket gets the answer.

        :raises NotJoined: The session is not joined.
        :raises SerializationError: The payload cannot be encoded. Nothing was sent.
        """
        args, kwargs = payload(self.transport, args, kwargs)
        return self.ask(Session.call, procedure, args, kwargs, options, ticket)

    def put(
        self, request: t.Callable[t.Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do the same as :meth:`ask`, for threads that must not wait. The writer sends the message."""
        with self._lock:
            self._check_open()
            result = request(self.session, *args, **kwargs)
        self._nudge.set()
        return result

    def send_soon(self) -> None:
        """Let the writer send what is unsent. Does not wait."""
        if self.session.outgoing:
            self._nudge.set()

    def ping(self) -> None:
        """Send a ping. Does not wait."""
        self.transport.ping()
        self._nudge.set()

    def _check_open(self) -> None:
        assert self._lock.locked()
        if self._closing or self.session.state not in _OPEN:
            raise NotJoined("the session has ended")

    # Sending.

    def _wait_until_sent(self) -> None:
        assert self._lock.locked()
        self._held_up += 1
        try:
            self._sent.wait_for(lambda: self._unsent <= MAX_UNSENT or self._closing)
        finally:
            self._held_up -= 1

    def _take_outgoing(self) -> list[bytes] | None:
        """Take all unsent messages for this thread to send. None if there are none.

        Other threads leave their messages to the thread that sends. So it checks for more under the lock
        before it stops.
        """
        assert self._lock.locked()
        session = self.session
        batch = session.outgoing
        if not (batch or self._more_to_send):
            self._sending = False
            return None
        self._sending, self._more_to_send = True, False
        session.outgoing = []
        self._unsent = 0
        return batch

    def _send(self, batch: list[bytes] | None) -> None:
        """Send the messages, and those that other threads add meanwhile."""
        try:
            while batch is not None:
                self.transport.send(batch)
                with self._lock:
                    batch = self._take_outgoing()
                    if self._held_up:
                        self._sent.notify_all()
        except WAMPError as error:
            self.close(error)
            self._stop_sending()
        except BaseException:
            self._stop_sending()
            self._nudge.set()  # this greenlet was interrupted while it sent, so the writer sends the rest
            raise

    def _stop_sending(self) -> None:
        with self._lock:
            self._sending = False

    def _send_rest(self) -> None:
        """Send all unsent messages, and the transport's own data: pongs, or the rest of a message."""
        with self._lock:
            if self._sending:
                self._more_to_send = True
                return
            if not (self.session.outgoing or self.transport.pending()):
                return
            self._more_to_send = True
            batch = self._take_outgoing()
        self._send(batch)

    def _write_for_reader(self) -> None:
        """Send the reader's messages, such as pongs and refusals, because the reader must not wait."""
        while True:
            self._nudge.wait()
            if self._closing:
                return
            self._nudge.clear()
            try:
                self._send_rest()
            except BaseException as error:  # a session without a writer is useless
                report(logger.exception, "the writer failed")
                self.close(SessionLost(f"the writer failed: {error!r}"))

    def _send_final_messages(self) -> None:
        """Send GOODBYE or ABORT, if the transport accepts it within half a second."""
        if not self._closing and (self.session.outgoing or self.transport.pending()):
            self.transport.settimeout(monotonic() + 0.5)
            self._send_rest()


def payload(
    transport: Transport, args: t.Sequence[object], kwargs: Details
) -> tuple[t.Sequence[object], Details]:
    """Return a payload as plain values for the transport's serializer.

    :raises SerializationError: It cannot be encoded.
    """
    plain = transport.serializer.plain
    return plain(args), plain(kwargs) if kwargs else kwargs
