"""Payloads that peers make to break a decoder: an error, in little memory and time, never a crash."""

from __future__ import annotations

import struct

import pytest

from flask_wamp.exceptions import ProtocolError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.serializers import get_serializer

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
    "msgpack array32": ("msgpack", MSGPACK + b"\xdd\xff\xff\xff\xff", False),
    "msgpack array32 nested": ("msgpack", MSGPACK + b"\xdd\xff\xff\xff\xff" * 100_000, True),
    "msgpack map32": ("msgpack", MSGPACK[:-1] + b"\xdf\xff\xff\xff\xff", False),
    "msgpack str32": ("msgpack", MSGPACK + b"\x91\xdb\xff\xff\xff\xff", False),
    "msgpack bin32": ("msgpack", MSGPACK + b"\x91\xc6\xff\xff\xff\xff", False),
    "msgpack ext32": ("msgpack", MSGPACK + b"\x91\xc9\xff\xff\xff\xff\x05a", False),
    "msgpack timestamp": ("msgpack", MSGPACK + b"\x91\xc7\x0c\xff" + b"\xff" * 12, True),
    "msgpack utf-8": ("msgpack", MSGPACK + b"\x91\xa1\xff", True),
    "cbor nested": ("cbor", b"\x81" * MANY, False),
    "cbor deep payload": ("cbor", CBOR + b"\x81" * 100_000 + b"\xf6", True),
    "cbor endless arrays": ("cbor", CBOR + b"\x9f" * 100_000, True),
    "cbor tags": ("cbor", CBOR + b"\xc1" * 100_000, True),
    "cbor typed arrays": ("cbor", CBOR + b"\xd8\x40" * 100_000, True),
    "cbor array of 2**62": ("cbor", CBOR + b"\x9b\x3f" + b"\xff" * 7, False),
    "cbor text of 2**38": ("cbor", CBOR + b"\x81\x7b\0\0\0\x3f" + b"\xff" * 4, False),
    "cbor bytes of 2**38": ("cbor", CBOR + b"\x81\x5b\0\0\0\x3f" + b"\xff" * 4, False),
    "cbor date": ("cbor", CBOR + b"\x81\xc1\x1b" + b"\xff" * 8, True),
    "cbor division by zero": ("cbor", CBOR + b"\x81\xd8\x1e\x82\x01\x00", True),
}


#: What CBOR's tags make of small things, or of large ones.
TAGGED: dict[str, bytes] = {
    "date": b"\xc0\x742013-03-21T20:04:00Z",
    "epoch": b"\xc1\x00",
    "bignum": b"\xc2\x5a" + struct.pack(">I", MANY) + b"\xff" * MANY,
    "negative bignum": b"\xc3\x41\x01",
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
    """Lists, each of which holds the one before it twice: 2 ** levels items for who walks them."""
    shared = b"\xd8\x1c\x80"
    for number in range(levels):
        shared = b"\xd8\x1c\x82" + shared + b"\xd8\x1d\x18" + bytes([levels - number])
    return shared


@pytest.mark.parametrize("item", [*TAGGED.values(), exponential(60)], ids=[*TAGGED, "exponential"])
def test_a_tag_is_refused_alone(item: bytes) -> None:
    pytest.importorskip("cbor2")
    cbor = get_serializer("cbor")
    for payload in (b"\x81" + item, b"\x80\xa1\x61k" + item):
        with pytest.raises(ProtocolError, match="error decoding semantic tag") as info:
            cbor.decode(CBOR.replace(b"\x85", b"\x86" if payload[0] == 0x80 else b"\x85") + payload)
        assert cbor.head_of_bad_payload(CBOR + payload, info.value) == m.Invocation(7, 5, {})


def test_a_uint8_array_of_javascript_is_bytes() -> None:
    pytest.importorskip("cbor2")
    message = get_serializer("cbor").decode(CBOR + b"\x81\x82\xd8\x40\x42\x00\xff\xd8\x40\x40")
    assert message == m.Invocation(7, 5, {}, [[b"\x00\xff", b""]])


@pytest.mark.parametrize(("serializer", "data", "payload_only"), HOSTILE.values(), ids=HOSTILE)
def test_is_no_message(serializer: str, data: bytes, payload_only: bool) -> None:
    if serializer == "cbor":
        pytest.importorskip("cbor2")
    decoder = get_serializer(serializer)
    with pytest.raises(ProtocolError) as info:
        decoder.decode(memoryview(data))
    assert len(str(info.value)) < 500, "it must not repeat the payload"
    head = decoder.head_of_bad_payload(memoryview(data), info.value)
    assert head == (m.Invocation(7, 5, {}) if payload_only else None)


WELL_FORMED: dict[str, tuple[str, bytes]] = {
    "json twice the same key": ("json", b'[68,7,5,{},[{"a":1,"a":2}]]'),
    "json nan": ("json", b"[68,7,5,{},[NaN]]"),
    "json escaped surrogate": ("json", b'[68,7,5,{},["\\ud800"]]'),
    "msgpack extension": ("msgpack", MSGPACK + b"\x91\xc7\x03\x05abc"),
    "msgpack integer keys": ("msgpack", MSGPACK + b"\x91\x81\x01\x02"),
    "cbor simple values": ("cbor", CBOR + b"\x83\xf7\xe0\xf8\x64"),
}


@pytest.mark.parametrize(("serializer", "data"), WELL_FORMED.values(), ids=WELL_FORMED)
def test_strange_but_a_message(serializer: str, data: bytes) -> None:
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
def test_the_head_is_read_whatever_follows(name: str, message: m.Message) -> None:
    if name == "cbor":
        pytest.importorskip("cbor2")
    serializer = get_serializer(name)
    error = ProtocolError("maximum recursion depth exceeded")
    assert serializer.head_of_bad_payload(serializer.encode(message), error) == message


@pytest.mark.parametrize("name", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize("message", [m.Welcome(1, {}), m.Goodbye({}, "x")], ids=repr)
def test_a_router_s_own_message_has_no_excuse(name: str, message: m.Message) -> None:
    if name == "cbor":
        pytest.importorskip("cbor2")
    serializer = get_serializer(name)
    error = ProtocolError("maximum recursion depth exceeded")
    assert serializer.head_of_bad_payload(serializer.encode(message), error) is None
