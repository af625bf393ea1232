"""One connection to a router, and the session on it.

The reader takes in what the router sends. Any thread may ask for something: under one lock the request id is
allocated and the message encoded. Whoever finds no other thread sending sends all messages that wait,
those of other threads too. So many answers leave in one system call under load, and a single one leaves at
once.
"""

from __future__ import annotations

import functools
import threading
import time
import typing as t

from .._text import get_logger
from ..concurrency.guards import report
from ..concurrency.pool import Pool
from ..concurrency.threads import is_monkey_patched, spawn
from ..exceptions import NotJoined, ProtocolError, SessionLost, TransportError, WAMPError
from ..protocol import error_uris
from ..protocol.messages import Details
from ..protocol.serializers import Buffer
from ..protocol.session import Session
from ..protocol.session_events import (
    Answered,
    Delivered,
    Happening,
    Ignored,
    Interrupted,
    Invoked,
    Joined,
    Left,
    Revoked,
)
from ..protocol.session_states import State
from ..transports import Transport
from .notes import Ids, Note, about, log_all, why_left

logger = get_logger("flask_wamp.connection")

T = t.TypeVar("T")
P = t.ParamSpec("P")

#: What a connection hands to its handler.
Event = Answered | Delivered | Interrupted | Invoked | Revoked

Read = t.Callable[[], "list[Event] | None"]
Handle = t.Callable[["list[Event]"], None]

#: Calls the first function, and the second with what that returned, until it returns None. The third sends
#: answers that were kept back for those after them.
ReadAll = t.Callable[[Read, Handle, t.Callable[[], None]], None]

MAX_BATCH = 64 * 1024
"""Bytes of unsent messages above which an answer is sent even if more answers are to come."""


MAX_UNSENT = 4 * 1024 * 1024
"""Bytes of unsent messages above which :meth:`Connection.ask` waits: a router that does not read must not
fill the memory."""

_OPEN = (State.JOINED, State.NEW)


class Cancelable(t.Protocol):
    """An invocation that is not answered yet."""

    canceled: bool

    def cancel(self) -> None:
        """End it: the caller does not want the answer any more. Must not wait."""


