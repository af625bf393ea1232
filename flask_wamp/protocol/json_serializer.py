"""JSON. Bytes are sent as text, which is NUL and Base64.

Source: WAMP Basic Profile, "Serializers" and "Binary conversion of JSON Strings".
"""

from __future__ import annotations

import json
import re
import typing as t

import msgspec

from ..exceptions import SerializationError
from .messages import PAYLOAD_CLASSES, FromRouter, HasPayload, Message
from .raw_payload import LooseJSON, bytes_from_json
from .serializer import Serializer, has_odd_details

#: Matches the numbers at the beginning of a message if another element follows.
_NUMBERS = re.compile(rb"\s*\[((?:\s*\d{1,16}\s*,)+)(?=.)")
_BEGIN = re.compile(r"\s*\[\s*")
_SEPARATOR = re.compile(r"\s*,\s*")
_END = re.compile(r"\s*\]\s*")
_read = json.JSONDecoder().raw_decode


class JSONSerializer(Serializer):
    """Messages in JSON.

    :param strict: Whether to refuse payloads that are not UTF-8, although they are not decoded. A router must
        refuse them, because other peers would have to close their WebSocket if it passed them on.
    """

    name = "json"
    binary = False
    rawsocket_id = 1

    def __init__(self, accepts: object = FromRouter, *, strict: bool = False) -> None:
        self._accepts = accepts
        self._decode_strictly = msgspec.json.Decoder(accepts).decode
        self._encode = msgspec.json.Encoder().encode
        self._dump = self._to_json
        self._load = self._from_utf8 if strict else self._decode_strictly

    def _to_json(self, wire: tuple[object, ...]) -> bytes:
        data = self._encode(wire)
        if b'"\\u0000' in data:  # much cheaper than a search through every payload
            _check_binary(wire)
        return data

    def _from_utf8(self, data: bytes) -> Message:
        message: Message = self._decode_strictly(str(data, "utf-8"))
        return message

    def _without_payload(self, data: bytes, error: Exception) -> Message | None:
        """Read the message with Python's parser. Its payload becomes :class:`LooseJSON`.

        Crossbar 26.10 passes on NaN, infinity and lone surrogates, which are not JSON. Such a payload of
        another peer must not end the session of this one.
        """
        if not isinstance(error, msgspec.ValidationError):
            try:
                return self._read_loosely(str(data, "utf-8", "surrogateescape"))
            except (ValueError, RecursionError, msgspec.ValidationError):
                pass
        return super()._without_payload(data, error)

    def _numbers(self, data: bytes) -> list[int]:
        found = _NUMBERS.match(data)
        return [int(number) for number in found[1].split(b",")[:-1]] if found else []

    def _has_odd_details(self, data: bytes) -> bool:
        return has_odd_details(data, msgspec.json.decode)

    def _read_loosely(self, text: str) -> Message:
        begin = _BEGIN.match(text)
        if begin is None:
            raise ValueError("not an array")
        elements, at = _elements(text, begin.end(), 1)
        kind = PAYLOAD_CLASSES.get(elements[0])
        if kind is None:
            return t.cast(Message, msgspec.convert(json.loads(text), self._accepts))
        envelope, at = _elements(text, at, len(kind.__struct_fields__) - 2)
        message = t.cast(Message, msgspec.convert([*elements, *envelope], self._accepts))
        end = text.rindex("]")
        if text[end + 1 :].strip():
            raise ValueError("there is text after the array")
        if at < end:
            rest = text[at:end].encode("utf-8", "surrogateescape")
            payload = t.cast(HasPayload, message)
            payload.raw_args, payload.raw_kwargs = LooseJSON(rest, 0), LooseJSON(rest, 1)
        return message


def _elements(text: str, at: int, count: int) -> tuple[list[t.Any], int]:
    """Read elements of an array. Return them and the position of the next element."""
    elements = []
    for _ in range(count):
        value, at = _read(text, at)
        elements.append(value)
        separator = _SEPARATOR.match(text, at)
        if separator is not None:
            at = separator.end()
        elif (end := _END.match(text, at)) is None:
            raise ValueError("expected a comma or the end of the array")
        else:
            at = end.end()
    return elements, at


def _check_binary(value: object) -> None:
    """Refuse text that begins with NUL and is not bytes, because a router would close the session."""
    if (
        isinstance(value, str)
        and value.startswith("\0")
        and type(bytes_from_json(value)) is not bytes
    ):
        raise SerializationError("text that begins with NUL cannot be sent in JSON")
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, list | tuple):
        for item in value:
            _check_binary(item)
