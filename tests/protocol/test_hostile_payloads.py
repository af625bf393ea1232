"""Payloads that are made to break a decoder: an error with little memory and time, never a crash."""

from __future__ import annotations

import struct
import typing as t

import msgspec
import pytest

from flask_wamp.exceptions import InvalidPayload, ProtocolError, SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.raw_payload import Received, payload_size
from flask_wamp.protocol.serializers import get_router_serializer, get_serializer

MANY = 16 * 1024 * 1024

MSGPACK, CBOR = b"\x95\x44\x07\x05\x80", b"\x85\x18\x44\x07\x05\xa0"
"""INVOCATIONs 7 of the registration 5, whose payload follows."""

#: Bytes, and whether only the payload is at fault.
HOSTILE: dict[str, tuple[str, bytes, bool]] = {
    "json nested": ("json", b"[" * MANY, False),
    "json deep payload": ("json", b"[68,7,5,{},%s%s]" % (b"[" * 200_000, b"]" * 200_000), True),
    "json bytes, deep": (
        "json",
        b'[68,7,5,{},%s"\\u0000YQ=="%s]' % (b"[" * 5000, b"]" * 5000),
        True,
    ),
    "json 1e999999": ("json", b"[68,7,5,{},[1e999999]]", True),
    "json digits": ("json", b"[68,7,5,{},[%s]]" % (b"9" * 1_000_000), True),
    "json utf-8": ("json", b'[68,7,5,{},["\xff"]]', True),
    "json surrogate": ("json", b'[68,7,5,{},["\xed\xa0\x80"]]', True),
    "json endless id": ("json", b"[68,%s,1,{}]" % (b"9" * 1_000_000), False),
    "msgpack nested": ("msgpack", b"\x91" * MANY, False),
    "msgpack deep payload": ("msgpack", MSGPACK + b"\x91" * 100_000, True),
    "msgpack array32": ("msgpack", MSGPACK + b"\xdd\xff\xff\xff\xff", True),
    "msgpack array32 nested": ("msgpack", MSGPACK + b"\xdd\xff\xff\xff\xff" * 100_000, True),
    "msgpack map32": ("msgpack", MSGPACK[:-1] + b"\xdf\xff\xff\xff\xff", True),
    "msgpack str32": ("msgpack", MSGPACK + b"\x91\xdb\xff\xff\xff\xff", True),
    "msgpack bin32": ("msgpack", MSGPACK + b"\x91\xc6\xff\xff\xff\xff", True),
    "msgpack ext32": ("msgpack", MSGPACK + b"\x91\xc9\xff\xff\xff\xff\x05a", True),
    "msgpack timestamp": ("msgpack", MSGPACK + b"\x91\xc7\x0c\xff" + b"\xff" * 12, True),
    "msgpack utf-8": ("msgpack", MSGPACK + b"\x91\xa1\xff", True),
    "cbor nested": ("cbor", b"\x81" * MANY, False),
    "cbor deep payload": ("cbor", CBOR + b"\x81" * 100_000 + b"\xf6", True),
    "cbor endless arrays": ("cbor", CBOR + b"\x9f" * 100_000, True),
    "cbor tags": ("cbor", CBOR + b"\xc1" * 100_000, True),
    "cbor typed arrays": ("cbor", CBOR + b"\xd8\x40" * 100_000, True),
    "cbor array of 2**62": ("cbor", CBOR + b"\x9b\x3f" + b"\xff" * 7, True),
    "cbor text of 2**38": ("cbor", CBOR + b"\x81\x7b\0\0\0\x3f" + b"\xff" * 4, True),
    "cbor bytes of 2**38": ("cbor", CBOR + b"\x81\x5b\0\0\0\x3f" + b"\xff" * 4, True),
    "cbor date": ("cbor", CBOR + b"\x81\xc1\x1b" + b"\xff" * 8, True),
    "cbor division by zero": ("cbor", CBOR + b"\x81\xd8\x1e\x82\x01\x00", True),
}


