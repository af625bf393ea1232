"""Received payloads. The reader does not decode them. The thread that uses a payload decodes it.

A session reads only the *envelope* of a message: its ids, details and URIs. The payload stays a
:class:`msgspec.Raw`, which is a view of the received bytes. So an invalid payload cannot end the session, and
the reader only skips a large payload. The thread that uses the payload decodes it with ``message.args`` and
``message.kwargs``. They raise :class:`.InvalidPayload` if it is invalid.

A ``Raw`` does not contain the name of its serializer, but the first byte reveals it. In JSON, it is ASCII. In
MessagePack, the first byte of a list, dictionary or nil is 0x80 or above. In CBOR, there is no ``Raw``,
because ``cbor2`` decodes whole messages.
"""

from __future__ import annotations

import base64
import json
import typing as t

import msgspec

from .._text import safe_text
from ..exceptions import InvalidPayload

Decode = t.Callable[[t.Any], object]

Raw = msgspec.Raw

T = t.TypeVar("T")


def from_extension(code: int, data: memoryview) -> object:
    """Return the value of a MessagePack extension. ``msgspec`` calls this.

    wampy.js (msgpackr) and msgpack5 send JavaScript's undefined as an extension. It becomes None.
    """
    content = bytes(data)
    if code == 0 and content == b"\0":
        return None
    return msgspec.msgpack.Ext(code, content)


Arguments = list[t.Any]
Keywords = dict[str, t.Any]

#: The decoders of each serializer. They accept null instead of a payload, because the Go client of nexus
#: sends it with every call that has only keyword arguments.
_ARGS_FROM_JSON = msgspec.json.Decoder(Arguments | None).decode
_ARGS_FROM_MSGPACK = msgspec.msgpack.Decoder(Arguments | None, ext_hook=from_extension).decode
_KWARGS_FROM_JSON = msgspec.json.Decoder(Keywords | None).decode
_KWARGS_FROM_MSGPACK = msgspec.msgpack.Decoder(Keywords | None, ext_hook=from_extension).decode


_FROM_JSON: Decode = msgspec.json.Decoder().decode
_FROM_MSGPACK: Decode = msgspec.msgpack.Decoder(ext_hook=from_extension).decode


#: NUL in JSON. Text that means bytes begins with it.
_NUL = b"\\u0000"


UNKNOWN_SIZE = 64 * 1024
"""The assumed size, in bytes, of a payload that is nested too deep to be measured."""


class Undecodable:
    """Replaces a payload that cannot be decoded, so that only its message is refused.

    :param reason: The error text of the decoder.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def __repr__(self) -> str:
        return f"<undecodable: {self.reason}>"


class LooseJSON:
    """A JSON payload that ``msgspec`` does not accept.

    It contains NaN, infinity or lone surrogates, or it is malformed. Crossbar 26.10 passes on all that
    Python's own parser accepts.

    :param data: All elements after the envelope, separated by commas.
    :param index: The index of this element.
    """

    __slots__ = ("data", "index")

    def __init__(self, data: bytes, index: int) -> None:
        self.data = data
        self.index = index

    def decode(self) -> object:
        """Return the element. None if it does not exist."""
        elements = json.loads(f"[{self.data.decode()}]")
        value = elements[self.index] if self.index < len(elements) else None
        return bytes_from_json(value) if _NUL in self.data else value


class Received:
    """A payload of another peer that is decoded, but not checked."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def __repr__(self) -> str:
        return f"Received({self.value!r})"


def decode_args(raw: object) -> list[object]:
    """Return the positional payload.

    :param raw: The ``raw_args`` of a message. A list or tuple is returned unchanged.
    :raises InvalidPayload: It cannot be decoded, or is not a list.
    """
    if type(raw) is Raw:
        return _decoded(raw, _ARGS_FROM_JSON, _ARGS_FROM_MSGPACK) or []
    if type(raw) is list or type(raw) is tuple:
        return t.cast("list[object]", raw)
    value = _odd(raw)
    if value is None:
        return []
    if not isinstance(value, list | tuple):
        raise _invalid(f"args must be a list, not {_name_of(value)}")
    return list(value)


