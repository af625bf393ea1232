"""CBOR, if ``cbor2`` is installed. It supports the types of JSON, and bytes.

Tags are refused, except for those of bytes and integers. ``cbor2`` cannot leave a part of a message
undecoded, so payloads are decoded with their message.

Source: WAMP Basic Profile, "Serializers".
"""

from __future__ import annotations

import functools
import typing as t

from .messages import FromRouter, Message, from_elements
from .msgpack_serializer import unsigned_integers
from .serializer import Serializer

#: How deep lists and dictionaries may be nested. msgspec has the same limit, Python's recursion limit.
MAX_DEPTH_READ = 1000

#: The tag of bytes from a ``Uint8Array`` of JavaScript, in cbor-x and wampy.js. Source: RFC 8746, "Typed
#: Arrays".
_UINT8_ARRAY = 64

#: The tags of integers that a ``Number`` of JavaScript cannot hold, in autobahn-js. Source: RFC 8949,
#: "Bignums".
_POSITIVE, _NEGATIVE = 2, 3

_UNDEFINED = b"\xf7"


class CBORSerializer(Serializer):
    """Messages in CBOR.

    :param max_depth: How deep lists and dictionaries may be nested.
    """

    name = "cbor"
    rawsocket_id = 3

    def __init__(self, accepts: object = FromRouter, max_depth: int = MAX_DEPTH_READ) -> None:
        import cbor2

        # Other peers may send payloads that are nested deeper than cbor2's default limit, which is 400.
        self._loads = functools.partial(
            cbor2.loads,
            max_depth=max_depth,
            semantic_decoders=_Untagged(),
            tag_hook=_refuse_tag,
        )
        self._undefined = cbor2.undefined
        self._accepts = accepts
        self._dump = cbor2.dumps
        self._load = self._from_cbor

    def _from_cbor(self, data: bytes) -> Message:
        elements = self._loads(data)
        if _UNDEFINED in data:  # the byte may also be a part of another value
            elements = self._without_undefined(elements)
        if type(elements) is not list:
            raise ValueError("not an array")
        return from_elements(elements, self._accepts)

    def _without_undefined(self, value: t.Any) -> object:
        """Return a value in which JavaScript's undefined is replaced by None.

        Other serializers do not have it.
        """
        kind = type(value)
        if kind is list:
            return [self._without_undefined(item) for item in value]
        if kind is dict:
            return {key: self._without_undefined(item) for key, item in value.items()}
        return None if value is self._undefined else value

    def _numbers(self, data: bytes) -> list[int]:
        if not data:
            return []
        header = {0x98: 2, 0x99: 3, 0x9A: 5, 0x9B: 9, 0x9F: 1}
        begin = header.get(data[0], 1 if 0x80 <= data[0] < 0x98 else len(data))
        return unsigned_integers(data[begin:], 24, 24)


class _Untagged(t.Mapping[int, t.Callable[..., object]]):
    """Refuses nearly every tag before ``cbor2`` creates its value.

    Tags can create dates, regular expressions, numbers of megabytes, and lists that contain themselves or
    each other so often that a walk through them never ends. Crossbar 26.10 passes some of them on.
    """

    def __getitem__(self, tag: int) -> t.Callable[..., object]:
        return _TAGS.get(tag, _refuse_tag)

    def __iter__(self) -> t.Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1  # cbor2 would ignore an empty mapping


def _refuse_tag(*_: object) -> t.NoReturn:
    raise ValueError("it contains a tag, which other serializers of WAMP do not have")


def _octets(value: object, *_: object) -> bytes:
    return value if isinstance(value, bytes) else _refuse_tag()


def _positive(value: object, *_: object) -> int:
    """Return an integer of at most 64 bits, because other serializers have no larger ones."""
    data = _octets(value)
    return int.from_bytes(data, "big") if len(data) <= 8 else _refuse_tag()


def _negative(value: object, *_: object) -> int:
    number = -1 - _positive(value)
    return number if number >= -(2**63) else _refuse_tag()


#: The functions that convert tagged values, by tag.
_TAGS: dict[int, t.Callable[..., object]] = {
    _UINT8_ARRAY: _octets,
    _POSITIVE: _positive,
    _NEGATIVE: _negative,
}
