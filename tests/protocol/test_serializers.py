"""Encoding and decoding of messages: the conventions of each serializer, and invalid input."""

from __future__ import annotations

import typing as t

import cbor2
import msgspec
import pytest

from flask_wamp.exceptions import InvalidPayload, ProtocolError, SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.serializers import available, get_serializer
from tests.support.wire import SERIALIZERS, router_serializer

each_serializer = pytest.mark.parametrize("name", SERIALIZERS)

ENCODE: dict[str, t.Callable[[t.Any], bytes]] = {
    "json": msgspec.json.encode,
    "msgpack": msgspec.msgpack.encode,
    "cbor": cbor2.dumps,
}


@pytest.mark.parametrize(("name", "number"), [("json", 1), ("msgpack", 2), ("cbor", 3)])
def test_names_on_the_wire(name: str, number: int) -> None:
    serializer = get_serializer(name)
    assert serializer.subprotocol == f"wamp.2.{name}"
    assert serializer.rawsocket_id == number
    assert serializer.binary is (name != "json")


def test_cbor_is_left_out_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flask_wamp.protocol.serializers._has_cbor2", lambda: False)
    assert available(["cbor", "json"]) == ["json"]


@each_serializer
def test_trailing_payload_that_is_empty_is_not_sent(name: str) -> None:
    serializer = router_serializer(name)
    for message, elements in (
        (m.Yield(1, {}), [70, 1, {}]),
        (m.Yield(1, {}, [2]), [70, 1, {}, [2]]),
        (m.Yield(1, {}, [], {"a": 3}), [70, 1, {}, [], {"a": 3}]),
        (m.Yield(1, {}, [None]), [70, 1, {}, [None]]),
        (m.Unregistered(1), [67, 1]),
    ):
        assert serializer.encode(message) == ENCODE[name](elements)


# Bytes in JSON. Source: WAMP Basic Profile, "Binary conversion of JSON Strings".


def json_result(*args: t.Any) -> list[t.Any]:
    message = get_serializer("json").decode(ENCODE["json"]([50, 1, {}, list(args)]))
    return t.cast(m.Result, message).args


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("\0EOP/kFMHXFJvX8BtT+N82w==", bytes.fromhex("10e3ff9053075c526f5fc06d4fe37cdb")),
        ("\0", b""),
        ("\0YQ==", b"a"),
        ("text with \0 inside", "text with \0 inside"),
        ("\\u0000", "\\u0000"),
        ("\0not base64!", "\0not base64!"),
        ("\0YQ", "\0YQ"),
        ("\0é", "\0é"),
    ],
)
def test_json_text_that_begins_with_nul(text: str, value: t.Any) -> None:
    assert json_result(text) == [value]
    assert json_result([{"a": text}]) == [[{"a": value}]]


def test_json_keys_and_details_never_become_bytes() -> None:
    data = ENCODE["json"]([50, 1, {"x": "\0YQ=="}, [{"\0YQ==": 1}], {"\0YQ==": "\0YQ=="}])
    message = get_serializer("json").decode(data)
    assert message == m.Result(1, {"x": "\0YQ=="}, [{"\0YQ==": 1}], {"\0YQ==": b"a"})


@pytest.mark.parametrize("text", ["\0a", "\0x", "\0\0", "\0é", "\0not base64"])
@pytest.mark.parametrize(
    "payload",
    [
        lambda text: ([text], {}),
        lambda text: ([[{"a": text}]], {}),
        lambda text: ([{text: 1}], {}),
        lambda text: ([], {"a": text}),
        lambda text: ([], {text: 1}),
    ],
)
def test_json_refuses_text_that_would_be_broken_bytes(text: str, payload: t.Any) -> None:
    args, kwargs = payload(text)
    with pytest.raises(SerializationError, match="NUL"):
        get_serializer("json").encode(m.Yield(1, {}, args, kwargs))


@pytest.mark.parametrize("name", ["msgpack", "cbor"])
def test_text_that_begins_with_nul_elsewhere(name: str) -> None:
    serializer = router_serializer(name)
    message = m.Yield(1, {}, ["\0not base64", b"\0"])
    assert serializer.decode(serializer.encode(message)) == message


