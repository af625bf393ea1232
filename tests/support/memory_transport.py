"""The connection between a client and a :class:`~tests.support.memory.MemoryRouter`."""

from __future__ import annotations

import typing as t

import msgspec

from flask_wamp.exceptions import TransportError
from flask_wamp.protocol import messages as m
from flask_wamp.router import memory
from tests.support.wire import router_serializer


class Exchange(t.Protocol):
    """The other end of the connection."""

    core: memory._Exchange
    max_message_size: int
    silent: bool

    def take(self, transport: MemoryTransport, message: m.Message) -> m.Message | None:
        """Record a message. Return the message for the router's core: this one, another one, or None."""

    def begun(self, transport: MemoryTransport) -> None:
        """Record a connection."""

    def ended(self, transport: MemoryTransport) -> None:
        """Record the end of a connection."""


class MemoryTransport(memory.MemoryTransport):
    """The transport of ``memory:``, which a test can inspect, and into which it can put messages."""

    def __init__(self, router: Exchange, serializer: str) -> None:
        super().__init__(router.core, serializer, 2**24, None)
        self.max_send_size = router.max_message_size
        self.pings = 0
        self.router_serializer = router_serializer(serializer)
        self._router = router
        with router.core.lock:
            router.begun(self)

    # The client calls these.

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Let the router handle messages in this thread."""
        with self._exchange.lock:  # a thread that waits for a message sees it handled
            for data in messages:
                if self._has_ended:
                    raise TransportError("the connection broke: Broken pipe")
                message = self.router_serializer.decode(data)
                taken = self._router.take(self, message)
                if taken is None or self._is_of_put(message):
                    self._skip(message)
                else:
                    self.hear(taken, data if taken is message else None)

    def hear(self, message: m.Message, data: bytes | None = None) -> None:
        """Let the router's core handle a message."""
        super().send([self.router_serializer.encode(message) if data is None else data])

    def _is_of_put(self, message: m.Message) -> bool:
        """Return whether a message answers an invocation of the test."""
        sent = self._session.last_invocation_id
        return isinstance(message, m.Yield | m.Error) and message.request_id > sent

    def _skip(self, message: m.Message) -> None:
        """Let the core count the request id of a message that it does not get."""
        if isinstance(message, REQUESTS):
            self._session.last_request_id = message.request_id

    def ping(self) -> None:
        """Let the router answer, unless it is silent."""
        self.pings += 1
        if not self._router.silent:
            super().ping()

    # The router calls these.

    def put(self, message: t.Any) -> None:
        """Send a message that the core does not know, unless the connection is cut."""
        serializer = self.router_serializer
        if isinstance(message, m.PayloadMessage):
            args, kwargs = serializer.plain(message.args), serializer.plain(message.kwargs)
            message = msgspec.structs.replace(message, raw_args=args, raw_kwargs=kwargs)
        self.put_bytes(serializer.encode(message))

    def put_bytes(self, data: bytes) -> None:
        """Send bytes that are not a message."""
        with self._exchange.lock:
            self._take(data)

    def cut(self) -> None:
        """Lose the connection. Messages that the router has sent are still received."""
        self._exchange.run(self._lose_later)

    def _lose_later(self) -> None:
        if not self._has_ended:
            self._end(False)
        self._session.lost()

    def _end(self, at_once: bool) -> None:
        super()._end(at_once)
        self._router.ended(self)


#: Messages with a request id.
REQUESTS = (m.Call, m.Publish, m.Register, m.Unregister, m.Subscribe, m.Unsubscribe)
