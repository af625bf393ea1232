"""Messages with unusual values in each field that another peer controls, in every serializer.

They are built from encoded parts, because no encoder produces some of the values.
"""

from __future__ import annotations

import json
import struct
import types
import typing as t

import cbor2
import msgspec

Parts = dict[str, bytes]

DEEP = (90, 900, 20_000)
"""Levels of nesting: of sent payloads, of decodable payloads, and of undecodable ones."""

LARGE = 100_000
"""The size of large values: more than any buffer, but not so much that tests are slow."""


def encode(name: str, value: t.Any) -> bytes:
    """Encode an ordinary value."""
    if name == "json":
        return json.dumps(value).encode()
    return bytes(msgspec.msgpack.encode(value) if name == "msgpack" else cbor2.dumps(value))


def array(name: str, items: t.Sequence[bytes]) -> bytes:
    """Join encoded items to a list of fewer than 16."""
    if name == "json":
        return b"[" + b",".join(items) + b"]"
    assert len(items) < 16
    return bytes([(0x90 if name == "msgpack" else 0x80) + len(items)]) + b"".join(items)


def mapping(name: str, items: t.Sequence[tuple[bytes, bytes]]) -> bytes:
    """Join encoded keys and values to a dictionary of fewer than 16. Keys may repeat."""
    if name == "json":
        return b"{" + b",".join(key + b":" + value for key, value in items) + b"}"
    assert len(items) < 16
    return bytes([(0x80 if name == "msgpack" else 0xA0) + len(items)]) + b"".join(
        key + value for key, value in items
    )


def odd_values(name: str, deepest: int = DEEP[-1]) -> Parts:
    """Return encoded unusual values, by name.

    :param deepest: Levels of nesting that are not exceeded.
    """
    values: Parts = {
        repr(value)[:30]: encode(name, value)
        for value in (
            *(
                None,
                True,
                False,
                0,
                -1,
                2**31,
                2**53,
                2**53 + 1,
                2**63,
                2**64 - 1,
                -(2**63),
                1.5,
                1e308,
            ),
            *("", "x", "\0", "\0YQ==", "\0!", "\x1b[2J\r\n", "\u202e", "a" * 256, "b" * 65536),
            *([], [[]], [None], [1, "a"], {}, {"": 1}, {"self": 1}, {"args": 1, "kwargs": 2}),
        )
    }
    one = encode(name, 1)
    for depth in (depth for depth in DEEP if depth <= deepest):
        values[f"lists {depth} deep"] = _nested(name, depth)
    values["many items"] = encode(name, [0] * LARGE)
    values["many keys"] = encode(name, {f"k{number}": 0 for number in range(LARGE // 10)})
    values["large text"] = encode(name, "x" * LARGE)
    twice = encode(name, "twice")
    values["the same key twice"] = mapping(name, [(twice, one), (twice, one)])
    return {**values, **_OWN[name](one)}


def _nested(name: str, depth: int) -> bytes:
    begin = {"json": b"[", "msgpack": b"\x91", "cbor": b"\x81"}[name]
    return begin * depth + encode(name, 1) + (b"]" * depth if name == "json" else b"")


def _odd_json(one: bytes) -> Parts:
    return {
        "NaN": b"NaN",
        "-Infinity": b"-Infinity",
        "1e999": b"1e999",
        "5000 digits": b"9" * 5000,
        "a lone surrogate": b'"\\ud800"',
        "a lone surrogate as a key": b'{"\\udfff":1}',
        "no UTF-8": b'"\xff"',
        "a surrogate in UTF-8": b'"\xed\xa0\x80"',
        "no bytes": b'"\\u0000A"',
    }


def _odd_msgpack(one: bytes) -> Parts:
    return {
        "bytes": encode("msgpack", b"sealed"),
        "NaN": b"\xcb" + struct.pack(">d", float("nan")),
        "infinity": b"\xcb" + struct.pack(">d", float("inf")),
        "no UTF-8": b"\xa1\xff",
        "an integer as a key": b"\x81\x01" + one,
        "bytes as a key": b"\x81\xc4\x01k" + one,
        "a list as a key": b"\x81\x91\x01" + one,
        "a dictionary as a key": b"\x81\x80" + one,
        "nil as a key": b"\x81\xc0" + one,
        "an extension": b"\xc7\x03\x05abc",
        "a time out of range": b"\xc7\x0c\xff" + b"\xff" * 12,
    }


def _odd_cbor(one: bytes) -> Parts:
    return {
        "bytes": encode("cbor", b"sealed"),
        "NaN": b"\xf9\x7e\x00",
        "undefined": b"\xf7",
        "a simple value": b"\xe0",
        "no UTF-8": b"\x61\xff",
        "an integer as a key": b"\xa1\x01" + one,
        "bytes as a key": b"\xa1\x41k" + one,
        "a date": b"\xc1\x1a\x00\x00\x00\x00",
        "a bignum": b"\xc2\x49\x01" + b"\x00" * 8,
        "a shared list": b"\xd8\x1c\x81\xd8\x1d\x00",
        "an endless list": b"\x9f" + one + b"\xff",
    }


_OWN: dict[str, t.Callable[[bytes], Parts]] = {
    "json": _odd_json,
    "msgpack": _odd_msgpack,
    "cbor": _odd_cbor,
}

#: Details that come from another peer, or that are read.
DETAILS = {
    "invocation": (
        "procedure",
        "caller",
        "caller_authid",
        "caller_authrole",
        "receive_progress",
        "timeout",
    ),
    "event": ("topic", "publisher", "publisher_authid", "publisher_authrole", "retained"),
    "result": ("callee", "callee_authid"),
    "error": ("callee", "message"),
    "interrupt": ("mode", "reason"),
}

#: Details of every kind of message: forwarded identities, opaque payloads, and our own names.
SHARED = ("forward_for", "enc_algo", "ppt_scheme", "x_custom", "")


class Message(t.NamedTuple):
    """A message of a router with one unusual value of another peer."""

    what: str
    data: bytes


#: Error URIs that some router forwards.
ODD_URIS = ("", "x", "com..x", "com.\x1b[2J\r\n", "com.\u202e", "\0", "u" * 65536)


def messages(
    name: str,
    kind: str,
    head: t.Callable[[], t.Sequence[int]],
    uri: str | None = None,
    details: t.Mapping[str, t.Any] = types.MappingProxyType({}),
) -> t.Iterator[Message]:
    """Create a message for each unusual value in each field that a peer controls.

    :param head: Called for the numbers that each begins with.
    :param uri: What stands between details and payload, in ERROR.
    :param details: What is in all details.
    """
    empty, nothing = encode(name, dict(details)), encode(name, [])
    common = [(encode(name, key), encode(name, value)) for key, value in details.items()]
    texts = [] if uri is None else [encode(name, uri)]

    def message(what: str, *parts: bytes) -> Message:
        return Message(what, array(name, [*(encode(name, number) for number in head()), *parts]))

    for what, value in odd_values(name).items():
        if kind != "interrupt":
            yield message(f"args: {what}", empty, *texts, value)
            yield message(f"kwargs: {what}", empty, *texts, nothing, value)
            in_list, in_dict = array(name, [value]), mapping(name, [(encode(name, "k"), value)])
            yield message(f"in both: {what}", empty, *texts, in_list, in_dict)
        for key in (*DETAILS[kind], *SHARED):
            yield message(
                f"{key}: {what}", mapping(name, [*common, (encode(name, key), value)]), *texts
            )
    if uri is not None:
        for odd in ODD_URIS:
            yield message(f"uri: {odd[:20]!r}", empty, encode(name, odd))