#: Values that CBOR tags make of small or large items.
TAGGED: dict[str, bytes] = {
    "date": b"\xc0\x742013-03-21T20:04:00Z",
    "epoch": b"\xc1\x00",
    "bignum": b"\xc2\x5a" + struct.pack(">I", MANY) + b"\xff" * MANY,
    "bignum of 65 bits": b"\xc2\x49\x01" + bytes(8),
    "bignum of text": b"\xc2\x611",
    "negative bignum": b"\xc3\x48\x80" + bytes(7),
    "decimal": b"\xc4\x82\x1a\x7f\xff\xff\xff\x01",
    "bigfloat": b"\xc5\x82\x1a\x7f\xff\xff\xff\x01",
    "fraction": b"\xd8\x1e\x82\x01\x02",
    "regex": b"\xd8\x23\x66(a+)+b",
    "mime": b"\xd8\x24\x61a",
    "uuid": b"\xd8\x25\x50" + b"u" * 16,
    "ipv4": b"\xd8\x34\x44\x7f\x00\x00\x01",
    "ipaddress": b"\xd9\x01\x04\x44\x7f\x00\x00\x01",
    "set": b"\xd9\x01\x02\x81\x01",
    "complex": b"\xd9\xa7\xf8\x82\x01\x02",
    "self described": b"\xd9\xd9\xf7\x01",
    "uint8 array of no bytes": b"\xd8\x40\x81\x01",
    "uint16 array": b"\xd8\x41\x42\x00\x01",
    "unknown": b"\xd9\x0b\xb8\x01",
    "unknown of 64 bits": b"\xdb" + b"\xff" * 8 + b"\x01",
    "shared": b"\xd8\x1c\x80",
    "cyclic": b"\xd8\x1c\x81\xd8\x1d\x00",
    "string references": b"\xd9\x01\x00\x82\x63abc\xd8\x19\x00",
    "string reference alone": b"\xd8\x19\x00",
}


def exponential(levels: int) -> bytes:
    """Nested lists, each with the previous one twice: 2 ** levels items for code that traverses them."""
    shared = b"\xd8\x1c\x80"
    for number in range(levels):
        shared = b"\xd8\x1c\x82" + shared + b"\xd8\x1d\x18" + bytes([levels - number])
    return shared


@pytest.mark.parametrize("item", [*TAGGED.values(), exponential(60)], ids=[*TAGGED, "exponential"])
def test_a_tag_invalidates_only_its_message(item: bytes) -> None:
    pytest.importorskip("cbor2")
    cbor = get_serializer("cbor")
    for payload in (b"\x81" + item, b"\x80\xa1\x61k" + item):
        count = b"\x86" if payload[0] == 0x80 else b"\x85"
        assert is_refused_alone(cbor.decode(CBOR.replace(b"\x85", count) + payload))


def test_a_uint8_array_of_javascript_is_bytes() -> None:
    pytest.importorskip("cbor2")
    message = get_serializer("cbor").decode(CBOR + b"\x81\x82\xd8\x40\x42\x00\xff\xd8\x40\x40")
    assert message == m.Invocation(7, 5, {}, [[b"\x00\xff", b""]])


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (b"\xc2\x40", 0),
        (b"\xc2\x47\x20" + bytes(5) + b"\x01", 2**53 + 1),
        (b"\xc2\x48" + b"\xff" * 8, 2**64 - 1),
        (b"\xc3\x41\x01", -2),
        (b"\xc3\x48\x7f" + b"\xff" * 7, -(2**63)),
    ],
)
def test_a_bignum_of_javascript_is_an_integer(item: bytes, value: int) -> None:
    pytest.importorskip("cbor2")
    message = get_serializer("cbor").decode(CBOR + b"\x81" + item)
    assert message == m.Invocation(7, 5, {}, [value])


def is_refused_alone(message: m.Message) -> bool:
    """Return whether it is the INVOCATION, with a payload whose error does not repeat it."""
    assert isinstance(message, m.Invocation)
    assert (message.request_id, message.registration_id) == (7, 5)
    with pytest.raises(InvalidPayload, match="cannot be decoded") as info:
        message.decode_payload()
    assert message.readable_args == []
    return len(str(info.value)) < 500 and info.value.__cause__ is None


@pytest.mark.parametrize(("serializer", "data", "payload_only"), HOSTILE.values(), ids=HOSTILE)
def test_an_invalid_payload_drops_only_its_message(
    serializer: str, data: bytes, payload_only: bool
) -> None:
    if serializer == "cbor":
        pytest.importorskip("cbor2")
    decode = get_serializer(serializer).decode
    if payload_only:
        assert is_refused_alone(decode(memoryview(data)))
        return
    with pytest.raises(ProtocolError) as info:
        decode(memoryview(data))
    assert len(str(info.value)) < 500, "it must not repeat the payload"


