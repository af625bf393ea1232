"""One connection to a router, and the session on it.

This module contains the receiving side of a connection, and how it is joined and closed. :mod:`.sending` is
the other side.
"""

from __future__ import annotations

import functools
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..concurrency.threads import spawn
from ..exceptions import NotJoined, ProtocolError, SessionLost, TransportError, WAMPError
from ..protocol import error_uris
from ..protocol.messages import Message
from ..protocol.serializers import Buffer
from ..protocol.session import Session
from ..protocol.session_events import (
    Answered,
    Delivered,
    Ignored,
    Interrupted,
    Invoked,
    Joined,
    Left,
    Revoked,
    SessionEvent,
)
from ..protocol.session_states import SessionState
from ..transports import Transport
from .notes import Ids, Note, about, log_all, why_left
from .sending import Sender

logger = get_logger("flask_wamp.connection")

#: The events that a connection passes to its handler.
ServedEvent = Answered | Delivered | Interrupted | Invoked | Revoked

#: Called by the reader with the events of one read, in order. It must not wait.
OnEvents = t.Callable[["Connection", "list[ServedEvent]"], None]

Read = t.Callable[[], "list[ServedEvent] | None"]
Handle = t.Callable[["list[ServedEvent]"], None]

#: Calls the first function, and the second with its result, until that result is None. The third function
#: sends the answers that were held back.
ReadAll = t.Callable[[Read, Handle, t.Callable[[], None]], None]


class Cancelable(t.Protocol):
    """An invocation that is not answered yet."""

    canceled: bool

    def cancel(self) -> None:
        """End the invocation, because its caller has canceled the call. Must not wait."""


class Connection(Sender):
    """A transport with a session on it.

    :param max_receive_size: Bytes. A larger message is refused, and the session continues.
    :param pool: The pool that runs handlers. A handler's slot is released while it waits for an answer.
    """

    def __init__(
        self,
        transport: Transport,
        session: Session,
        max_receive_size: int,
        on_events: OnEvents,
        pool: Pool,
    ) -> None:
        super().__init__(transport, session, pool)
        self.last_received = monotonic()
        self.left: Left | None = None
        self.invocations: dict[int, Cancelable] = {}
        """Invocations that are not answered yet, by request id. :class:`.Serving` adds them."""
        self._max_receive_size = max_receive_size
        self._on_events = on_events
        self.reading: int | None = None
        """The ident of the thread that read last."""
        self._early: list[Buffer] = []
        self._broken: Exception | None = None

    # Life.

    def join(self, deadline: float) -> Joined:
        """Send HELLO and wait for the answer. The reader's thread calls this.

        :raises NotJoined: The router answered ABORT.
        :raises WAMPError: The connection broke, or the router's answer is not allowed.
        """
        self.transport.settimeout(deadline)
        self.ask(Session.join)
        while True:
            messages = self.transport.receive()
            if messages is None:
                raise TransportError("the router closed the connection instead of answering HELLO")
            for at, data in enumerate(messages):
                # The lock is not needed, because no other thread knows this connection yet. It must not be
                # held either, because CHALLENGE may call the app's code.
                event = self.session.receive(self.transport.serializer.decode(data))
                if isinstance(event, Left):
                    raise NotJoined(why_left(event), event.reason)
                if isinstance(event, Joined):
                    self.transport.settimeout(None)
                    self._early = messages[at + 1 :]
                    if self.transport.pending():
                        self._nudge.set()  # the writer, which starts next, sends it
                    return event
                self._send_rest()

    def run(self, read_all: ReadAll) -> Exception:
        """Receive messages until the session ends, and return the reason.

        :param read_all: Calls :meth:`_read`, and passes its result to the handler, until the result is None.
        """
        writer = self._start_writer()
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
            self._send_final_messages()
            self.close()
            if writer is not None:
                writer.join(1.0)
        return reason

    def _start_writer(self) -> threading.Thread | None:
        return spawn(self._write_for_reader, "wamp-writer")

    def abandon(self) -> list[t.Any]:
        """Return the tickets of all unanswered requests, once the session has ended."""
        with self._lock:
            return self.session.abandon()

    # Receiving.

    def _read(self) -> list[ServedEvent] | None:
        """Wait for messages and return their events. None when the session has ended."""
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
            self.last_received = monotonic()
        events = self._take(messages)
        if self.session.outgoing or self.transport.pending():
            self._nudge.set()
        return events if events or self.left is None else None

    def _take(self, messages: t.Iterable[Buffer]) -> list[ServedEvent]:
        events: list[ServedEvent] = []
        notes: list[Note] = []
        decode, receive = self.transport.serializer.decode, self.session.receive
        limit = self._max_receive_size
        try:
            # The lock is taken once for all messages, because decoding holds the interpreter lock anyway.
            with self._lock:
                for data in messages:
                    # Crossbar 26.10 sometimes sends more messages after GOODBYE.
                    if self.left is not None:
                        break
                    message, size = decode(data), len(data)
                    event = (
                        receive(message) if size <= limit else self._refuse(message, size, notes)
                    )
                    kind = type(event)
                    if kind is Invoked or kind is Delivered:
                        event.size = size  # type: ignore[union-attr]
                        events.append(event)  # type: ignore[arg-type]
                    elif kind is Answered:
                        events.append(event)  # type: ignore[arg-type]
                    else:
                        self._sort(event, events, notes)
        except Exception as error:
            if not events:
                raise
            self._broken = (
                error  # raised by the next read, after the messages before it were handled
            )
        finally:
            if notes:
                log_all(notes)
        return events

    def _sort(self, event: SessionEvent, events: list[ServedEvent], notes: list[Note]) -> None:
        """Handle the rare events."""
        if isinstance(event, Left):
            self.left = event
        elif isinstance(event, Ignored):
            notes.append(
                (
                    logger.debug,
                    "dropped, no request or subscription matches it: %s",
                    (Ids(event.message),),
                )
            )
        elif isinstance(event, Interrupted | Revoked):
            events.append(event)

    def _refuse(self, message: Message, size: int, notes: list[Note]) -> SessionEvent:
        assert self._lock.locked()
        kind, limit = type(message).__name__, self._max_receive_size
        why = f"{kind} of {size} bytes is over the limit of {limit} bytes"
        text = "%s (WAMP_MAX_MESSAGE_SIZE); refused: %s"
        notes.append((logger.warning, text, (why, about(self.session, message))))
        return self.session.refuse(message, why)

    def _complain(self, error: ProtocolError) -> None:
        with self._lock:
            if self.session.state is not SessionState.ENDED:
                self.session.abort(error_uris.PROTOCOL_VIOLATION, str(error)[:500])
