"""MessagePack, the default. It costs the router half as much as JSON.

Source: WAMP Basic Profile, "Serializers".
"""

from __future__ import annotations

import msgspec

from .messages import FromRouter
from .raw_payload import from_extension
from .serializer import Serializer, has_odd_details


class MsgPackSerializer(Serializer):
    """Messages in MessagePack."""

    name = "msgpack"
    rawsocket_id = 2

    def __init__(self, accepts: object = FromRouter) -> None:
        self._load = msgspec.msgpack.Decoder(accepts, ext_hook=from_extension).decode
        self._dump = msgspec.msgpack.Encoder().encode

    def _numbers(self, data: bytes) -> list[int]:
        if not data:
            return []
        header = {0xDC: 3, 0xDD: 5}.get(data[0], 1 if 0x90 <= data[0] <= 0x9F else len(data))
        return unsigned_integers(data[header:], 0x80, 0xCC)

    def _has_odd_details(self, data: bytes) -> bool:
        return has_odd_details(data, msgspec.msgpack.decode)


def unsigned_integers(data: bytes, small: int, first: int) -> list[int]:
    """Read the unsigned integers of MessagePack or CBOR at the beginning of some bytes.

    The result is empty if no other element follows, because then this is not a message.

    :param small: A byte below this value is the number itself.
    :param first: The byte that precedes a number of 8 bits. The next three precede 16, 32 and 64 bits.
    """
    numbers: list[int] = []
    while data:
        kind, width = data[0], 0
        if kind >= small:
            if not first <= kind < first + 4 or len(data) <= (width := 1 << kind - first):
                return numbers
            kind = int.from_bytes(data[1 : 1 + width], "big")
        numbers.append(kind)
        data = data[1 + width :]
    return []