#: Values that some peers send in place of the list and the dictionary of arguments.
NO_PAYLOAD: dict[str, tuple[t.Any, t.Any]] = {
    "args are bytes": (b"sealed", {}),
    "args are text": ("sealed", {}),
    "args are a number": (5, {}),
    "args are true": (True, {}),
    "args are a dictionary": ({"a": 1}, {}),
    "kwargs are a list": ([], [1]),
    "kwargs are bytes": ([], b"sealed"),
    "kwargs are text": ([], "sealed"),
    "kwargs have integer keys": ([], {1: 2}),
    "kwargs have bytes as keys": ([], {b"a": 2}),
}


def no_payloads() -> t.Iterator[t.Any]:
    for name in ("json", "msgpack", "cbor"):
        for what, (args, kwargs) in NO_PAYLOAD.items():
            if name != "json" or "keys" not in what:  # JSON has only string keys
                yield pytest.param(name, args, kwargs, id=f"{name}-{what}")


@pytest.mark.parametrize(("name", "args", "kwargs"), list(no_payloads()))
def test_a_value_that_is_not_a_payload_drops_only_its_message(
    name: str, args: t.Any, kwargs: t.Any
) -> None:
    message = get_serializer(name).decode(encoded(name, [68, 7, 5, {}, args, kwargs]))
    assert is_refused_alone(message)


def encoded(name: str, elements: list[t.Any]) -> bytes:
    if name == "cbor":
        return bytes(pytest.importorskip("cbor2").dumps(elements))
    return (msgspec.json if name == "json" else msgspec.msgpack).encode(elements)


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize("elements", [[None], [None, None], [[], None]], ids=repr)
def test_null_means_no_payload(name: str, elements: list[t.Any]) -> None:
    message = get_serializer(name).decode(encoded(name, [68, 7, 5, {}, *elements]))
    assert message == m.Invocation(7, 5, {})


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
def test_null_in_place_of_args_goes_with_keywords(name: str) -> None:
    message = get_serializer(name).decode(encoded(name, [36, 7, 5, {}, None, {"a": 1}]))
    assert message == m.Event(7, 5, {}, [], {"a": 1})


@pytest.mark.parametrize("key", [1, b"a", None])
def test_invalid_keys_in_details_drop_only_their_message(key: t.Any) -> None:
    message = get_serializer("msgpack").decode(encoded("msgpack", [68, 7, 5, {key: 1}, [1]]))
    assert is_refused_alone(message)
    interrupt = get_serializer("msgpack").decode(encoded("msgpack", [69, 7, {key: 1}]))
    assert interrupt == m.Interrupt(7, {})


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize("details", [None, [], "x", 5], ids=repr)
def test_invalid_details_are_a_violation(name: str, details: t.Any) -> None:
    with pytest.raises(ProtocolError):
        get_serializer(name).decode(encoded(name, [68, 7, 5, details, [1]]))


WELL_FORMED: dict[str, tuple[str, bytes]] = {
    "json twice the same key": ("json", b'[68,7,5,{},[{"a":1,"a":2}]]'),
    "json nan": ("json", b"[68,7,5,{},[NaN]]"),
    "json escaped surrogate": ("json", b'[68,7,5,{},["\\ud800"]]'),
    "msgpack extension": ("msgpack", MSGPACK + b"\x91\xc7\x03\x05abc"),
    "msgpack integer keys": ("msgpack", MSGPACK + b"\x91\x81\x01\x02"),
    "cbor simple values": ("cbor", CBOR + b"\x83\xf7\xe0\xf8\x64"),
}


