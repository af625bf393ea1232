"""The base class of the serializers, which convert messages to bytes and back."""

from __future__ import annotations

import copy
import typing as t

import msgspec

from .._text import safe_text
from ..exceptions import InvalidPayload, ProtocolError, SerializationError
from . import error_uris
from .messages import Error, Event, HasPayload, Interrupt, Invocation, Message, Result
from .payload import Default, PayloadConverter
from .raw_payload import (
    LooseJSON,
    Received,
    Undecodable,
    decode_args,
    decode_kwargs,
    is_null,
    opaque_payload,
    raw_format,
)

Buffer = bytes | bytearray | memoryview

#: The types of received payloads, which may need a conversion before they are encoded.
_RECEIVED = frozenset({msgspec.Raw, LooseJSON, Received, Undecodable})


class Serializer:
    """Encodes and decodes messages. When it decodes, payloads stay undecoded.

    It has no state, so all threads can share it.

    :param accepts: The union of message classes to decode.
    """

    name: t.ClassVar[str]
    binary: t.ClassVar[bool] = True
    rawsocket_id: t.ClassVar[int]

    _converter: PayloadConverter
    """Converts the values of a payload to types that can be sent."""

    #: The functions of the library. They are called directly, because they are called for every message.
    _dump: t.Callable[[tuple[object, ...]], bytes]
    _load: t.Callable[[bytes], Message]

    def __init_subclass__(cls) -> None:
        cls._converter = PayloadConverter(None, cls.binary)

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol."""
        return f"wamp.2.{self.name}"

    def encode(self, message: Message) -> bytes:
        """Return the bytes of a message.

        A payload that was received in this format is copied unchanged. If it was received in another format,
        it is decoded and encoded again.

        :raises SerializationError: The message contains a value that this serializer cannot encode.
        :raises InvalidPayload: The message contains a received payload that cannot be decoded.
        """
        try:
            wire = _wire(message)
            if type(wire[-1]) in _RECEIVED or type(wire[-2]) in _RECEIVED:
                wire = self._translated(message, wire)
            return self._dump(wire)
        except (SerializationError, InvalidPayload):
            raise
        except Exception as error:  # each library has its own errors
            reason = safe_text(error)
            raise SerializationError(f"not sent, {self.name} cannot carry it: {reason}") from error

    def decode(self, data: Buffer) -> Message:
        """Return the message. Its payload stays undecoded, so this is fast for payloads of any size.

        If only the payload is invalid, ``message.args`` and ``message.kwargs`` raise the error. Another peer
        has sent the payload, and the router may accept more than this serializer. So an invalid payload must
        not end the session.

        :raises ProtocolError: The bytes are not a message of this serializer.
        """
        # The payload is a view of these bytes, and must not keep a whole receive buffer alive.
        if type(data) is not bytes:
            data = bytes(data)
        try:
            return self._load(data)
        except Exception as error:  # each library has its own errors
            message_or_none = self._without_payload(data, error)
            if message_or_none is None:
                hint = "; it looks like JSON, see WAMP_SERIALIZERS" if self._is_json(data) else ""
                reason = safe_text(error)
                raise ProtocolError(f"not a WAMP message in {self.name}: {reason}{hint}") from error
            return message_or_none

    def with_default(self, default: Default | None) -> Serializer:
        """Return a copy of this serializer that converts the types of an app."""
        own = copy.copy(self)
        own._converter = PayloadConverter(default, self.binary)
        return own

    def plain(self, value: object, default: Default | None = None) -> t.Any:
        """Return a payload converted to the types of this serializer, see :func:`.payload.plain`."""
        converter = self._converter if default is None else PayloadConverter(default, self.binary)
        return converter.value(value)

    def _without_payload(self, data: bytes, error: Exception) -> Message | None:
        """Return the message with an :class:`Undecodable` payload.

        None if the router itself, and not another peer, has caused the error.
        """
        if isinstance(error, msgspec.ValidationError) and not self._has_odd_details(data):
            return None  # payloads are not validated, so the envelope is invalid
        return head_with(self._numbers(data[:40]), Undecodable(str(error)[:200]))

    def _numbers(self, data: bytes) -> list[int]:
        """Return the numbers at the beginning of a message.

        :param data: The first bytes of the message.
        """
        raise NotImplementedError

    def _is_json(self, data: bytes) -> bool:
        return self.name != "json" and data.lstrip()[:1] == b"["

    def _has_odd_details(self, data: bytes) -> bool:
        """Return whether only a value inside of the details is invalid."""
        return False

    def _translated(self, message: Message, wire: tuple[object, ...]) -> tuple[object, ...]:
        """Return the array to send, with the received payload converted to this format."""
        received = t.cast(HasPayload, message)
        args = self._own(received.raw_args, decode_args)
        kwargs = self._own(received.raw_kwargs, decode_kwargs)
        if args is received.raw_args and kwargs is received.raw_kwargs:
            return wire
        own = copy.copy(received)
        own.raw_args, own.raw_kwargs = args, kwargs
        return _wire(t.cast(Message, own))

    def _own(self, value: object, decode: t.Callable[[object], object]) -> object:
        if type(value) not in _RECEIVED:
            return value
        if isinstance(value, msgspec.Raw) and raw_format(value) == self.name and not is_null(value):
            return value
        try:
            return self.plain(decode(value))
        except InvalidPayload:
            opaque = opaque_payload(value)
            if opaque is None:
                raise
            return self.plain(opaque)


def _wire(message: Message) -> tuple[object, ...]:
    """Return a message as the array to send. An empty payload at its end is omitted."""
    values = msgspec.structs.astuple(message)
    tag, end = _SHAPES.get(type(message)) or _shape(type(message))
    if end == len(values) or values[-1]:
        return tag + values
    return tag + (values[:-1] if values[-2] else values[:end])


#: For each class, its number as a tuple, and how many fields are required. A lookup is faster than msgspec.
_SHAPES: dict[type[Message], tuple[tuple[object], int]] = {}


def _shape(kind: type[Message]) -> tuple[tuple[object], int]:
    required = len(kind.__struct_fields__) - len(kind.__struct_defaults__)
    _SHAPES[kind] = shape = (kind.__struct_config__.tag,), required
    return shape


def has_odd_details(data: bytes, decode: t.Callable[..., t.Any]) -> bool:
    """Return whether a message is well-formed, except for a value inside of its details.

    :param decode: ``decode`` of ``msgspec.json`` or ``msgspec.msgpack``.
    """
    try:
        elements: list[msgspec.Raw] = decode(data, type=list[msgspec.Raw])
    except Exception:  # it is not an array. msgspec raises several exceptions
        return False
    for element in elements:
        kind = memoryview(element)[0]
        if kind == ord("{") or 0x80 <= kind <= 0x8F or kind in (0xDE, 0xDF):
            try:
                decode(element, type=dict[str, object])
            except Exception:
                return True
            return False
    return False


def head_with(numbers: list[int], payload: Undecodable) -> Message | None:
    """Return the message that begins with these numbers. None if it cannot contain data of other peers."""
    match numbers:
        case [68, request_id, registration_id, *_]:
            return Invocation(request_id, registration_id, {}, payload)
        case [50, request_id, *_]:
            return Result(request_id, {}, payload)
        case [36, subscription_id, publication_id, *_]:
            return Event(subscription_id, publication_id, {}, payload)
        case [8, request_type, request_id, *_]:
            return Error(request_type, request_id, {}, error_uris.INVALID_ARGUMENT, payload)
        case [69, request_id, *_]:
            return Interrupt(request_id, {})
    return None