# Text that no encoding supports.


@each_serializer
@pytest.mark.parametrize("args", [["\ud800"], [{"\ud800": 1}]])
def test_lone_surrogates_are_refused(name: str, args: list[t.Any]) -> None:
    with pytest.raises(SerializationError, match=name):
        get_serializer(name).encode(m.Yield(1, {}, args))


# Bytes that are not a message.

NOT_MESSAGES: dict[str, t.Any] = {
    "null": None,
    "number": 50,
    "text": "hello",
    "object": {"50": 1},
    "empty": [],
    "no type": [{}],
    "type is text": ["50", 1, {}],
    "type is negative": [-1, 1, {}],
    "type is a fraction": [50.5, 1, {}],
    "type is null": [None, 1, {}],
    "type is a list": [[50], 1, {}],
    "unknown type": [337, 1, {}],
    "unassigned type": [7, 1, {}],
    "message of clients": [48, 1, {}, "com.x"],
    "too short": [50],
    "too short by one": [50, 1],
    "id is text": [50, "1", {}],
    "id is null": [50, None, {}],
    "id is a fraction": [50, 1.5, {}],
    "details are a list": [50, 1, []],
    "details are null": [50, 1, None],
    "uri is null": [8, 48, 1, {}, None],
    "welcome without id": [2, {}],
    "batch": [[50, 1, {}]],
}


@each_serializer
@pytest.mark.parametrize("value", NOT_MESSAGES.values(), ids=NOT_MESSAGES)
def test_not_a_message(name: str, value: t.Any) -> None:
    with pytest.raises(ProtocolError, match=f"not a WAMP message in {name}"):
        get_serializer(name).decode(ENCODE[name](value))


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "zeros": b"\0" * 16,
    "ones": b"\xff" * 16,
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "json with text after it": b"[50,1,{}]x",
    "json in utf-16": "[50,1,{}]".encode("utf-16"),
    "json with broken utf-8": b'[50,1,{},["\xff"]]',
    "json with a number too large": b"[50,1,{},[1e999]]",
    "json unfinished": b"[50,1,{}",
    "msgpack unfinished": msgspec.msgpack.encode([50, 1, {}])[:-1],
    "msgpack huge array": b"\xdd\xff\xff\xff\xff\x32",
    "msgpack huge text": b"\x93\x32\x01\xdb\xff\xff\xff\xff",
    "cbor unfinished": cbor2.dumps([50, 1, {}])[:-1],
    "cbor huge array": b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "cbor huge text": b"\x84\x18\x32\x01\xa0\x81\x7b\x7f\xff\xff\xff\xff\xff\xff\xff",
    "cbor huge bytes": b"\x84\x18\x32\x01\xa0\x81\x5b\xff\xff\xff\xff\xff\xff\xff\xff",
    "cbor break alone": b"\xff",
    "cbor reserved": b"\x84\x18\x32\x01\xa0\x1c",
    "cbor bad date": b"\x84\x18\x32\x01\xa0\x81\xc0\x61x",
}


@each_serializer
@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE)
def test_garbage(name: str, data: bytes) -> None:
    assert is_refused(name, data)


def is_refused(name: str, data: bytes) -> bool:
    """Return whether the bytes are not a message, or are a RESULT with an invalid payload."""
    try:
        message = get_serializer(name).decode(data)
    except ProtocolError as error:
        return f"not a WAMP message in {name}" in str(error)
    assert isinstance(message, m.Result)
    with pytest.raises(InvalidPayload):
        message.decode_payload()
    return message.request_id == 1


#: Invalid JSON that Crossbar forwards if a peer has sent it.
PASSED_ON: dict[str, t.Any] = {
    "NaN": float("nan"),
    "-Infinity": float("-inf"),
    "Infinity": float("inf"),
    '"\\ud800"': "\ud800",
    '{"\\udfff": [NaN, "\\u0000YWJj"]}': {"\udfff": [float("nan"), b"abc"]},
}


