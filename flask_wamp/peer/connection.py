"""One connection to a router, and the session on it.

The reader takes in what the router sends. Any thread may ask for something: the request id is
allocated and the message put in line under one lock, and whoever finds nobody sending sends all that
is in line, the others' messages too. So many answers leave in one system call under load, and a
single one leaves at once.
"""

from __future__ import annotations

import threading
import time
import typing as t

from .._text import get_logger
from ..concurrency.threads import spawn
from ..exceptions import NotJoined, ProtocolError, SessionLost, TransportError, WAMPError
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.messages import Details
from ..protocol.serializers import Buffer
from ..protocol.session import Session, State
from ..protocol.session_events import Answered, Delivered, Happening, Ignored, Invoked, Joined, Left
from ..transports import Transport

logger = get_logger("flask_wamp.connection")

T = t.TypeVar("T")

ReadAll = t.Callable[[t.Callable[[], bool], t.Callable[[], None]], None]

MAX_BATCH = 64 * 1024
"""Bytes in line above which an answer is sent though more answers are to come."""


MAX_UNSENT = 4 * 1024 * 1024
"""Bytes in line above which who asks for more waits: a router that does not read fills no memory."""

#: What nearly everything is that arrives, and goes to who handles it.
_COMMON = frozenset({Answered, Invoked, Delivered})

_OPEN = (State.JOINED, State.NEW)


