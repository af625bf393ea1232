"""RawSocket: a handshake of four bytes, then a header of four bytes before each message.

Source: WAMP Advanced Profile, "RawSocket Transport".
"""

from __future__ import annotations

import struct
import typing as t

from ..exceptions import ProtocolError, TransportError
from ..protocol.serializers import Buffer, Serializer, get_serializer
from .streams import RECEIVE_SIZE, OverStream, Stream

_MAGIC = 0x7F
MAX_UNSENT_PONGS = 1024 * 1024
"""If more bytes of pongs than this wait to be sent, the connection is closed, because the router sends pings
but does not read the answers."""

_MESSAGE, _PING, _PONG = range(3)

#: The type of a frame in 8 bits, and its length in 24.
_HEADER = struct.Struct(">I")

#: The meanings of the error codes in the answer of a router that declines. Source: as above, "Handshake".
_ERRORS = {
    0: "it gave no reason",
    1: "it does not speak this serializer",
    2: "it does not accept the maximum message length of this client",
    3: "a reserved bit was used",
    4: "it has too many connections",
}


def length_exponent(max_message_size: int) -> int:
    """Return the four bits of the handshake that mean a maximum message size of ``2 ** (9 + bits)`` bytes."""
    return min(15, max(0, (max_message_size - 1).bit_length() - 9))


#: The shortest length that does not fit into a message's header.
_OVER_24_BITS = 2**24

MAX_SENT = _OVER_24_BITS - 1
"""The size, in bytes, of the largest message that can be sent. The header has 24 bits for its length."""


class RawSocketFraming:
    """Converts bytes to messages and back, without I/O.

    :param max_receive_size: Bytes. A longer message ends the connection before it is read.
    """

    def __init__(self, max_receive_size: int) -> None:
        self.pongs: list[bytes] = []
        self._max_receive_size = max_receive_size
        self._max_alone = min(max_receive_size, MAX_SENT)
        self._chunks: list[bytes] = []
        self._size = 0
        self._wanted = 4
        self._ends_with_ping = False
        """Whether the last frame was the header of an empty PING."""

    def feed(self, data: bytes) -> list[Buffer]:
        """Accept bytes and return the messages that are complete.

        :raises ProtocolError: A frame has an unknown type or is too long.
        """
        size = len(data) - 4
        is_alone = 0 < size <= self._max_alone and data[:4] == size.to_bytes(4, "big")
        if is_alone and not self._chunks and not self._ends_with_ping:
            return [data[4:]]  # exactly one message, as in most cases
        is_full = len(data) >= RECEIVE_SIZE  # so more will come
        if self._ends_with_ping and data:
            self._ends_with_ping = False
            if data[0] > _PONG:  # it was not a PING, see below
                data = bytes([_PING, 0, 0, 0]) + data
        if self._chunks:
            # Join them only when there is enough, so that a large message in many pieces takes linear time.
            self._chunks.append(data)
            self._size += len(data)
            if self._size < self._wanted:
                return []
            data = b"".join(self._chunks)
            self._chunks.clear()
        return self._frames(data, is_full)

    def _frames(self, data: bytes, is_full: bool) -> list[Buffer]:
        messages: list[Buffer] = []
        at, end = 0, len(data)
        wanted = 4
        while end - at >= 4:
            (header,) = _HEADER.unpack_from(data, at)
            kind, length = header >> 24, header & MAX_SENT
            if kind == _PING and length == 0:
                # Crossbar 26.10 writes the length in 32 bits. So a message of 2 ** 24 bytes, which the
                # handshake allows, begins like an empty PING. The next byte tells them apart: a frame
                # that follows a PING begins with 0, 1 or 2, but no message of any serializer does.
                if end - at == 4 and is_full:
                    wanted = 5
                    break
                self._ends_with_ping = end - at == 4
                if end - at > 4 and data[at + 4] > _PONG:
                    kind, length = _MESSAGE, _OVER_24_BITS
            if kind > _PONG or length > self._max_receive_size:
                raise self._error(kind, length)
            if end - at < 4 + length:
                wanted = 4 + length
                break
            if kind == _MESSAGE:
                messages.append(data[at + 4 : at + 4 + length])
            elif kind == _PING:
                if sum(map(len, self.pongs)) > MAX_UNSENT_PONGS:
                    raise ProtocolError("it pings faster than it reads the answers")
                self.pongs.append(bytes([_PONG]) + data[at + 1 : at + 4 + length])
            at += 4 + length
        if at < end:
            self._chunks, self._size, self._wanted = [data[at:]], end - at, wanted
        return messages

    def _error(self, kind: int, length: int) -> ProtocolError:
        if kind > _PONG:
            return ProtocolError(f"a RawSocket frame of unknown type {kind}")
        return ProtocolError(
            f"a message of {length} bytes is over the limit of {self._max_receive_size} bytes"
        )

    @staticmethod
    def frame(message: bytes) -> bytes:
        """Return a message with its header."""
        return len(message).to_bytes(4, "big") + message


