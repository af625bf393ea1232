"""Serializers: a message to bytes and back.

Each has its WebSocket subprotocol and RawSocket number. Decoding checks the message on the way.

Source: WAMP Basic Profile, "Serializers" and "Binary conversion of JSON Strings".
"""

from __future__ import annotations

import base64
import functools
import importlib.util
import json
import typing as t

import msgspec

from .exceptions import ProtocolError, SerializationError
from .messages import FromRouter, Message
from .payload import Default, plain

Buffer = bytes | bytearray | memoryview


class Serializer:
    """Base: encodes plain payloads (see :mod:`.payload`), decodes what a router may send.

    :param accepts: The union of message classes to decode.
    """

    name: t.ClassVar[str]
    binary: t.ClassVar[bool] = True
    rawsocket_id: t.ClassVar[int]

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
            return t.cast(Message, self._load(data))
        except Exception as error:  # each library below has errors of its own
            raise ProtocolError(f"not a WAMP message in {self.name}: {error}") from error

    def plain(self, value: t.Any, default: Default | None = None) -> t.Any:
        """Return a payload made of what this serializer carries, see :func:`.payload.plain`."""
        return plain(value, default, binary=self.binary)


class MsgPackSerializer(Serializer):
    """MsgPack, the default: half of JSON's cost at the router."""

    name = "msgpack"
    rawsocket_id = 2

    def __init__(self, accepts: t.Any = FromRouter) -> None:
        self._load = msgspec.msgpack.Decoder(accepts).decode
        self._dump = msgspec.msgpack.Encoder().encode


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


class CBORSerializer(Serializer):
    """CBOR, where ``cbor2`` is installed."""

    name = "cbor"
    rawsocket_id = 3

    def __init__(self, accepts: t.Any = FromRouter) -> None:
        import cbor2

        # Others may send what is nested deeper than cbor2 6 reads by itself, 400, and the router passes
        # it on: read as deep as MsgPack and JSON are, so that the session does not end for it.
        loads = functools.partial(cbor2.loads, max_depth=MAX_DEPTH_READ)
        try:
            loads(b"\0")
        except TypeError:  # before that it had no such limit
            loads = functools.partial(cbor2.loads)
        self._dump = cbor2.dumps
        self._load = lambda data: msgspec.convert(loads(bytes(data)), accepts)


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
