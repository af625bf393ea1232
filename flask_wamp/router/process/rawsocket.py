"""RawSocket connections: a handshake of four bytes, then a header of four bytes before each message.

Source: WAMP Advanced Profile, "RawSocket Transport".
"""

from __future__ import annotations

import socket
import typing as t

from ...exceptions import ProtocolError, WAMPError
from ...protocol.serializers import get_serializer
from ...transports.rawsocket import RawSocketFraming, length_exponent
from ..facts import TransportFacts
from .client_connection import TLS, ClientConnection, ServerInterface

_MAGIC = 0x7F

#: The errors of the handshake. Source: WAMP Advanced Profile, "RawSocket Transport", "Handshake".
_UNSUPPORTED_SERIALIZER, _RESERVED_BITS = 1, 3


class RawSocketConnection(ClientConnection):
    """A client over RawSocket."""

    def __init__(self, server: ServerInterface, sock: socket.socket, facts: TransportFacts) -> None:
        self._numbers = {get_serializer(name).rawsocket_id: name for name in server.serializers}
        self._handshake = b""
        # The handshake announces a power of two. The router must accept messages up to that size.
        self._framing = RawSocketFraming(2 ** (9 + length_exponent(server.max_message_size)))
        super().__init__(server, sock, facts)

    def _feed(self, data: bytes) -> None:
        if self._session is None:
            data = self._shake_hands(data)
            if not data:
                return
        framing = self._framing
        for message in framing.feed(data):
            if self._session is None:
                return
            self._session.receive(bytes(message))
        if framing.pongs:
            for pong in framing.pongs:
                self.write(pong)
            framing.pongs.clear()

    def _shake_hands(self, data: bytes) -> bytes:
        """Agree on a serializer. Return the bytes after the handshake."""
        shake = self._handshake + data
        if len(shake) < 4:
            self._handshake = shake
            return b""
        magic, offer, *reserved = shake[:4]
        if magic != _MAGIC:
            raise ProtocolError("this is not RawSocket")
        if any(reserved):
            self._decline(_RESERVED_BITS, "the client uses reserved bits of the handshake")
        serializer = self._numbers.get(offer & 0x0F)
        if serializer is None:
            self._decline(
                _UNSUPPORTED_SERIALIZER,
                "the client uses a serializer that the router does not support",
            )
        ours = length_exponent(self._server.max_message_size)
        self.write(bytes((_MAGIC, ours << 4 | offer & 0x0F, 0, 0)))
        max_send_size = 2 ** (9 + (offer >> 4))
        self._session = self._server.open(self, self._facts, serializer, max_send_size, {})
        return shake[4:]

    def _decline(self, number: int, why: str) -> t.NoReturn:
        self.write(bytes((_MAGIC, number << 4, 0, 0)))
        raise ProtocolError(why)

    def _refuse(self, error: WAMPError) -> None:
        self._server.log_violation(self._facts, error)
        self.end()

    def send(self, message: bytes) -> None:
        """Send a message. The core calls this."""
        self.write(RawSocketFraming.frame(message))


class SecureRawSocketConnection(TLS, RawSocketConnection):  # type: ignore[misc]
    """A client over RawSocket and TLS."""
