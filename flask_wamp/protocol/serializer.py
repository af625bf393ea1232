"""What all serializers have in common: a message to bytes and back."""

from __future__ import annotations

import copy
import typing as t

import msgspec

from .._text import safe_text
from ..exceptions import InvalidPayload, ProtocolError, SerializationError
from . import error_uris
from .messages import Error, Event, HasPayload, Interrupt, Invocation, Message, Result
from .payload import Converter, Default
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

#: Values of ``raw_args`` and ``raw_kwargs`` that are not encoded as they are.
_RECEIVED = frozenset({msgspec.Raw, LooseJSON, Received, Undecodable})


class Serializer:
    """Base: encodes messages whose payloads are plain (see :mod:`.payload`) or received, and decodes
    envelopes.

    It has no state, so one serves all threads.

    :param accepts: The union of message classes to decode.
    """

    name: t.ClassVar[str]
    binary: t.ClassVar[bool] = True
    rawsocket_id: t.ClassVar[int]

    _converter: Converter
    """Makes what can be sent of the values of a payload."""

    #: The library's own functions, called for every message.
    _dump: t.Callable[[tuple[object, ...]], bytes]
    _load: t.Callable[[bytes], Message]

    def __init_subclass__(cls) -> None:
        cls._converter = Converter(None, cls.binary)

    @property
    def subprotocol(self) -> str:
        """The WebSocket subprotocol."""
        return f"wamp.2.{self.name}"

    def encode(self, message: Message) -> bytes:
        """Return the message's bytes.

        A payload that was received in this format is copied as it is. One that was received in another
        format is decoded and encoded again.

        :raises SerializationError: The message holds something that this serializer cannot carry.
        :raises InvalidPayload: It holds a payload that was received and cannot be decoded.
        """
        try:
            wire = message.wire()
            if type(wire[-1]) in _RECEIVED or type(wire[-2]) in _RECEIVED:
                wire = self._translated(message, wire)
            return self._dump(wire)
        except (SerializationError, InvalidPayload):
            raise
        except Exception as error:  # each library below has errors of its own
            reason = safe_text(error)
            raise SerializationError(f"not sent, {self.name} cannot carry it: {reason}") from error

    def decode(self, data: Buffer) -> Message:
        """Return the message. Its payload stays undecoded, so this is quick however large it is.

        Whatever is wrong with the payload alone shows when ``message.args`` or ``message.kwargs`` is used:
        another peer brought it, through a router that takes more than this serializer does, and that must
        not cost the session.

        :raises ProtocolError: The bytes are not a message of this serializer.
        """
        if type(data) is not bytes:  # the payload would keep all that was received with it
            data = bytes(data)
        try:
            return self._load(data)
        except Exception as error:  # each library below has errors of its own
            message_or_none = self._without_payload(data, error)
            if message_or_none is None:
                hint = "; it looks like JSON, see WAMP_SERIALIZERS" if self._is_json(data) else ""
                reason = safe_text(error)
                raise ProtocolError(f"not a WAMP message in {self.name}: {reason}{hint}") from error
            return message_or_none

    def with_default(self, default: Default | None) -> Serializer:
        """Return this serializer for an app that has types of its own."""
        own = copy.copy(self)
        own._converter = Converter(default, self.binary)
        return own

    def plain(self, value: object, default: Default | None = None) -> t.Any:
        """Return a payload made of what this serializer carries, see :func:`.payload.plain`."""
        converter = self._converter if default is None else Converter(default, self.binary)
        return converter.value(value)

    def _without_payload(self, data: bytes, error: Exception) -> Message | None:
        """Return the message with a payload that is :class:`Undecodable`, where another peer may have
        brought it.

        None: the router itself is at fault.
        """
        if isinstance(error, msgspec.ValidationError) and not self._has_odd_details(data):
            return None  # payloads are not validated, so the envelope is wrong
        return head_with(self._numbers(data[:40]), Undecodable(str(error)[:200]))

    def _numbers(self, data: bytes) -> list[int]:
        """Return the numbers that a message begins with, as far as they are in the bytes given."""
        raise NotImplementedError

    def _is_json(self, data: bytes) -> bool:
        return self.name != "json" and data.lstrip()[:1] == b"["

    def _has_odd_details(self, data: bytes) -> bool:
        """Whether a well-formed message has details that are a dictionary with something odd inside."""
        return False

    def _translated(self, message: Message, wire: tuple[object, ...]) -> tuple[object, ...]:
        """Return the array to send of a message whose payload was received, in this format."""
        received = t.cast(HasPayload, message)
        args = self._own(received.raw_args, decode_args)
        kwargs = self._own(received.raw_kwargs, decode_kwargs)
        if args is received.raw_args and kwargs is received.raw_kwargs:
            return wire
        own = copy.copy(received)
        own.raw_args, own.raw_kwargs = args, kwargs
        return t.cast(Message, own).wire()

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


def has_odd_details(data: bytes, decode: t.Callable[..., t.Any]) -> bool:
    """Whether a well-formed message has details that are a dictionary with something odd inside.

    :param decode: ``decode`` of ``msgspec.json`` or ``msgspec.msgpack``.
    """
    try:
        elements: list[msgspec.Raw] = decode(data, type=list[msgspec.Raw])
    except Exception:  # it is no array; msgspec has several errors
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
    """Return the message that begins with these numbers, of those that carry what other peers send."""
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