def decode_kwargs(raw: object) -> dict[str, object]:
    """Return the keyword payload.

    :param raw: The ``raw_kwargs`` of a message. A dictionary is returned unchanged.
    :raises InvalidPayload: It cannot be decoded, or is not a dictionary with text keys.
    """
    if type(raw) is Raw:
        return _decoded(raw, _KWARGS_FROM_JSON, _KWARGS_FROM_MSGPACK) or {}
    if type(raw) is dict:
        return raw
    value = _odd(raw)
    if value is None:
        return {}
    if type(value) is not dict:
        raise _invalid(f"kwargs must be a dictionary, not {_name_of(value)}")
    if not all(type(key) is str for key in value):
        raise _invalid("a key of kwargs is not text")
    return value


def opaque_payload(raw_args: object) -> bytes | None:
    """Return a payload that consists of bytes instead of a list. It is encrypted for its receiver.

    Source: WAMP Advanced Profile, "Payload Passthru Mode".
    """
    value: object
    try:
        if isinstance(raw_args, msgspec.Raw):
            is_json = raw_format(raw_args) == "json"
            value = _FROM_JSON(raw_args) if is_json else _FROM_MSGPACK(raw_args)
            value = bytes_from_json(value) if is_json else value
        else:
            value = _odd(raw_args)
    except Exception:  # it cannot be decoded at all
        return None
    return value if isinstance(value, bytes) else None


def raw_format(raw: msgspec.Raw) -> str:
    """Return the name of the serializer that a payload is encoded in: ``json`` or ``msgpack``."""
    return "json" if memoryview(raw)[0] < 0x80 else "msgpack"


def is_null(raw: msgspec.Raw) -> bool:
    """Return whether a payload is null, which some clients send instead of an empty payload."""
    return memoryview(raw)[0] in (0xC0, ord("n"))


def payload_size(raw_args: object, raw_kwargs: object) -> int:
    """Return the approximate size of a payload in bytes, without decoding it."""
    if type(raw_args) is msgspec.Raw:
        return len(raw_args) + (len(raw_kwargs) if type(raw_kwargs) is msgspec.Raw else 0)
    if type(raw_args) is LooseJSON:
        return len(raw_args.data)
    if type(raw_args) is Received:
        raw_args, raw_kwargs = raw_args.value, getattr(raw_kwargs, "value", raw_kwargs)
    try:
        return len(msgspec.msgpack.encode((raw_args, raw_kwargs)))
    except (OverflowError, TypeError, ValueError, RecursionError):
        # It contains an integer that only JSON has, or a value that only CBOR has, or is nested very deep.
        return _length_of_repr(raw_args) + _length_of_repr(raw_kwargs)


def _length_of_repr(value: object) -> int:
    try:
        return len(repr(value))
    except RecursionError:
        return UNKNOWN_SIZE


def bytes_from_json(value: object) -> object:
    """Return a payload in which text that begins with NUL is replaced by the bytes that it means.

    Source: WAMP Basic Profile, "Binary conversion of JSON Strings".
    """
    if isinstance(value, str) and value.startswith("\0"):
        try:
            return base64.b64decode(value[1:], validate=True)
        except ValueError:  # it is not Base64, or not ASCII
            return value
    if isinstance(value, dict):
        return {key: bytes_from_json(item) for key, item in value.items()}
    if isinstance(value, list):
        return [bytes_from_json(item) for item in value]
    return value


def _decoded(
    raw: msgspec.Raw, from_json: t.Callable[[t.Any], T], from_msgpack: t.Callable[[t.Any], T]
) -> T:
    try:
        if memoryview(raw)[0] >= 0x80:
            return from_msgpack(raw)
        value = from_json(raw)
        return t.cast("T", bytes_from_json(value)) if _NUL in bytes(raw) else value
    except Exception as error:  # msgspec has several, Unicode and recursion errors among them
        raise _invalid(str(error)) from None


def _odd(raw: object) -> object:
    if isinstance(raw, Undecodable):
        raise _invalid(raw.reason)
    if isinstance(raw, Received):
        return raw.value
    if isinstance(raw, LooseJSON):
        try:
            return raw.decode()
        except (ValueError, RecursionError) as error:
            raise _invalid(str(error)) from None
    return raw


def _invalid(reason: str) -> InvalidPayload:
    # Cut, and not chained, because the error of a codec contains the whole payload.
    return InvalidPayload(f"the payload cannot be decoded: {safe_text(reason, 200)}")


def _name_of(value: object) -> str:
    return type(value).__name__
