"""Values that can be sent, and the conversion of Python's types."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import ipaddress
import typing as t
import uuid

import msgspec
import pydantic
import pytest
from markupsafe import Markup

from flask_wamp.exceptions import SerializationError
from flask_wamp.protocol.payload import MAX_DEPTH, plain


class Color(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Name(str, enum.Enum):
    JOE = "joe"


class Text(str):
    __slots__ = ()

    def __str__(self) -> str:
        return "not the text"


class Number(int):
    def __repr__(self) -> str:
        return "not a number"


@dataclasses.dataclass
class Point:
    x: int
    y: t.Any = None


class Model(pydantic.BaseModel):
    name: str
    at: dt.date


class Record(msgspec.Struct):
    name: str
    tags: set[str]


class Pair(t.NamedTuple):
    a: int
    b: Color


class Html:
    def __html__(self) -> str:
        return "<b>x</b>"


UUID = uuid.UUID("12345678-1234-5678-1234-567812345678")
UTC = dt.timezone.utc

CONVERSIONS: dict[str, tuple[t.Any, t.Any]] = {
    "enum": (Color.RED, "red"),
    "int enum": (Level.HIGH, 3),
    "str enum": (Name.JOE, "joe"),
    "str subclass": (Text("text"), "text"),
    "markup": (Markup("<b>"), "<b>"),
    "int subclass": (Number(5), 5),
    "bytearray": (bytearray(b"\x00\xff"), b"\x00\xff"),
    "memoryview": (memoryview(b"abc")[1:], b"bc"),
    "datetime": (dt.datetime(2024, 5, 6, 7, 8, 9, tzinfo=UTC), "2024-05-06T07:08:09+00:00"),
    "date": (dt.date(2024, 5, 6), "2024-05-06"),
    "time": (dt.time(7, 8, 9), "07:08:09"),
    "timedelta": (dt.timedelta(minutes=1, milliseconds=500), 60.5),
    "decimal": (decimal.Decimal("1.10"), "1.10"),
    "uuid": (UUID, str(UUID)),
    "tuple": ((1, Color.RED), [1, "red"]),
    "named tuple": (Pair(1, Color.RED), [1, "red"]),
    "set": ({"a"}, ["a"]),
    "frozenset": (frozenset([1]), [1]),
    "range": (range(3), [0, 1, 2]),
    "deque": (collections.deque([1, 2]), [1, 2]),
    "dict values": ({"a": 1}.values(), [1]),
    "dict keys": ({"a": 1}.keys(), ["a"]),
    "ordered dict": (collections.OrderedDict(b=1, a=2), {"b": 1, "a": 2}),
    "default dict": (collections.defaultdict(list, a=[1]), {"a": [1]}),
    "dataclass": (Point(1, Point(2)), {"x": 1, "y": {"x": 2, "y": None}}),
    "pydantic model": (Model(name="x", at=dt.date(2024, 5, 6)), {"name": "x", "at": "2024-05-06"}),
    "msgspec struct": (Record("x", {"a"}), {"name": "x", "tags": ["a"]}),
    "html": (Html(), "<b>x</b>"),
    "enum keys": ({Name.JOE: 1}, {"joe": 1}),
    "str subclass keys": ({Text("key"): Color.RED}, {"key": "red"}),
    "nested": ({"a": [{"b": (Color.RED,)}]}, {"a": [{"b": ["red"]}]}),
}


@pytest.mark.parametrize(("value", "expected"), CONVERSIONS.values(), ids=CONVERSIONS)
def test_conversion(value: t.Any, expected: t.Any) -> None:
    assert_exactly(plain(value), expected)
    assert_exactly(plain([value]), [expected])
    assert_exactly(plain({"key": value}), {"key": expected})


def assert_exactly(value: t.Any, expected: t.Any) -> None:
    """Equal, and of the very type: no subclass of ``str`` or ``int`` is left."""
    assert value == expected
    assert type(value) is type(expected)
    if isinstance(expected, dict):
        for key, item in expected.items():
            assert_exactly(value[key], item)
        assert all(type(key) is str for key in value)
    if isinstance(expected, list):
        for item, expected_item in zip(value, expected, strict=True):
            assert_exactly(item, expected_item)


def test_a_dataclass_type_is_not_an_instance() -> None:
    with pytest.raises(SerializationError):
        plain(Point)


# Plain values are not copied, because most payloads are plain.

CLEAN: list[t.Any] = [
    "text",
    b"bytes",
    1,
    1.5,
    None,
    True,
    [],
    {},
    ["a", "b", None, True],
    [1, 2.5, -3],
    [b"a", "b", 1],
    {"a": 1, "b": "c"},
    (1, "two", 3.0),
]


@pytest.mark.parametrize("value", CLEAN, ids=repr)
def test_clean_payload_is_not_copied(value: t.Any) -> None:
    assert plain(value) is value


def test_clean_members_of_a_payload_are_not_copied() -> None:
    rows = [{"id": number} for number in range(10)]
    copied = plain(rows)
    assert all(new is old for new, old in zip(copied, rows, strict=True))


# Bytes in serializers without bytes. Source: WAMP, "Binary conversion of JSON Strings".


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", "\0"),
        (bytes.fromhex("10e3ff9053075c526f5fc06d4fe37cdb"), "\0EOP/kFMHXFJvX8BtT+N82w=="),
        ([1, b"abc"], [1, "\0YWJj"]),
        ({"a": bytearray(b"abc")}, {"a": "\0YWJj"}),
    ],
)
def test_bytes_become_text_for_json(value: t.Any, expected: t.Any) -> None:
    assert plain(value, binary=False) == expected


# Refused values, and error messages with the reason.

itself: list[t.Any] = []
itself.append(itself)

mapping: dict[str, t.Any] = {}
mapping["deeper"] = [mapping]


def nested(depth: int) -> t.Any:
    value: t.Any = "bottom"
    for level in range(depth):
        value = [value] if level % 2 else {"a": value}
    return value


REFUSED: dict[str, tuple[t.Any, str]] = {
    "nan": (float("nan"), "NaN"),
    "infinity": (float("inf"), "infinity"),
    "minus infinity": (float("-inf"), "infinity"),
    "nan among numbers": ([1, 2.0, float("nan")], "NaN"),
    "nan among text": (["a", float("nan")], "NaN"),
    "nan behind an integer beyond floats": ([10**400, float("nan")], "64 bits|NaN"),
    "integer of 65 bits": (2**64, "64 bits.*text"),
    "negative integer of 65 bits": (-(2**63) - 1, "64 bits"),
    "integer beyond floats": (10**400, "64 bits"),
    "big integer among floats": ([1e300, 2**64], "64 bits"),
    "big integer among text": (["a", 2**64], "64 bits"),
    "int subclass too big": (Number(2**64), "64 bits"),
    "timedelta keys": ({dt.timedelta(1): 1}, "keys of a dictionary must be strings"),
    "integer keys": ({1: "a"}, "the key 1 is not a string"),
    "none keys": ({None: "a"}, "the key None is not a string"),
    "bytes keys": ({b"a": "a"}, "not a string"),
    "mixed keys": ({"a": 1, 2: 3}, "the key 2 is not a string"),
    "enum keys that are no text": ({Color.RED: 1}, "not a string"),
    "integer keys below": ([{"a": {1: 2}}], "the key 1 is not a string"),
    "too deep": (nested(MAX_DEPTH + 2), "deep"),
    "list in itself": (itself, "contains itself"),
    "dict in itself": (mapping, "contains itself"),
    "object": (object(), "of type object cannot be sent"),
    "function": (nested, "function"),
    "class": (Color, "cannot be sent"),
    "generator": ((x for x in "abc"), "generator"),
    "complex": (1j, "complex"),
    "exception": (ValueError("x"), "ValueError"),
    "address": (ipaddress.ip_address("::1"), "IPv6Address"),
    "object below": ({"a": [object()]}, "of type object cannot be sent"),
}


@pytest.mark.parametrize(("value", "why"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("binary", [True, False])
def test_refused(value: t.Any, why: str, binary: bool) -> None:
    with pytest.raises(SerializationError, match=why):
        plain(value, binary=binary)


@pytest.mark.parametrize("number", [2**64 - 1, -(2**63), 2**53 + 1, 1e300, -0.0])
def test_numbers_of_64_bits_are_sent(number: float) -> None:
    assert plain(number) == number
    assert plain([number]) == [number]


def test_nesting_up_to_the_limit_is_sent() -> None:
    value = nested(MAX_DEPTH)
    assert plain(value) == value


def test_message_of_a_huge_object_is_short() -> None:
    with pytest.raises(SerializationError) as info:
        plain({("x" * 100_000): {frozenset([1]): "x" * 100_000}})
    assert len(str(info.value)) < 300


def test_an_object_whose_repr_raises() -> None:
    class Hostile:
        def __repr__(self) -> str:
            raise RuntimeError("no")

    with pytest.raises(SerializationError, match="Hostile"):
        plain(Hostile())


# Types of the user's own.


def test_default_is_called_for_unknown_types() -> None:
    def default(value: t.Any) -> t.Any:
        return {"ip": str(value), "at": dt.date(2024, 5, 6)}

    address = ipaddress.ip_address("::1")
    assert plain([address], default) == [{"ip": "::1", "at": "2024-05-06"}]


def test_default_is_not_called_for_known_types() -> None:
    def default(value: t.Any) -> t.Any:
        raise AssertionError(value)

    assert plain([Color.RED, {1}, b"x"], default) == ["red", [1], b"x"]


def test_a_default_that_raises() -> None:
    def default(value: t.Any) -> t.Any:
        raise TypeError("no idea what that is")

    with pytest.raises(SerializationError, match="no idea"):
        plain(object(), default)


def test_a_default_that_returns_its_argument() -> None:
    with pytest.raises(SerializationError, match="deep"):
        plain(object(), lambda value: value)