@pytest.mark.parametrize(("serializer", "data"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_unusual_messages_are_accepted(serializer: str, data: bytes) -> None:
    if serializer == "cbor":
        pytest.importorskip("cbor2")
    message = get_serializer(serializer).decode(data)
    assert isinstance(message, m.Invocation)
    assert (message.request_id, message.registration_id) == (7, 5)


LARGE = 2**53 - 1

HEADS: list[m.Message] = [
    m.Invocation(LARGE, LARGE - 1, {}),
    m.Invocation(1, 300, {}),
    m.Invocation(70_000, 2**40, {}),
    m.Result(LARGE, {}),
    m.Event(2**32, LARGE, {}),
    m.Error(48, LARGE, {}, "wamp.error.invalid_argument"),
]


@pytest.mark.parametrize("message", HEADS, ids=repr)
@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
def test_the_envelope_is_decoded_whatever_the_payload_is(name: str, message: t.Any) -> None:
    if name == "cbor":
        pytest.importorskip("cbor2")
    serializer = get_serializer(name)
    data = serializer.encode(message.__class__(*msgspec.structs.astuple(message)[:-2], [[["x"]]]))
    deep = {"json": (b'"x"', b"[" * 9999), "cbor": (b"\x61x", b"\x81" * 9999)}
    decoded: t.Any = serializer.decode(data.replace(*deep.get(name, (b"\xa1x", b"\x91" * 9999))))
    with pytest.raises(InvalidPayload):
        decoded.decode_payload()
    decoded.args, decoded.kwargs = [], {}
    assert decoded == message


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize(
    "message", [m.Welcome(1, {"x": "x"}), m.Goodbye({"x": "x"}, "x")], ids=repr
)
def test_an_invalid_message_of_the_router_itself_is_a_violation(
    name: str, message: m.Message
) -> None:
    if name == "cbor":
        pytest.importorskip("cbor2")
    serializer = get_serializer(name)
    with pytest.raises(ProtocolError):
        serializer.decode(serializer.encode(message)[:-1] + b"\xff")


# A router forwards payloads.


@pytest.mark.parametrize("here", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize("there", ["json", "msgpack", "cbor"])
def test_a_payload_is_forwarded_in_any_format(here: str, there: str) -> None:
    pytest.importorskip("cbor2")
    call = m.Call(1, {}, "com.x", [1, "two", b"\0three", None, [4.5, {"a": True}]], {"k": b"v"})
    sender = get_serializer(here)
    plain = m.Call(1, {}, "com.x", sender.plain(call.raw_args), sender.plain(call.raw_kwargs))
    received: t.Any = get_router_serializer(here).decode(sender.encode(plain))
    invocation = m.Invocation(7, 5, {}, received.raw_args, received.raw_kwargs)
    passed_on = get_router_serializer(there).encode(invocation)
    if here == there and here != "cbor":
        assert type(received.raw_args) is msgspec.Raw
    assert get_serializer(there).decode(passed_on) == m.Invocation(7, 5, {}, call.args, call.kwargs)


def test_null_is_not_forwarded() -> None:
    for name in ("json", "msgpack"):
        received: t.Any = get_router_serializer(name).decode(
            encoded(name, [48, 1, {}, "com.x", None, {"a": 1}])
        )
        event = m.Event(7, 5, {}, received.raw_args, received.raw_kwargs)
        data = get_router_serializer(name).encode(event)
        assert data == encoded(name, [36, 7, 5, {}, [], {"a": 1}])


@pytest.mark.parametrize("payload", [b"[NaN]", b'["\\ud800"]', b'{"a":1}', b"[[["])
def test_a_value_that_another_format_does_not_support_is_refused(payload: bytes) -> None:
    received: t.Any = get_router_serializer("json").decode(b'[48,1,{},"com.x",%s]' % payload)
    invocation = m.Invocation(7, 5, {}, received.raw_args, received.raw_kwargs)
    with pytest.raises((SerializationError, InvalidPayload)):
        get_router_serializer("cbor").encode(invocation)


@pytest.mark.parametrize("payload", [b'["\xff"]', b'["\xed\xa0\x80"]', b'[{"\xff":1}]'])
def test_a_router_does_not_forward_text_that_is_not_utf_8(payload: bytes) -> None:
    received: t.Any = get_router_serializer("json").decode(b'[48,1,{},"com.x",%s]' % payload)
    with pytest.raises(InvalidPayload):
        received.decode_payload()
    with pytest.raises(InvalidPayload):
        get_router_serializer("json").encode(m.Invocation(7, 5, {}, received.raw_args))


def test_the_size_of_a_deeply_nested_payload_is_computed() -> None:
    deep: list[t.Any] = []
    for _ in range(100_000):
        deep = [deep]
    assert payload_size(Received(deep), {}) > 0
    assert payload_size(deep, {}) > 0
    while deep:  # the interpreter's stack is too small to free all of it at once
        deep = deep[0]
