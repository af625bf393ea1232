"""Payloads: which values can be sent, and how Python's types are converted to them.

A router may translate between serializers. So a payload consists of text, bytes, numbers, booleans, None,
lists, and dictionaries with text keys. For some other values, such as a dictionary with integer keys, NaN
or a CBOR datetime, Crossbar ends the session or never answers.
"""

from __future__ import annotations

import base64
import collections.abc as c
import dataclasses
import datetime as dt
import decimal
import enum
import math
import typing as t
import uuid

import msgspec

from ..exceptions import SerializationError

Default = t.Callable[[t.Any], object]

MAX_DEPTH = 100
"""How deep lists and dictionaries may be nested. With deeper ones, some peers overflow their stack."""

_MIN_INT, _MAX_INT = -(2**63), 2**64 - 1
_TEXT = frozenset({str, bool, type(None)})
_SAFE = _TEXT | {bytes}
_NUMBERS = frozenset({int, float, bool})

JSON_TYPES = frozenset({str, bytes, bool, type(None), int, float, list, tuple, dict, object})
"""The types whose values are sent unchanged. Their subclasses are converted."""


def plain(
    value: object, default: Default | None = None, *, binary: bool = True, finite: bool = True
) -> t.Any:
    """Return a value converted to the types that WAMP can carry.

    Dataclasses, pydantic models and mappings become dictionaries. Other collections become lists. Dates
    become ISO 8601 text. ``Decimal`` and ``UUID`` become text. An ``Enum`` becomes its value, and a
    ``timedelta`` becomes seconds.

    :param default: Called with a value of any other type. It returns one that can be sent, or raises
        ``TypeError``.
    :param binary: False if the serializer has no bytes. They then become text, which is NUL and Base64.
    :param finite: False if NaN and infinity may be sent.
    :raises SerializationError: A value cannot be sent. The text says which one and why.
    """
    return value if is_plain(value) else PayloadConverter(default, binary, finite).value(value, 0)


def is_plain(value: t.Any) -> bool:
    """Return whether a value is text, a boolean, None or a 64-bit integer. These are sent unchanged."""
    kind = type(value)
    return kind in _TEXT or (kind is int and _MIN_INT <= value <= _MAX_INT)


class OwnTypes:
    """Converts the types of an app. Its encoders come first, and ``fallback`` comes last.

    :param encoders: Functions by class. The first class in the MRO that has one is used.
    :param fallback: The same as ``default`` of :func:`plain`.
    """

    def __init__(self, encoders: t.Mapping[type, Default], fallback: Default) -> None:
        self._encoders = encoders
        self._fallback = fallback

    def encoder(self, kind: type) -> Default | None:
        """Return the function for values of a class, if there is one."""
        if not self._encoders:
            return None
        return next((self._encoders[each] for each in kind.__mro__ if each in self._encoders), None)

    def __call__(self, value: object) -> object:
        return self._fallback(value)


class PayloadConverter:
    """Converts payloads as :func:`plain` does. It copies only the parts that change.

    All threads can share one.
    """

    __slots__ = ("default", "finite", "safe", "scalars")

    def __init__(self, default: Default | None, binary: bool = True, finite: bool = True) -> None:
        self.default = default
        self.finite = finite
        self.safe = _SAFE if binary else _TEXT
        self.scalars = self.safe | _NUMBERS

    def value(self, value: t.Any, depth: int = 0) -> t.Any:
        """Return the converted value.

        :param depth: The level of nesting of the value in its payload.
        :raises SerializationError: It cannot be sent.
        """
        kind = type(value)
        if kind in self.safe:
            return value
        if kind is int or kind is float:
            _check_numbers((value,), self.finite)
            return value
        if depth > MAX_DEPTH:
            raise SerializationError(
                f"the payload is nested more than {MAX_DEPTH} deep, or contains itself"
            )
        if kind is dict:
            return self._dict(value, depth)
        if kind is list or kind is tuple:
            return self._items(value, depth)
        if kind is bytes:
            return "\0" + base64.b64encode(value).decode("ascii")
        return self.value(_convert(value, self.default), depth + 1)

    def _dict(self, value: dict[t.Any, object], depth: int) -> dict[str, object]:
        for key in value:
            if type(key) is not str:
                return self._dict(_text_keys(value), depth)
        if self._are_plain(value.values()):
            return value
        return {key: self.value(item, depth + 1) for key, item in value.items()}

    def _items(self, value: t.Sequence[object], depth: int) -> t.Sequence[object]:
        if self._are_plain(value):
            return value
        return [self.value(item, depth + 1) for item in value]

    def _are_plain(self, values: t.Collection[object]) -> bool:
        """Check a flat collection at the speed of C. False means that each item must be checked."""
        kinds = set(map(type, values))
        if kinds <= self.safe:
            return True
        if not kinds <= self.scalars:
            return False
        numbers = values if kinds <= _NUMBERS else [v for v in values if type(v) in _NUMBERS]
        _check_numbers(numbers, self.finite)
        return True


