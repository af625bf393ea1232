"""Serializers: a message to bytes and back.

Each has its WebSocket subprotocol and RawSocket number. Decoding checks the message on the way.

Source: WAMP Basic Profile, "Serializers" and "Binary conversion of JSON Strings".
"""

from __future__ import annotations

import base64
import copy
import functools
import importlib.util
import json
import re
import typing as t

import msgspec

from ..exceptions import ProtocolError, SerializationError
from . import error_uris
from .messages import Error, Event, FromRouter, Invocation, Message, Result
from .payload import Default, plain

Buffer = bytes | bytearray | memoryview


class Serializer:
    """Base: encodes plain payloads (see :mod:`.payload`), decodes what a router may send.

    :param accepts: The union of message classes to decode.
    """

    name: t.ClassVar[str]
    binary: t.ClassVar[bool] = True
    rawsocket_id: t.ClassVar[int]

    default: Default | None = None
    """Makes what can be sent of an app's own types, see :meth:`with_default`."""

    #: The library's own functions, called for every message.
    _dump: t.Callable[[t.Any], bytes]
    _load: t.Callable[[t.Any], t.Any]

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol."""
        return f"wamp.2.{self.name}"

    def encode(self, message: Message) -> bytes:
        """Return the message's bytes.

        :raises SerializationError: It holds what this serializer cannot carry.
        """
        try:
            return self._dump(message.wire())
        except SerializationError:
            raise
        except Exception as error:  # each library below has errors of its own
            raise SerializationError(f"not sent, {self.name} cannot carry it: {error}") from error

    def decode(self, data: Buffer) -> Message:
        """Return the message.

        :raises ProtocolError: The bytes are not a message of this serializer.
        """
        try:
            message: Message = self._load(data)
            return message
        except Exception as error:  # each library below has errors of its own
            raise ProtocolError(f"not a WAMP message in {self.name}: {error}") from error

    def head_of_bad_payload(self, data: Buffer, error: ProtocolError) -> Message | None:
        """Return the message without its payload, where only that could not be decoded.

        A caller or publisher may bring it through a router, which takes more than we do: it must not
        cost the session. None: it is the router's own mistake.

        :param error: What :meth:`decode` raised.
        """
        why = str(error)
        if not any(each in why for each in _OF_PAYLOADS):
            return None
        match self._numbers(bytes(data[:40])):
            case [68, request_id, registration_id, *_]:
                return Invocation(request_id, registration_id, {})
            case [50, request_id, *_]:
                return Result(request_id, {})
            case [36, subscription_id, publication_id, *_]:
                return Event(subscription_id, publication_id, {})
            case [8, request_type, request_id, *_]:
                return Error(request_type, request_id, {}, error_uris.INVALID_ARGUMENT)
        return None

    def _numbers(self, data: bytes) -> list[int]:
        """The numbers a message begins with, as far as they are in the bytes given."""
        raise NotImplementedError

    def with_default(self, default: Default | None) -> Serializer:
        """Return this serializer for an app that has types of its own."""
        own = copy.copy(self)
        own.default = default
        return own

    def plain(self, value: t.Any, default: Default | None = None) -> t.Any:
        """Return a payload made of what this serializer carries, see :func:`.payload.plain`."""
        return plain(value, default or self.default, binary=self.binary)


#: In what the libraries say of payloads that are too deep, or hold values they do not know.
_OF_PAYLOADS = (
    "recursion",
    "nesting depth",
    "codec can't decode",
    "out of range",
    "timestamp",
    "error decoding",
)


def _integers(data: bytes, small: int, first: int) -> list[int]:
    """Unsigned integers as MsgPack and CBOR have them, up to the first that is none.

    :param small: Below it, a byte is itself the number.
    :param first: The byte before a number of 8 bits; those of 16, 32 and 64 bits follow.
    """
    numbers: list[int] = []
    while data:
        kind, width = data[0], 0
        if kind >= small:
            if not first <= kind < first + 4 or len(data) <= (width := 1 << kind - first):
                break
            kind = int.from_bytes(data[1 : 1 + width], "big")
        numbers.append(kind)
        data = data[1 + width :]
    return numbers


class MsgPackSerializer(Serializer):
    """MsgPack, the default: half of JSON's cost at the router."""

    name = "msgpack"
    rawsocket_id = 2

    def __init__(self, accepts: t.Any = FromRouter) -> None:
        self._load = msgspec.msgpack.Decoder(accepts).decode
        self._dump = msgspec.msgpack.Encoder().encode

    def _numbers(self, data: bytes) -> list[int]:
        header = {0xDC: 3, 0xDD: 5}.get(data[0], 1 if 0x90 <= data[0] <= 0x9F else len(data))
        return _integers(data[header:], 0x80, 0xCC)


