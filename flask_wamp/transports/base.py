"""What every transport offers."""

from __future__ import annotations

import typing as t

from ..protocol.serializers import Buffer, Serializer
from .streams import Stream


class Transport(t.Protocol):
    """A connection that carries messages."""

    serializer: Serializer
    """What was agreed on with the router."""

    max_send_size: int
    """Bytes of the largest message the router takes."""

    has_ping: bool
    """Whether :meth:`ping` asks the router for a sign of life."""

    @property
    def stuck_since(self) -> float | None:
        """While sending: the ``time.monotonic()`` at which the system last took something."""

    def receive(self) -> list[Buffer] | None:
        """Wait for messages and return those that are complete, perhaps none; None at the end.

        :raises TransportError: The connection broke.
        :raises ProtocolError: The router sent what this transport does not allow.
        """

    def pending(self) -> bool:
        """Whether :meth:`receive` left something to send (a pong): call :meth:`send`."""

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Send messages, in one system call where possible; waits until the system took them.

        :raises TransportError: The connection broke.
        """

    def ping(self) -> None:
        """Ask for a sign of life with the next :meth:`send`."""

    def settimeout(self, deadline: float | None) -> None:
        """Let :meth:`receive` and :meth:`send` fail at this ``time.monotonic()``; None: wait for ever."""

    def close(self) -> None:
        """Close the connection; a thread in :meth:`receive` or :meth:`send` returns at once."""

    def forget(self) -> None:
        """In a forked child: close this copy of the socket; the parent's connection lives on."""


class OverStream:
    """What all transports over a byte stream have in common."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def stuck_since(self) -> float | None:
        """While sending: the ``time.monotonic()`` at which the system last took something."""
        return self._stream.stuck_since

    def settimeout(self, deadline: float | None) -> None:
        """Let receiving and sending fail at this ``time.monotonic()``; None: never."""
        self._stream.settimeout(deadline)

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def forget(self) -> None:
        """Close this process's copy of the socket only."""
        self._stream.forget()