def _check_numbers(values: t.Collection[t.Any], finite: bool) -> None:
    try:
        are_finite = all(map(math.isfinite, values))
    except OverflowError:
        are_finite = True  # an integer is too large for a float, and is refused below
    if finite and not are_finite:
        raise SerializationError("NaN and infinity cannot be sent: JSON has no such numbers")
    # min() and max() are useless if there is a NaN, because no number is smaller or larger than NaN.
    is_small = are_finite and min(values) >= _MIN_INT and max(values) <= _MAX_INT
    if not is_small and _has_big_int(values):
        raise SerializationError("an integer of more than 64 bits cannot be sent; send it as text")


def _has_big_int(values: t.Collection[object]) -> bool:
    return any(type(v) is int and not _MIN_INT <= v <= _MAX_INT for v in values)


def _text_keys(value: t.Mapping[object, object]) -> dict[str, object]:
    for key in value:
        if not isinstance(key, str):
            raise SerializationError(
                f"the key {_short(key)} is not a string; the keys of a dictionary must be strings"
            )
    return {str.__str__(key): item for key, item in value.items()}


def _convert(value: object, default: Default | None) -> object:
    """Convert a value to another type. The result may need a further conversion."""
    if isinstance(default, OwnTypes) and (encode := default.encoder(type(value))) is not None:
        return encode(value)
    for kind, convert in _CONVERSIONS:
        if isinstance(value, kind):
            return convert(value)
    for attribute, convert in _DUCKS:
        if hasattr(type(value), attribute):
            return convert(value)
    hint = "use text, bytes, numbers, lists, dictionaries, dataclasses or pydantic models"
    if default is not None:
        try:
            return default(value)
        except TypeError as error:
            hint = str(error)
    name = type(value).__qualname__
    raise SerializationError(f"{_short(value)} of type {name} cannot be sent: {hint}")


def _short(value: object) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _fields(value: t.Any) -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


#: The first match is used. ``Enum`` comes before ``str`` and ``int``, because an ``Enum`` may be one of them.
_CONVERSIONS: tuple[tuple[type | tuple[type, ...], Default], ...] = (
    (enum.Enum, lambda value: value.value),
    (str, lambda value: str.__str__(value)),
    (int, lambda value: int.__int__(value)),
    (float, lambda value: float.__float__(value)),
    ((bytearray, memoryview, bytes), bytes),
    ((dt.datetime, dt.date, dt.time), lambda value: value.isoformat()),
    (dt.timedelta, lambda value: value.total_seconds()),
    ((decimal.Decimal, uuid.UUID), str),
    (msgspec.Struct, msgspec.structs.asdict),
    (c.Mapping, dict),
    ((c.Sequence, c.Set, c.ValuesView, c.KeysView), list),
)

#: Types that are recognized by an attribute of their class.
_DUCKS: tuple[tuple[str, Default], ...] = (
    ("model_dump", lambda value: value.model_dump()),
    ("__dataclass_fields__", _fields),
    ("__html__", lambda value: str(value.__html__())),
)
