"""Serializers from the router's side: payloads pass undecoded, and are converted only if they must be.

A payload is the last items of a message, each :class:`msgspec.Raw`: the bytes as they were sent.
Between two sessions of one serializer these bytes are copied into the outgoing message. Between two
serializers the payload is decoded and encoded again (:func:`convert`).

Source: WAMP Basic Profile, "Serializers" and "Binary conversion of JSON Strings".
"""

from __future__ import annotations

import functools
import typing as t

import msgspec
from msgspec import Raw

from ..exceptions import ProtocolError, SerializationError
from ..protocol.messages import FromClient, Message, PayloadMessage, from_elements
from ..protocol.payload import plain
from ..protocol.raw_payload import Received, Undecodable, bytes_from_json, from_extension
from ..protocol.serializers import MAX_DEPTH_PASSED_ON, get_router_serializer

#: The last items of a message: nothing, the positional payload, or both.
RawPayload = tuple[Raw, ...]


class PayloadError(Exception):
    """A payload cannot be decoded, or the serializer of another session cannot carry it."""


class Codec:
    """A serializer, as the router uses it. It has no state, so one object serves all sessions."""

    name: t.ClassVar[str]

    encode: t.Callable[[tuple[object, ...]], bytes]
    """Encode a message that the router made, as an array. Items may be :class:`msgspec.Raw`."""

    def decode(self, data: bytes) -> Message:
        """Decode a client's message, but not its payload.

        :param data: The message. It must not change afterwards: payloads are parts of it, not copies.
        :raises ProtocolError: A client may not send this.
        """
        raise NotImplementedError

    def payload(self, message: PayloadMessage) -> RawPayload:
        """Return the payload of a message that was decoded, to pass it on.

        It is a list, and a dictionary with strings as keys. Anything else would be a protocol error of the
        router. The values in it are not checked: a receiver must cope with values that it cannot decode.
        Null means no payload. The Go client of nexus sends it with every call that has only keywords.

        :raises ProtocolError: It is something else.
        :raises PayloadError: It is well-formed, but the router cannot pass it on.
        """
        raise NotImplementedError

    def load(self, raw: Raw) -> t.Any:
        """Decode a part of a payload. Bytes stay bytes.

        :raises PayloadError: It cannot be decoded.
        """
        raise NotImplementedError

    def dump(self, value: object) -> Raw:
        """Encode a part of a payload. Bytes are encoded in the serializer's way.

        :raises PayloadError: The serializer cannot carry it.
        """
        raise NotImplementedError


_NO_LIST = "the positional payload is not a list"
_NO_DICTIONARY = "the keyword payload is not a dictionary with strings as keys"


#: The first byte of a list.
_MSGPACK_LISTS = frozenset([*range(0x90, 0xA0), 0xDC, 0xDD])

_MSGPACK_NULL = 0xC0


class MsgPackCodec(Codec):
    """MsgPack."""

    name = "msgpack"

    def __init__(self) -> None:
        self.encode = msgspec.msgpack.Encoder().encode
        decoder = msgspec.msgpack.Decoder(FromClient, ext_hook=from_extension)
        self._decode = t.cast(t.Callable[[bytes], Message], decoder.decode)
        self._load = msgspec.msgpack.Decoder(ext_hook=from_extension).decode
        self._load_keys = msgspec.msgpack.Decoder(dict[str, Raw]).decode
        self._empty = Raw(self.encode(t.cast("t.Any", [])))

    def decode(self, data: bytes) -> Message:
        try:
            return self._decode(data)
        except Exception as error:  # ValidationError, DecodeError, UnicodeError, RecursionError
            raise ProtocolError(f"not a WAMP message in MsgPack: {error}") from None

    def payload(self, message: PayloadMessage) -> RawPayload:
        args, kwargs = message.raw_args, message.raw_kwargs
        if type(args) is not Raw:
            return ()
        first = memoryview(args)[0]
        if first not in _MSGPACK_LISTS:
            if first != _MSGPACK_NULL:
                raise ProtocolError(_NO_LIST)
            args = self._empty
        if type(kwargs) is not Raw or memoryview(kwargs)[0] == _MSGPACK_NULL:
            return (args,)
        try:
            self._load_keys(kwargs)
        except Exception:  # ValidationError, DecodeError, UnicodeError, RecursionError
            raise ProtocolError(_NO_DICTIONARY) from None
        return (args, kwargs)

    def load(self, raw: Raw) -> t.Any:
        try:
            return self._load(raw)
        except Exception as error:
            raise PayloadError(f"the payload cannot be decoded: {error}") from None

    def dump(self, value: object) -> Raw:
        try:
            return Raw(self.encode(plain(value, finite=False)))
        except (SerializationError, ValueError, TypeError, OverflowError) as error:
            raise PayloadError(f"MsgPack cannot carry the payload: {error}") from None