class Connection:
    """A transport with a session on it.

    :param max_receive_size: Bytes; a larger message is refused, not the session.
    :param on_events: Called by the reader with what has happened, in order; must not wait.
    :param more_to_come: Tells whether another answer will follow this one at once.
    :param is_watched: Tells whether somebody calls :meth:`send_soon` if it does not.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        max_receive_size: int,
        on_events: t.Callable[[Connection, list[t.Any]], None],
        more_to_come: t.Callable[[], bool] = lambda: False,
        is_watched: t.Callable[[], bool] = lambda: False,
    ) -> None:
        self.transport = transport
        self.session = session
        self.last_received = time.monotonic()
        self.left: Left | None = None
        self.invocations: dict[int, t.Any] = {}
        """Invocations in hand by request id, for who serves them."""
        self._max_receive_size = max_receive_size
        self._on_events = on_events
        self._more_to_come = more_to_come
        self._is_watched = is_watched
        self._lock = threading.Lock()
        self._sent = threading.Condition(self._lock)
        self._unsent = 0
        self._sending = False
        self._closing = False
        self._nudge = threading.Event()
        self._error: Exception | None = None

    @property
    def closed(self) -> bool:
        """Whether it is over."""
        return self._closing

    # Life.

    def join(self, deadline: float) -> Joined:
        """Say HELLO and wait for the answer; the reader's thread calls it.

        :raises NotJoined: The router said ABORT.
        :raises WAMPError: The connection broke, or the router's answer is none.
        """
        self.transport.settimeout(deadline)
        self.ask(Session.join)
        while True:
            messages = self.transport.receive()
            if messages is None:
                raise TransportError("the router closed the connection instead of answering HELLO")
            for at, data in enumerate(messages):
                with self._lock:
                    event = self._receive(data)
                self._send_rest()
                if isinstance(event, Left):
                    raise NotJoined(_why(event))
                if isinstance(event, Joined):
                    self.transport.settimeout(None)
                    self._early = messages[at + 1 :]
                    return event

    def run(self, read_all: ReadAll) -> Exception:
        """Take in what the router sends until the session ends; return why it did.

        :param read_all: Calls the first that it is given until that returns False; the second is
            :meth:`send_soon`.
        """
        writer = spawn(self._write_for_reader, "wamp-writer")
        try:
            read_all(self._read, self.send_soon)
            assert self.left is not None
            reason: Exception = SessionLost(f"the router ended the session: {_why(self.left)}")
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

    def ask(self, request: t.Callable[..., T], *args: t.Any, **kwargs: t.Any) -> T:
        """Call a method of the session and send what it says: ``ask(Session.call, uri, ...)``.

        :raises NotJoined: The session is not joined, or not any more.
        :raises SerializationError: It was refused, nothing was sent.
        """
        session = self.session
        with self._lock:
            if self._unsent > MAX_UNSENT and self._sending:
                self._sent.wait_for(lambda: self._unsent <= MAX_UNSENT or self._closing)
            self._check_open()
            result = request(session, *args, **kwargs)
            if self._sending:
                self._unsent += len(session.outgoing[-1]) if session.outgoing else 0
                return result
            batch = self._take_outgoing()
        self._send(batch)
        return result

    def answer(self, request: t.Callable[..., bool], *args: t.Any) -> bool:
        """Do as :meth:`ask`, but leave it in line where more answers are to come at once.

        They leave together then, in one system call: sent by who has the last one to give, or by the
        writer as soon as whoever computes lets it.
        """
        if self._more_to_come() and self._unsent < MAX_BATCH:
            session = self.session
            with self._lock:
                self._check_open()
                answered = request(session, *args)
                self._unsent += len(session.outgoing[-1]) if session.outgoing else 0
            if not (self._nudge.is_set() or self._is_watched()):  # else the writer has yet to look
                self._nudge.set()
            return answered
        return self.ask(request, *args)

    def put(self, request: t.Callable[..., T], *args: t.Any) -> T:
        """Do as :meth:`ask`, for threads that must never wait: another one sends it."""
        with self._lock:
            self._check_open()
            result = request(self.session, *args)
        self._nudge.set()
        return result

    def send_soon(self) -> None:
        """Have the writer send what is in line; does not wait."""
        if self.session.outgoing:
            self._nudge.set()

    def ping(self) -> None:
        """Ask the router for a sign of life; does not wait."""
        self.transport.ping()
        self._nudge.set()

    def _check_open(self) -> None:
        if self._closing or self.session.state not in _OPEN:
            raise NotJoined("the session has ended")

    # Sending.

    def _take_outgoing(self) -> list[bytes] | None:
        """What is in line, for this thread to send. None: nothing is, and nobody sends any more.

        Called under the lock: whoever finds somebody sending leaves a message to that one.
        """
        batch = self.session.outgoing
        self._sending = bool(batch) or self.transport.pending()
        if not self._sending:
            return None
        self.session.outgoing = []
        self._unsent = 0
        return batch

    def _send(self, batch: list[bytes] | None) -> None:
        """Send, and go on as long as others have put more in line."""
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
        with self._lock:
            if self._sending:
                return
            batch = self._take_outgoing()
        self._send(batch)

    def _write_for_reader(self) -> None:
        """Send what the reader has to say (pongs, refusals): it must never wait itself."""
        while True:
            self._nudge.wait()
            if self._closing:
                return
            self._nudge.clear()
            self._send_rest()

    def _send_last_words(self) -> None:
        """GOODBYE or ABORT, if the transport still takes it without waiting long."""
        if not self._closing:
            self.transport.settimeout(time.monotonic() + 0.5)
            self._send_rest()

    # Receiving.

    _early: list[Buffer]

    def _read(self) -> bool:
        """Take in what has come; whether there may be more."""
        messages: t.Iterable[Buffer] | None
        if self._early:
            messages, self._early = self._early, []
        else:
            messages = self.transport.receive()
            if messages is None:
                raise TransportError("the router closed the connection")
            self.last_received = time.monotonic()
        self._take(messages)
        if self.transport.pending():
            self._nudge.set()
        return self.left is None

    def _take(self, messages: t.Iterable[Buffer]) -> None:
        events: list[t.Any] = []
        try:
            with self._lock:  # once for all: decoding holds the interpreter anyway
                for data in messages:
                    if self.left is not None:  # Crossbar 26.10 has been seen to go on after GOODBYE
                        break
                    event = self._receive(data)
                    if type(event) in _COMMON:
                        events.append(event)
                    else:
                        self._sort(event, events)
        finally:  # a broken message does not take away what came before it
            if events:
                self._on_events(self, events)
            if self.session.outgoing:
                self._nudge.set()

    def _sort(self, event: Happening, events: list[t.Any]) -> None:
        kind = type(event)
        if kind is Left:
            self.left = t.cast(Left, event)
        elif kind is Ignored:
            logger.debug("dropped, nobody waits for it: %s", _ids(t.cast(Ignored, event).message))
        elif event is not None:
            events.append(event)

    def _receive(self, data: Buffer) -> Happening:
        message = self.transport.serializer.decode(data)
        if len(data) <= self._max_receive_size:
            return self.session.receive(message)
        kind, limit = type(message).__name__, self._max_receive_size
        why = f"{kind} of {len(data)} bytes is over the limit of {limit} bytes"
        logger.warning(
            "%s (WAMP_MAX_MESSAGE_SIZE); refused: %s", why, _about(self.session, message)
        )
        return self.session.refuse(message, why)

    def _complain(self, error: ProtocolError) -> None:
        with self._lock:
            if self.session.state is not State.ENDED:
                self.session.abort(error_uris.PROTOCOL_VIOLATION, str(error)[:500])


def _why(left: Left) -> str:
    text = left.details.get("message")
    return f"{left.reason}: {text}" if text else left.reason


def _about(session: Session, message: t.Any) -> str:
    """Which procedure or topic a message is for, for logs."""
    target: t.Any = None
    if isinstance(message, m.Invocation):
        target = session.registrations.get(message.registration_id)
    elif isinstance(message, m.Event):
        target = next(iter(session.subscriptions.get(message.subscription_id, ())), None)
    return getattr(target, "uri", None) or _ids(message)


def _ids(message: t.Any) -> str:
    """A message without its payload, for logs."""
    names = [name for name in message.__struct_fields__ if name.endswith("_id")]
    return " ".join(
        [type(message).__name__, *(f"{name}={getattr(message, name)}" for name in names)]
    )


def payload(
    transport: Transport, args: t.Sequence[t.Any], kwargs: Details
) -> tuple[t.Sequence[t.Any], Details]:
    """Return a payload as the transport's serializer carries it.

    :raises SerializationError: It cannot be carried.
    """
    plain = transport.serializer.plain
    return plain(args), plain(kwargs) if kwargs else kwargs