class Connection:
    """A transport with a session on it.

    Locks: ``_lock`` guards the session and what is unsent. Nothing but the session's state is touched under
    it: logging, callbacks and the transport's I/O come after it.

    :param max_receive_size: Bytes; a larger message is refused, not the session.
    :param on_events: Called by the reader with what has happened, in order; must not wait.
    :param pool: Where handlers run, and whose slots are released while a thread waits for an answer.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        max_receive_size: int,
        on_events: t.Callable[[Connection, list[Event]], None],
        pool: Pool,
    ) -> None:
        self.transport = transport
        self.session = session
        self.pool = pool
        self.in_greenlets = is_monkey_patched()
        """Whether handlers run in greenlets, which can be ended from outside."""
        self.last_received = time.monotonic()
        self.left: Left | None = None
        self.invocations: dict[int, Cancelable] = {}
        """Invocations that are not answered yet, by request id; :class:`.Serving` fills it."""
        self._max_receive_size = max_receive_size
        self._on_events = on_events
        self._lock = threading.Lock()
        self._sent = threading.Condition(self._lock)
        self._unsent = 0
        self._sending = False
        self._more_to_send = False
        """Whether the thread that sends must call the transport again, which has something to send itself."""
        self._closing = False
        self._nudge = threading.Event()
        self._error: Exception | None = None
        self.reading: int | None = None
        """The ident of the thread that read last."""
        self._early: list[Buffer] = []
        self._broken: Exception | None = None

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        return self._closing

    # Life.

    def join(self, deadline: float) -> Joined:
        """Say HELLO and wait for the answer; the reader's thread calls it.

        :raises NotJoined: The router said ABORT.
        :raises WAMPError: The connection broke, or the router's answer is not legal.
        """
        self.transport.settimeout(deadline)
        self.ask(Session.join)
        while True:
            messages = self.transport.receive()
            if messages is None:
                raise TransportError("the router closed the connection instead of answering HELLO")
            for at, data in enumerate(messages):
                # Without the lock: no other thread knows this connection yet, and CHALLENGE may lead to
                # an app's own code.
                notes: list[Note] = []
                event = self._receive(data, notes)
                if notes:
                    log_all(notes)
                self._send_rest()
                if isinstance(event, Left):
                    raise NotJoined(why_left(event), event.reason)
                if isinstance(event, Joined):
                    self.transport.settimeout(None)
                    self._early = messages[at + 1 :]
                    return event

    def run(self, read_all: ReadAll) -> Exception:
        """Take in what the router sends until the session ends; return why it did.

        :param read_all: Calls :meth:`_read`, and the handler with what it returns, until it returns None.
        """
        writer = spawn(self._write_for_reader, "wamp-writer")
        try:
            read_all(self._read, functools.partial(self._on_events, self), self.send_soon)
            assert self.left is not None
            reason: Exception = SessionLost(f"the router ended the session: {why_left(self.left)}")
        except ProtocolError as error:
            self._complain(error)
            reason = ProtocolError(f"the router broke the protocol: {error}")
        except WAMPError as error:
            reason = self._error or error
        finally:
            self._send_last_words()
            self.close()
            writer.join(1.0)
        return reason

    def close(self, error: Exception | None = None) -> None:
        """Close the transport; :meth:`run` returns, with this error as the reason if it is given."""
        with self._lock:
            if self._closing:
                return
            self._closing = True
            self._error = error
            self._sent.notify_all()
        self._nudge.set()
        self.transport.close()

    def abandon(self) -> list[t.Any]:
        """Return the tickets of all requests that wait for an answer, after the end."""
        with self._lock:
            return self.session.abandon()

    # What this peer says.

    def ask(
        self, request: t.Callable[t.Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Call a method of the session and send what it says: ``ask(Session.call, uri, ...)``.

        :raises NotJoined: The session is not joined, or not any more.
        :raises SerializationError: The message can't be encoded; nothing was sent.
        """
        session = self.session
        with self._lock:
            if self._unsent > MAX_UNSENT and self._sending:
                self._sent.wait_for(lambda: self._unsent <= MAX_UNSENT or self._closing)
            self._check_open()
            result = request(session, *args, **kwargs)
            if self._sending:  # that thread sends ours too
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
        """Do as :meth:`ask`, but keep the message back where more answers are to come at once.

        They leave together then, in one system call. The thread with the last answer sends them, or the
        writer does, as soon as it gets to run.
        """
        if self.pool.queue.length and self._unsent < MAX_BATCH:
            session = self.session
            with self._lock:
                self._check_open()
                answered = request(session, *args, **kwargs)
                self._unsent += len(session.outgoing[-1]) if session.outgoing else 0
            if not (
                self._nudge.is_set() or self.pool.is_watched
            ):  # else a thread is about to send it
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
        """CALL with any payload; return the request id. The ticket gets the answer.

        :raises NotJoined: The session is not joined, or not any more.
        :raises SerializationError: The payload can't be sent; nothing was.
        """
        args, kwargs = payload(self.transport, args, kwargs)
        return self.ask(Session.call, procedure, args, kwargs, options, ticket)

    def put(
        self, request: t.Callable[t.Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as :meth:`ask`, for threads that must never wait: the writer sends the message."""
        with self._lock:
            self._check_open()
            result = request(self.session, *args, **kwargs)
        self._nudge.set()
        return result

    def send_soon(self) -> None:
        """Have the writer send what is unsent. Does not wait."""
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

    def _take_outgoing(self) -> list[bytes] | None:
        """Take all unsent messages, for this thread to send. None: there are none, and no thread sends now.

        Whoever finds a thread sending leaves its messages to it: so this looks under the lock once more
        before it stops.
        """
        assert self._lock.locked()
        batch = self.session.outgoing
        self._sending = bool(batch) or self._more_to_send
        self._more_to_send = False
        if not self._sending:
            return None
        self.session.outgoing = []
        self._unsent = 0
        return batch

    def _send(self, batch: list[bytes] | None) -> None:
        """Send, and go on as long as other threads have left more."""
        try:
            while batch is not None:
                self.transport.send(batch)
                with self._lock:
                    batch = self._take_outgoing()
                    self._sent.notify_all()
        except WAMPError as error:
            self.close(error)
            self._stop_sending()
        except BaseException:
            self._stop_sending()
            self._nudge.set()  # a greenlet was ended while it sent: the writer sends the rest
            raise

    def _stop_sending(self) -> None:
        with self._lock:
            self._sending = False

    def _send_rest(self) -> None:
        """Send what is unsent, and what the transport itself has to send: pongs, or the rest of a message."""
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
        """Send what the reader has to say (pongs, refusals), because the reader must never wait itself."""
        while True:
            self._nudge.wait()
            if self._closing:
                return
            self._nudge.clear()
            try:
                self._send_rest()
            except BaseException as error:  # without a writer the session is no good
                report(logger.exception, "the writer failed")
                self.close(SessionLost(f"the writer failed: {error!r}"))

    def _send_last_words(self) -> None:
        """GOODBYE or ABORT, if the transport still takes it without waiting long."""
        if not self._closing:
            self.transport.settimeout(time.monotonic() + 0.5)
            self._send_rest()

    # Receiving.

    def _read(self) -> list[Event] | None:
        """Wait for messages and return what they mean; None when the session has ended."""
        self.reading = threading.get_ident()
        if self._broken is not None:
            raise self._broken
        if self.left is not None:
            return None
        messages: t.Iterable[Buffer] | None
        if self._early:
            messages, self._early = self._early, []
        else:
            messages = self.transport.receive()
            if messages is None:
                raise TransportError("the router closed the connection")
            self.last_received = time.monotonic()
        events = self._take(messages)
        if self.session.outgoing or self.transport.pending():
            self._nudge.set()
        return events if events or self.left is None else None

    def _take(self, messages: t.Iterable[Buffer]) -> list[Event]:
        events: list[Event] = []
        notes: list[Note] = []
        try:
            with self._lock:  # once for all: decoding holds the interpreter anyway
                for data in messages:
                    if self.left is not None:  # Crossbar 26.10 has been seen to go on after GOODBYE
                        break
                    event = self._receive(data, notes)
                    kind = type(event)
                    if kind is Invoked or kind is Delivered:
                        event.size = len(data)  # type: ignore[union-attr]
                        events.append(event)  # type: ignore[arg-type]
                    elif kind is Answered:
                        events.append(event)  # type: ignore[arg-type]
                    else:
                        self._sort(event, events, notes)
        except Exception as error:
            if not events:
                raise
            self._broken = error  # raised by the next read: what came before it is handled
        finally:
            if notes:
                log_all(notes)
        return events

    def _sort(self, event: Happening, events: list[Event], notes: list[Note]) -> None:
        """Sort what comes less often."""
        if isinstance(event, Left):
            self.left = event
        elif isinstance(event, Ignored):
            notes.append((logger.debug, "dropped, no one waits for it: %s", (Ids(event.message),)))
        elif isinstance(event, Interrupted | Revoked):
            events.append(event)

    def _receive(self, data: Buffer, notes: list[Note]) -> Happening:
        assert self._lock.locked() or self.session.state is State.JOINING
        message = self.transport.serializer.decode(data)
        if len(data) <= self._max_receive_size:
            return self.session.receive(message)
        kind, limit = type(message).__name__, self._max_receive_size
        why = f"{kind} of {len(data)} bytes is over the limit of {limit} bytes"
        text = "%s (WAMP_MAX_MESSAGE_SIZE); refused: %s"
        notes.append((logger.warning, text, (why, about(self.session, message))))
        return self.session.refuse(message, why)

    def _complain(self, error: ProtocolError) -> None:
        with self._lock:
            if self.session.state is not State.ENDED:
                self.session.abort(error_uris.PROTOCOL_VIOLATION, str(error)[:500])


def payload(
    transport: Transport, args: t.Sequence[object], kwargs: Details
) -> tuple[t.Sequence[object], Details]:
    """Return a payload as the transport's serializer carries it.

    :raises SerializationError: It cannot be carried.
    """
    plain = transport.serializer.plain
    return plain(args), plain(kwargs) if kwargs else kwargs