@pytest.mark.parametrize(("text", "value"), PASSED_ON.items(), ids=ascii)
def test_json_that_routers_do_not_forward(text: str, value: t.Any) -> None:
    message = get_serializer("json").decode(f"[50,1,{{}},[{text}]]".encode())
    assert isinstance(message, m.Result)
    assert repr(message.args) == repr([value])
    with pytest.raises(ProtocolError, match="not a WAMP message in json"):
        get_serializer("json").decode(f"[50,{text},{{}}]".encode())


DEPTH = 200_000

BOMBS: dict[str, bytes] = {
    "json": b"[50,1,{}," + b"[" * DEPTH + b"]" * DEPTH + b"]",
    "msgpack": b"\x94\x32\x01\x80" + b"\x91" * DEPTH + b"\xc0",
    "cbor": b"\x84\x18\x32\x01\xa0" + b"\x81" * DEPTH + b"\xf6",
}


@each_serializer
def test_bomb_of_lists(name: str) -> None:
    assert is_refused(name, BOMBS[name])


def test_bomb_of_objects_with_bytes() -> None:
    data = b'[50,1,{},["\\u0000",' + b'{"a":' * DEPTH + b"1" + b"}" * DEPTH + b"]]"
    assert is_refused("json", data)


def test_bomb_of_tags() -> None:
    assert is_refused("cbor", b"\x84\x18\x32\x01\xa0\x81" + b"\xd8\x65" * DEPTH + b"\xf6")


@each_serializer
@pytest.mark.parametrize("depth", [100, 800], ids=["we", "others"])
def test_a_deeply_nested_message_is_decoded(name: str, depth: int) -> None:
    value: t.Any = 1
    for _ in range(depth):
        value = [value]
    serializer = router_serializer(name)
    message = m.Yield(1, {}, [value])
    assert serializer.decode(serializer.encode(message)) == message


@each_serializer
def test_buffers_of_all_kinds_are_decoded(name: str) -> None:
    data = ENCODE[name]([50, 1, {}, ["\0YWJj" if name == "json" else b"abc"]])
    for buffer in (data, bytearray(data), memoryview(b"x" + data)[1:]):
        assert get_serializer(name).decode(buffer) == m.Result(1, {}, [b"abc"])


@each_serializer
def test_decoded_values_do_not_keep_the_receive_buffer(name: str) -> None:
    data = bytearray(ENCODE[name]([50, 1, {}, ["text"]]))
    message = get_serializer(name).decode(memoryview(data))
    data[:] = bytes(len(data))
    assert message == m.Result(1, {}, ["text"])


@pytest.mark.parametrize("name", ["msgpack", "cbor"])
@pytest.mark.parametrize("data", [b"[50,1,{}]", b' [2,1,{"roles":{}}]', b"[3,{},'x']"])
def test_the_error_of_json_instead_of_another_serializer_says_what_to_set(
    name: str, data: bytes
) -> None:
    with pytest.raises(ProtocolError, match="looks like JSON, see WAMP_SERIALIZERS"):
        get_serializer(name).decode(data)


def test_undefined_of_msgpack_is_none() -> None:
    """msgpackr has an extension for it."""
    undefined = msgspec.msgpack.Ext(0, b"\0")
    data = msgspec.msgpack.encode(
        [50, 1, {"a": undefined}, [undefined, [undefined]], {"a": undefined}]
    )
    expected = m.Result(1, {"a": None}, [None, [None]], {"a": None})
    assert get_serializer("msgpack").decode(data) == expected


@pytest.mark.parametrize("extension", [(0, b"\1"), (0, b""), (1, b"\0")])
def test_other_msgpack_extensions_are_not_changed(extension: tuple[int, bytes]) -> None:
    given = msgspec.msgpack.Ext(*extension)
    message = get_serializer("msgpack").decode(msgspec.msgpack.encode([50, 1, {}, [given]]))
    assert isinstance(message, m.Result)
    assert message.args == [given]


def test_undefined_of_cbor_is_none() -> None:
    data = cbor2.dumps([50, 1, {}, [cbor2.undefined, [cbor2.undefined]], {"a": cbor2.undefined}])
    assert get_serializer("cbor").decode(data) == m.Result(1, {}, [None, [None]], {"a": None})