class RawSocketTransport(OverStream):
    """A RawSocket connection."""

    #: Crossbar 26.10 drops the connection at a RawSocket PING, so none is sent.
    has_ping = False

    def __init__(
        self, stream: Stream, framing: RawSocketFraming, serializer: Serializer, max_send_size: int
    ) -> None:
        super().__init__(stream)
        self.serializer = serializer
        self.max_send_size = max_send_size
        self._framing = framing

    @classmethod
    def open(
        cls,
        connect: t.Callable[[], Stream],
        serializers: t.Sequence[str],
        max_message_size: int,
        deadline: float,
    ) -> RawSocketTransport:
        """Do the handshake. If the router declines a serializer, offer the next one on a new connection.

        Crossbar 26.10 resets the connection instead of declining.

        :raises TransportError: The router cannot be reached, or declines.
        :raises ProtocolError: The server that answers is not a router.
        """
        error: TransportError | ProtocolError | None = None
        for name in serializers:
            stream = connect()
            try:
                max_send_size = _shake_hands(stream, name, max_message_size)
            except (TransportError, ProtocolError) as failed:
                stream.close()
                error = failed
                if "in time" in str(failed):
                    break
            else:
                # The handshake can announce only a power of two. Messages up to that size must be accepted.
                framing = RawSocketFraming(2 ** (9 + length_exponent(max_message_size)))
                return cls(stream, framing, get_serializer(name), max_send_size)
        raise error or TransportError("there is no serializer to offer (WAMP_SERIALIZERS)")

    def receive(self) -> list[Buffer] | None:
        """Wait for messages and return them. None at the end of the connection."""
        data = self._stream.receive()
        return self._framing.feed(data) if data else None

    def pending(self) -> bool:
        """Return whether there is a pong or data of TLS to send."""
        stream = self._stream
        return bool(self._framing.pongs or stream.rest) or (stream.answers and stream.pending())

    def send(self, messages: t.Sequence[bytes]) -> None:
        """Send messages with one system call."""
        frames = []
        while self._framing.pongs:
            frames.append(self._framing.pongs.pop(0))
        frames.extend(map(self._framing.frame, messages))
        self._stream.send(b"".join(frames))

    def ping(self) -> None:
        """Do nothing: there is no ping, see ``has_ping``."""


def _shake_hands(stream: Stream, serializer: str, max_message_size: int) -> int:
    """Agree on a serializer. Return the size, in bytes, of the largest message that the router accepts."""
    number = get_serializer(serializer).rawsocket_id
    stream.send(bytes([_MAGIC, length_exponent(max_message_size) << 4 | number, 0, 0]))
    reply = b""
    while len(reply) < 4:
        data = stream.receive()
        if not data:
            raise TransportError(f"the router closed the connection when offered {serializer}")
        reply += data
    magic, answer = reply[0], reply[1]
    if magic != _MAGIC or len(reply) > 4:
        raise ProtocolError("this is not a RawSocket router")
    if not answer & 0x0F:
        raise TransportError(f"the router declined: {_ERRORS.get(answer >> 4, answer >> 4)}")
    if answer & 0x0F != number:
        raise ProtocolError(f"the router chose a serializer that was not offered: {answer & 0x0F}")
    return min(MAX_SENT, int(2 ** (9 + (answer >> 4))))
