"""WebSocket: the handshake, frames, pings, and invalid data of a server."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from websockets.frames import Close, Opcode

from flask_wamp.exceptions import ProtocolError, TransportError
from flask_wamp.transports.websocket import WebSocketFraming
from tests.support.websocket import SUBPROTOCOLS, WebSocketServer, connected, frame, take

# The handshake.


def new_framing() -> WebSocketFraming:
    return WebSocketFraming("ws://example.org:8080/ws?x=1", SUBPROTOCOLS, 2**24)


def test_handshake_offers_all_serializers() -> None:
    framing, server = connected(path="/ws?x=1")
    assert server.request is not None
    assert server.request.path == "/ws?x=1"
    offered = ", ".join(server.request.headers.get_all("Sec-WebSocket-Protocol"))
    assert offered.split(", ") == SUBPROTOCOLS
    assert framing.connected
    assert framing.subprotocol == "wamp.2.msgpack"


def test_handshake_in_pieces() -> None:
    framing, server = new_framing(), WebSocketServer(["wamp.2.json"])
    for byte in server.answer(take(framing)):
        assert not framing.connected
        assert framing.feed(bytes([byte])) == []
    assert framing.subprotocol == "wamp.2.json"


def test_messages_in_one_piece_with_the_handshake() -> None:
    framing, server = new_framing(), WebSocketServer()
    assert framing.feed(server.answer(take(framing)) + frame(b"early")) == [b"early"]


def test_server_that_chooses_no_serializer() -> None:
    framing, server = new_framing(), WebSocketServer([])
    framing.feed(server.answer(take(framing)))
    assert framing.connected
    assert framing.subprotocol is None


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", TransportError, "404 .*the path"),
        (b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", TransportError, "400 .*its log"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", TransportError, "200"),
        (b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n", TransportError, "302"),
        (b"HTTP/1.0 404 File not found\r\n\r\n", TransportError, "404 File not found .*the path"),
        (b"HTTP/1.0 503\r\n\r\n", TransportError, "HTTP 503 instead"),
        (b"HTTP/1.1 502 Bad\r\nno header\r\n\r\n", TransportError, "HTTP 502 Bad instead"),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", ProtocolError, "not a WebSocket router"),
        (b"HTTP/1.0 101 Switching Protocols\r\n\r\n", ProtocolError, "not a WebSocket router"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", ProtocolError, "not a WebSocket router"),
        (b"\x7f\xf2\x00\x00\n", ProtocolError, "not a WebSocket router"),
        (b"\0" * 100_000, ProtocolError, "not a WebSocket router"),
        (b"HTTP/1.1 101 x\r\n" + b"a: b\r\n" * 1000, ProtocolError, "not a WebSocket router"),
        (b"", ProtocolError, "not a WebSocket router"),
    ],
)
def test_not_a_websocket_server(answer: bytes, error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        new_framing().feed(answer)


def test_the_status_of_a_plain_server_that_answers_in_pieces() -> None:
    framing = new_framing()
    with pytest.raises(TransportError, match="HTTP 404 File not found instead"):
        for piece in (b"HTTP/1", b".0 404 File not", b" found\r\n", b"Server: x\r\n\r\n"):
            framing.feed(piece)


def test_a_server_that_chooses_a_subprotocol_that_was_not_offered() -> None:
    framing, server = new_framing(), WebSocketServer()
    answer = server.answer(take(framing)).replace(b"wamp.2.msgpack", b"wamp.2.ubjson")
    with pytest.raises(TransportError, match="no common serializer"):
        framing.feed(answer)


def test_a_server_that_closes_the_connection_in_the_handshake() -> None:
    framing = new_framing()
    framing.feed(b"HTTP/1.1 101 Switch")
    with pytest.raises(ProtocolError):
        framing.feed(b"")


# Messages.


def test_fragments_become_one_message() -> None:
    framing, _ = connected()
    stream = (
        frame(b"ab", fin=False)
        + frame(b"cd", Opcode.CONT, fin=False)
        + frame(b"still there?", Opcode.PING)
        + frame(b"ef", Opcode.CONT)
        + frame(b"next")
    )
    assert framing.feed(stream) == [b"abcdef", b"next"]


def test_empty_message() -> None:
    framing, _ = connected()
    assert framing.feed(frame(b"") + frame(b"", fin=False) + frame(b"", Opcode.CONT)) == [b"", b""]


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 32768, 40_000, 65535, 65536, 1_000_000])
@pytest.mark.parametrize("binary", [True, False])
def test_frame_is_read_by_a_server(size: int, binary: bool) -> None:
    framing, server = connected()
    [read] = server.read(framing.frame(b"x" * size, binary))
    assert read.data == b"x" * size
    assert read.opcode is (Opcode.BINARY if binary else Opcode.TEXT)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 32768, 40_000, 65535, 65536, 1_000_000])
def test_frame_of_a_server_is_read(size: int) -> None:
    framing, _ = connected()
    assert framing.feed(frame(b"x" * size)) == [b"x" * size]


def test_frames_are_masked_with_keys_of_their_own() -> None:
    framing, _ = connected()
    frames = {framing.frame(b"x" * 20, True) for _ in range(10)}
    assert len(frames) == 10


# Pings.


def test_ping_is_answered() -> None:
    framing, server = connected()
    assert framing.feed(frame(b"life?", Opcode.PING)) == []
    [pong] = server.read(take(framing))
    assert (pong.opcode, pong.data) == (Opcode.PONG, b"life?")


def test_a_ping_is_sent_and_its_pong_is_not_a_message() -> None:
    framing, server = connected()
    framing.ping()
    [ping] = server.read(take(framing))
    assert ping.opcode is Opcode.PING
    assert framing.feed(frame(ping.data, Opcode.PONG) + frame(b"", Opcode.PONG)) == []
    assert framing.control == []


# The end.


@pytest.mark.parametrize(
    ("close", "why"),
    [
        (Close(1001, "shutdown").serialize(), "closed the WebSocket: 1001 shutdown"),
        (Close(1000, "").serialize(), "closed the WebSocket: 1000"),
        (b"", "closed the WebSocket"),
    ],
)
def test_close_is_answered_and_ends_it(close: bytes, why: str) -> None:
    framing, server = connected()
    with pytest.raises(TransportError, match=why):
        framing.feed(frame(close, Opcode.CLOSE))
    [answer] = server.read(take(framing))
    assert (answer.opcode, answer.data) == (Opcode.CLOSE, close)


def test_messages_before_a_close_are_not_lost() -> None:
    # A router that refuses to join sends ABORT and the close in one piece.
    framing, _ = connected()
    close = frame(Close(1000, "").serialize(), Opcode.CLOSE)
    assert framing.feed(frame(b"ABORT") + close) == [b"ABORT"]
    assert isinstance(framing.failure, TransportError)


def test_the_end_of_the_stream_is_not_a_framing_error() -> None:
    framing, _ = connected()
    assert framing.feed(b"") == []


def test_messages_before_a_broken_frame_are_not_lost() -> None:
    framing, _ = connected()
    assert framing.feed(frame(b"fine") + b"\xff\xff") == [b"fine"]
    assert isinstance(framing.failure, ProtocolError)


BROKEN: dict[str, bytes] = {
    "reserved bits": b"\xf2\x01x",
    "reserved opcode": b"\x83\x01x",
    "reserved control opcode": b"\x8b\x01x",
    "masked": b"\x82\x81\0\0\0\0x",
    "continuation of nothing": b"\x80\x01x",
    "new message within another": b"\x02\x01x\x82\x01x",
    "ping too long": b"\x89\x7e\x00\x7e" + b"x" * 126,
    "ping in fragments": b"\x09\x01x",
    "close of one byte": b"\x88\x01x",
    "close with a reserved code": b"\x88\x02\x03\xed",
    "close with broken text": b"\x88\x03\x03\xe8\xff",
    "length of 64 bits, negative": b"\x82\x7f" + b"\xff" * 8,
}


@pytest.mark.parametrize("data", BROKEN.values(), ids=BROKEN)
def test_broken_frame(data: bytes) -> None:
    framing, _ = connected()
    with pytest.raises((ProtocolError, TransportError)):
        framing.feed(data)


# Size.


def test_message_over_the_limit_is_refused_before_it_is_read() -> None:
    framing, server = connected(max_receive_size=1000)
    assert framing.feed(frame(b"x" * 1000)) == [b"x" * 1000]
    with pytest.raises(ProtocolError, match="1001"):
        framing.feed(frame(b"x" * 1001)[:4])
    [close] = server.read(take(framing))
    assert close.data[:2] == (1009).to_bytes(2, "big")


def test_fragments_over_the_limit_together_are_refused() -> None:
    framing, _ = connected(max_receive_size=1000)
    framing.feed(frame(b"x" * 600, fin=False))
    with pytest.raises(ProtocolError):
        framing.feed(frame(b"x" * 600, Opcode.CONT))


def test_large_message_in_many_pieces() -> None:
    framing, _ = connected()
    data = frame(b"x" * 1_000_000)
    pieces = [data[at : at + 100] for at in range(0, len(data), 100)]
    received = [message for piece in pieces for message in framing.feed(piece)]
    assert received == [b"x" * 1_000_000]


def test_large_message_in_many_fragments_is_joined_once() -> None:
    framing, _ = connected()
    framing.feed(frame(b"x", fin=False))
    for number in range(2, 1000):
        assert framing.feed(frame(b"x", Opcode.CONT, fin=False)) == []
        assert len(framing._fragments) == number
    assert framing.feed(frame(b"x", Opcode.CONT)) == [b"x" * 1000]


# Properties.


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[bytes], bytes]:
    """Messages, and a stream of frames that carries them."""
    messages, stream = draw(st.lists(st.binary(max_size=300), max_size=5)), b""
    for message in messages:
        cuts = sorted(draw(st.lists(st.integers(0, len(message)), max_size=3)))
        parts = [message[a:b] for a, b in zip([0, *cuts], [*cuts, len(message)], strict=True)]
        for number, part in enumerate(parts):
            opcode = Opcode.CONT if number else Opcode.BINARY
            stream += frame(part, opcode, fin=number == len(parts) - 1)
            if draw(st.booleans()):
                stream += frame(b"", draw(st.sampled_from([Opcode.PING, Opcode.PONG])))
    return messages, stream


def pieces(stream: bytes, cuts: t.Iterable[int]) -> list[bytes]:
    at = sorted({cut % (len(stream) + 1) for cut in cuts} - {0})
    parts = [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]
    return [part for part in parts if part]


@given(sent=streams(), cuts=st.lists(st.integers(0, 5000), max_size=20))
def test_any_split_gives_the_same_messages(sent: tuple[list[bytes], bytes], cuts: t.Any) -> None:
    framing, _ = connected()
    messages, stream = sent
    received = [message for piece in pieces(stream, cuts) for message in framing.feed(piece)]
    assert received == messages


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
@example([b"\x82\x7e\xff\xff"])
def test_random_bytes(parts: list[bytes]) -> None:
    framing, _ = connected(max_receive_size=512)
    with contextlib.suppress(ProtocolError, TransportError):
        for part in parts:
            framing.feed(part)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5))
@example([b"HTTP/1.1 101 x\r\nUpgrade: \xff\r\n\r\n"])
def test_random_answer_to_the_handshake(parts: list[bytes]) -> None:
    framing = new_framing()
    with contextlib.suppress(ProtocolError, TransportError):
        for part in parts:
            framing.feed(part)
        framing.feed(b"")
    assert framing.subprotocol is None


@given(sent=streams(), at=st.integers(0, 5000), junk=st.binary(max_size=4))
def test_damaged_stream(sent: tuple[list[bytes], bytes], at: int, junk: bytes) -> None:
    framing, _ = connected(max_receive_size=512)
    stream = bytearray(sent[1])
    at %= len(stream) + 1
    stream[at : at + 1] = junk
    with contextlib.suppress(ProtocolError, TransportError):
        for piece in pieces(bytes(stream), range(0, 5000, 97)):
            framing.feed(piece)
        framing.feed(b"")