class JSONCodec(Codec):
    """JSON."""

    name = "json"

    def __init__(self) -> None:
        self.encode = msgspec.json.Encoder().encode
        decoder = msgspec.json.Decoder(FromClient)
        self._decode = t.cast(t.Callable[[bytes], Message], decoder.decode)
        self._load = msgspec.json.Decoder().decode
        self._empty = Raw(b"[]")

    def decode(self, data: bytes) -> Message:
        try:
            # msgspec does not check what it leaves undecoded. A WebSocket peer that receives text that
            # is not UTF-8 has to fail the connection (RFC 6455, section 8.1). That would be the
            # receiver's connection, not the sender's.
            if not data.isascii():
                data.decode()
            return self._decode(data)
        except Exception as error:  # ValidationError, DecodeError, UnicodeError, RecursionError
            raise ProtocolError(f"not a WAMP message in JSON: {error}") from None

    def payload(self, message: PayloadMessage) -> RawPayload:
        args, kwargs = message.raw_args, message.raw_kwargs
        if type(args) is not Raw:
            return ()
        first = memoryview(args)[0]
        if first != 0x5B:  # [
            if first != 0x6E:  # null
                raise ProtocolError(_NO_LIST)
            args = self._empty
        if type(kwargs) is not Raw:
            return (args,)
        first = memoryview(kwargs)[0]
        if first == 0x7B:  # {
            return (args, kwargs)
        if first != 0x6E:
            raise ProtocolError(_NO_DICTIONARY)
        return (args,)

    def load(self, raw: Raw) -> t.Any:
        try:
            value = self._load(raw)
            # Basic Profile, "Binary conversion of JSON Strings": text that begins with NUL is bytes.
            return bytes_from_json(value) if b"\\u0000" in bytes(raw) else value
        except Exception as error:
            raise PayloadError(f"the payload cannot be decoded: {error}") from None

    def dump(self, value: object) -> Raw:
        try:
            data = self.encode(t.cast("t.Any", plain(value, binary=False)))
        except (SerializationError, ValueError, TypeError) as error:
            raise PayloadError(f"JSON cannot carry the payload: {error}") from None
        if b'"\\u0000' in data and _has_nul_text(value):
            raise PayloadError("JSON cannot carry text that begins with NUL")
        return Raw(data)


def _has_nul_text(value: object) -> bool:
    """Return whether there is text that would be read as bytes in JSON."""
    if isinstance(value, str):
        return value.startswith("\0")
    if isinstance(value, dict):
        return any(_has_nul_text(key) or _has_nul_text(item) for key, item in value.items())
    return isinstance(value, list | tuple) and any(map(_has_nul_text, value))