class JSONSerializer(Serializer):
    """JSON, with bytes as text: NUL and Base64."""

    name = "json"
    binary = False
    rawsocket_id = 1

    def __init__(self, accepts: t.Any = FromRouter) -> None:
        self._accepts = accepts
        self._decoder = msgspec.json.Decoder(accepts)
        self._encode = msgspec.json.Encoder().encode
        self._dump, self._load = self._to_json, self._from_json

    def _numbers(self, data: bytes) -> list[int]:
        found = re.match(rb"\s*\[((?:\s*\d{1,16}\s*,)+)", data)
        return [int(number) for number in found[1].split(b",")[:-1]] if found else []

    def _to_json(self, wire: tuple[t.Any, ...]) -> bytes:
        data = self._encode(wire)
        if b'"\\u0000' in data:  # much cheaper than to look through every payload
            _check_binary(wire)
        return data

    def _from_json(self, data: Buffer) -> t.Any:
        message = self._decode(data)
        if b"\\u0000" in bytes(data):
            for field in ("args", "kwargs"):
                if hasattr(message, field):
                    setattr(message, field, _to_bytes(getattr(message, field)))
        return message

    def _decode(self, data: Buffer) -> t.Any:
        try:
            return self._decoder.decode(data)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError as error:
            # Crossbar 26.10 passes on as they are NaN, infinity and lone surrogates, which are no JSON:
            # another peer that publishes one must not end the session of this one.
            try:
                value = json.loads(str(data, "utf-8"))
            except ValueError:
                raise error from None
            return msgspec.convert(value, self._accepts)


def _check_binary(value: t.Any) -> None:
    """Text that begins with NUL means bytes, in Base64; anything else closes the session."""
    kind = type(value)
    if kind is str and value.startswith("\0") and type(_to_bytes(value)) is not bytes:
        raise SerializationError("text that begins with NUL cannot be sent in JSON")
    if kind is dict:
        value = [*value, *value.values()]
    if kind is dict or kind is list or kind is tuple:
        for item in value:
            _check_binary(item)


def _to_bytes(value: t.Any) -> t.Any:
    kind = type(value)
    if kind is str and value.startswith("\0"):
        try:
            return base64.b64decode(value[1:], validate=True)
        except ValueError:  # no Base64, or no ASCII
            return value
    if kind is dict:
        return {key: _to_bytes(item) for key, item in value.items()}
    if kind is list:
        return [_to_bytes(item) for item in value]
    return value


#: How deep msgspec reads lists and dictionaries: until Python's recursion limit.
MAX_DEPTH_READ = 1000


def _refuse_tag(*_: object) -> t.NoReturn:
    raise ValueError("a tag, which no other serializer of WAMP has")


#: How JavaScript's ``Uint8Array`` is written by some (cbor-x, wampy.js): tagged, but bytes all the same.
#: Source: RFC 8746, "Typed Arrays".
_UINT8_ARRAY = 64


def _octets(value: object, *_: object) -> bytes:
    return value if isinstance(value, bytes) else _refuse_tag()


class _Untagged(t.Mapping[int, t.Any]):
    """Refuses every tag but one before what is tagged is made: ``cbor2`` looks here first.

    Tags make dates, regular expressions and numbers of megabytes, and lists that contain themselves, or
    one another so often that no walk through them ends. Crossbar 26.10 passes some on.
    """

    def __getitem__(self, tag: int) -> t.Any:
        return _octets if tag == _UINT8_ARRAY else _refuse_tag

    def __iter__(self) -> t.Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1  # else it is taken for nothing


class CBORSerializer(Serializer):
    """CBOR, where ``cbor2`` is installed: what JSON has, and bytes. No tags but that of bytes."""

    name = "cbor"
    rawsocket_id = 3

    def __init__(self, accepts: t.Any = FromRouter) -> None:
        import cbor2

        # Others may send what is nested deeper than cbor2 reads by itself, 400, and the router passes
        # it on: read as deep as MsgPack and JSON are, so that the session does not end for it.
        loads = functools.partial(
            cbor2.loads,
            max_depth=MAX_DEPTH_READ,
            semantic_decoders=_Untagged(),
            tag_hook=_refuse_tag,
        )
        self._dump = cbor2.dumps
        self._load = lambda data: msgspec.convert(loads(bytes(data)), accepts)

    def _numbers(self, data: bytes) -> list[int]:
        header = {0x98: 2, 0x99: 3, 0x9A: 5, 0x9B: 9, 0x9F: 1}
        return _integers(
            data[header.get(data[0], 1 if 0x80 <= data[0] < 0x98 else len(data)) :], 24, 24
        )


_SERIALIZERS: dict[str, type[Serializer]] = {
    cls.name: cls for cls in (MsgPackSerializer, JSONSerializer, CBORSerializer)
}

NAMES = tuple(_SERIALIZERS)
"""The names ``WAMP_SERIALIZERS`` takes."""


def available(names: t.Iterable[str]) -> list[str]:
    """Leave out what is not installed."""
    return [name for name in names if name != "cbor" or importlib.util.find_spec("cbor2")]


@functools.cache
def get_serializer(name: str) -> Serializer:
    """The serializer of that name, for what a router sends. It has no state, so one serves all."""
    return _SERIALIZERS[name]()
