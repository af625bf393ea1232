"""The interface of a transport."""

from __future__ import annotations

import typing as t

from ..protocol.serializers import Buffer, Serializer


class Transport(t.Protocol):
    """A connection that carries whole messages."""

    serializer: Serializer
    """The serializer that was agreed on with the router."""

    max_send_size: int
    """The size, in bytes, of the largest message that the router accepts."""

    has_ping: bool
    """Whether :meth:`ping` sends a ping."""

    @property
    def stuck_since(self) -> float | None:
        """The ``time.monotonic()`` at which the system last accepted bytes. None while nothing is sent."""

    def receive(self) -> list[Buffer] | None:
        """Wait for bytes and return the messages that are complete, if any. None at the end.

        :raises TransportError: The connection broke.
        :raises ProtocolError: The router violated the protocol of this transport.
        """

    def pending(self) -> bool:
        """Return whether :meth:`send` has to be called, for example because a pong has to be sent."""

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Send messages, in one system call where possible. Wait until the system has accepted them.

        :raises TransportError: The connection broke.
        """

    def ping(self) -> None:
        """Send a ping with the next :meth:`send`."""

    def settimeout(self, deadline: float | None) -> None:
        """Let :meth:`receive` and :meth:`send` fail at this ``time.monotonic()``. None means never."""

    def close(self) -> None:
        """Close the connection, and wake the threads that wait in :meth:`receive` or :meth:`send`."""

    def forget(self) -> None:
        """Close this process's copy of the socket, in a forked child. The parent's connection stays open."""