class CBORCodec(Codec):
    """CBOR. ``cbor2`` decodes payloads too. They are encoded again, so no tag reaches another session."""

    name = "cbor"

    def __init__(self) -> None:
        import cbor2

        self._dumps = cbor2.dumps
        self._loads = functools.partial(cbor2.loads, max_depth=MAX_DEPTH_PASSED_ON)
        self._serializer = get_router_serializer("cbor")

    def decode(self, data: bytes) -> Message:
        try:
            return self._serializer.decode(data)
        except ProtocolError:
            if not any(byte >> 5 == _TAG for byte in data):
                raise
            return self._without_tags(data)

    def _without_tags(self, data: bytes) -> Message:
        """Return a message whose payload contains tags. It is refused, but the session continues."""
        try:
            elements = self._loads(data, semantic_decoders=_Ignored(), tag_hook=_ignore)
            message = from_elements(elements, FromClient)
        except Exception as error:  # ValidationError, cbor2's own
            raise ProtocolError(f"not a WAMP message in CBOR: {error}") from None
        if not isinstance(message, PayloadMessage):
            raise ProtocolError("a tag in a message without payload")
        message.raw_args = Undecodable("CBOR tags cannot be passed on")
        return message

    def encode(self, wire: tuple[object, ...]) -> bytes:
        if not any(type(item) is Raw for item in wire):
            return self._dumps(wire)
        # cbor2 cannot embed parts that are encoded already. A message has fewer than 24 parts, so its
        # array begins with one byte.
        parts = (bytes(item) if isinstance(item, Raw) else self._dumps(item) for item in wire)
        return bytes([0x80 + len(wire)]) + b"".join(parts)

    def payload(self, message: PayloadMessage) -> RawPayload:
        args, kwargs = message.raw_args, message.raw_kwargs
        if isinstance(args, Undecodable):
            raise PayloadError(args.reason)
        if not isinstance(args, Received):
            return ()
        if not isinstance(args.value, list | None):
            raise ProtocolError(_NO_LIST)
        raw_args = self._encoded(args.value or [])
        if not isinstance(kwargs, Received) or kwargs.value is None:
            return (raw_args,)
        if type(kwargs.value) is not dict or not all(type(key) is str for key in kwargs.value):
            raise ProtocolError(_NO_DICTIONARY)
        return raw_args, self._encoded(kwargs.value)

    def _encoded(self, value: object) -> Raw:
        try:
            return Raw(self._dumps(value))
        except Exception as error:  # cbor2's own, RecursionError
            raise ProtocolError(f"the payload cannot be passed on: {error}") from None

    def load(self, raw: Raw) -> t.Any:
        try:
            # Decode it as the payload of a message, because the serializer refuses tags.
            message = self._serializer.decode(b"\x84\x18\x46\x01\xa0" + bytes(raw))
            assert isinstance(message, PayloadMessage) and isinstance(message.raw_args, Received)
            return message.raw_args.value
        except Exception as error:
            raise PayloadError(f"the payload cannot be decoded: {error}") from None

    def dump(self, value: object) -> Raw:
        try:
            return Raw(self._dumps(plain(value, finite=False)))
        except (SerializationError, ValueError, TypeError) as error:
            raise PayloadError(f"CBOR cannot carry the payload: {error}") from None


#: CBOR's major type of a tag.
_TAG = 6


class _Ignored(t.Mapping[int, t.Any]):
    """Ignores all tags. ``cbor2`` asks it for a decoder before it creates a date or a huge number."""

    def __getitem__(self, tag: int) -> t.Any:
        return _ignore

    def __iter__(self) -> t.Iterator[int]:
        return iter(())

    def __len__(self) -> int:
        return 1  # otherwise cbor2 ignores it


def _ignore(*_: object) -> None:
    return None


_CODECS: dict[str, type[Codec]] = {
    codec.name: codec for codec in (MsgPackCodec, JSONCodec, CBORCodec)
}


@functools.cache
def get_codec(name: str) -> Codec:
    """Return the codec of a serializer: ``msgpack``, ``json``, or ``cbor`` where cbor2 is installed."""
    return _CODECS[name]()


def convert(payload: RawPayload, source: Codec, target: Codec) -> RawPayload:
    """Return a payload in another serializer.

    :raises PayloadError: It cannot be decoded, or the other serializer cannot carry it.
    """
    if source is target:
        return payload
    return tuple(target.dump(source.load(part)) for part in payload)


class Payload:
    """A payload of one serializer. It is converted to each other serializer once."""

    __slots__ = ("_converted", "codec", "raw")

    def __init__(self, codec: Codec, raw: RawPayload) -> None:
        self.codec = codec
        self.raw = raw
        self._converted: dict[Codec, RawPayload] = {codec: raw}

    @classmethod
    def of(cls, args: t.Sequence[object], kwargs: t.Mapping[str, object] | None = None) -> Payload:
        """Make a payload of plain values.

        :raises PayloadError: No serializer can carry it.
        """
        codec = get_codec("msgpack")
        parts = (args, kwargs) if kwargs else (args,)
        return cls(codec, tuple(map(codec.dump, parts)))

    def kept(self) -> Payload:
        """Return a copy, which does not keep the bytes of the whole message in memory."""
        return Payload(self.codec, tuple(part.copy() for part in self.raw))

    def wire(self, codec: Codec) -> RawPayload:
        """Return the payload as the last items of a message.

        :raises PayloadError: It cannot be decoded, or the serializer cannot carry it.
        """
        raw = self._converted.get(codec)
        if raw is None:
            raw = self._converted[codec] = convert(self.raw, self.codec, codec)
        return raw

    def values(self) -> tuple[list[t.Any], dict[str, t.Any]]:
        """Return the decoded payload.

        :raises PayloadError: It cannot be decoded.
        """
        parts = [self.codec.load(part) for part in self.raw]
        args: list[t.Any] = parts[0] if parts else []
        kwargs: dict[str, t.Any] = parts[1] if len(parts) > 1 else {}
        return args, kwargs
