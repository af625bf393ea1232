"""The line between a client and a :class:`~tests.support.memory.MemoryRouter`."""

from __future__ import annotations

import queue
import threading
import time
import typing as t

import msgspec

from flask_wamp.exceptions import TransportError
from flask_wamp.protocol.messages import Message
from flask_wamp.protocol.serializers import Buffer, Serializer, get_serializer
from tests.support.wire import router_serializer

PONG = b"pong"


class Exchange(t.Protocol):
    """The other end of the line."""

    max_message_size: int
    silent: bool

    def receive(self, transport: MemoryTransport, message: Message) -> None:
        """Handle a client's message."""

    def hang_up(self, transport: MemoryTransport) -> None:
        """End a connection."""


class MemoryTransport:
    """The client's end of a line; see ``flask_wamp.transports.base.Transport``."""

    has_ping = True
    stuck_since = None

    def __init__(self, router: Exchange, serializer: str) -> None:
        self.serializer: Serializer = get_serializer(serializer)
        self.max_send_size = router.max_message_size
        self.session_id: int | None = None
        self.cut = False
        self.forgotten = False
        self.pings = 0
        self._router = router
        self.router_serializer = router_serializer(serializer)
        self.together = threading.Lock()
        """What the router sends while this is held arrives at once."""
        self._incoming: queue.Queue[bytes | None] = queue.Queue()
        self._deadline: float | None = None

    # The client calls these.

    def receive(self) -> list[Buffer] | None:
        """Wait for messages; None at the end."""
        messages: list[Buffer] = []
        data = self._next()
        with self.together:
            while data is not None:
                if data is not PONG:
                    messages.append(data)
                if self._incoming.empty():
                    return messages
                data = self._incoming.get()
        self._incoming.put(None)  # the end stays the end
        return messages or None

    def _next(self) -> bytes | None:
        timeout = None
        if self._deadline is not None:
            timeout = max(0.001, self._deadline - time.monotonic())
        try:
            return self._incoming.get(timeout=timeout)
        except queue.Empty:
            raise TransportError("the router did not answer in time") from None

    def pending(self) -> bool:
        """There is nothing that only :meth:`receive` knows of."""
        return False

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Have the router handle messages, in this thread."""
        for data in messages:
            if self.cut:
                raise TransportError("the connection broke: Broken pipe")
            self._router.receive(self, self.router_serializer.decode(data))

    def ping(self) -> None:
        """Have the router answer, unless it is silent."""
        self.pings += 1
        if not self._router.silent:
            self._incoming.put(PONG)

    def settimeout(self, deadline: float | None) -> None:
        """Let :meth:`receive` fail at this ``time.monotonic()``."""
        self._deadline = deadline

    def close(self) -> None:
        """Hang up."""
        self._router.hang_up(self)

    def forget(self) -> None:
        """Note that a child has let go of it."""
        self.forgotten = True

    # The router calls these.

    def put(self, message: t.Any) -> None:
        """Send a message, unless the line is cut."""
        serializer = self.router_serializer
        if hasattr(message, "kwargs"):
            args, kwargs = serializer.plain(message.args), serializer.plain(message.kwargs)
            message = msgspec.structs.replace(message, raw_args=args, raw_kwargs=kwargs)
        if not self.cut:
            self.put_bytes(serializer.encode(message))

    def put_bytes(self, data: bytes) -> None:
        """Send what is no message."""
        self._incoming.put(data)

    def end(self) -> None:
        """Send the end of the connection."""
        self.cut = True
        self._incoming.put(None)
