"""RawSocket: headers, pings, limits. Source: WAMP Advanced Profile, "RawSocket Transport"."""

from __future__ import annotations

import contextlib
import typing as t

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flask_wamp.exceptions import ProtocolError
from flask_wamp.transports.rawsocket import RawSocketFraming, RawSocketTransport, length_exponent
from flask_wamp.transports.streams import RECEIVE_SIZE

MESSAGE, PING, PONG = range(3)


def frame(data: bytes, kind: int = MESSAGE) -> bytes:
    return bytes([kind]) + len(data).to_bytes(3, "big") + data


def framing(max_receive_size: int = 2**24) -> RawSocketFraming:
    return RawSocketFraming(max_receive_size)


@pytest.mark.parametrize(
    ("size", "exponent"),
    [(1, 0), (512, 0), (513, 1), (1024, 1), (1025, 2), (65536, 7), (2**24, 15), (2**25, 15)],
)
def test_announced_length_is_at_least_the_limit(size: int, exponent: int) -> None:
    assert length_exponent(size) == exponent


@pytest.mark.parametrize("size", [0, 1, 255, 256, 40_000, 65535, 65536, 1_000_000])
def test_frame_and_back(size: int) -> None:
    data = framing().frame(b"x" * size)
    assert data[:4] == size.to_bytes(4, "big")
    assert framing().feed(data) == [b"x" * size]


def test_messages_in_one_piece() -> None:
    stream = frame(b"one") + frame(b"") + frame(b"three")
    assert framing().feed(stream) == [b"one", b"", b"three"]


def test_message_in_single_bytes() -> None:
    raw = framing()
    received = [message for byte in frame(b"hello") * 2 for message in raw.feed(bytes([byte]))]
    assert received == [b"hello", b"hello"]


def test_message_of_no_bytes_ends_with_its_header() -> None:
    raw = framing()
    assert raw.feed(b"\0\0\0") == []
    assert raw.feed(b"\0") == [b""]


def test_ping_is_answered_with_its_own_bytes() -> None:
    raw = framing()
    assert raw.feed(frame(b"life?", PING) + frame(b"message")) == [b"message"]
    assert raw.pongs == [frame(b"life?", PONG)]


def test_empty_ping_is_answered() -> None:
    raw = framing()
    raw.feed(frame(b"", PING))
    assert raw.pongs == [frame(b"", PONG)]


def test_a_pong_is_not_a_message() -> None:
    raw = framing()
    assert raw.feed(frame(b"life!", PONG)) == []
    assert raw.pongs == []


@pytest.mark.parametrize("kind", [3, 4, 7, 8, 0x7F, 0xFF])
def test_unknown_type_is_refused(kind: int) -> None:
    with pytest.raises(ProtocolError, match=f"unknown type {kind}"):
        framing().feed(frame(b"", kind))


@pytest.mark.parametrize("kind", [MESSAGE, PING, PONG])
def test_frame_over_the_limit_is_refused_before_it_is_read(kind: int) -> None:
    raw = framing(max_receive_size=1000)
    raw.feed(frame(b"x" * 1000, kind))
    with pytest.raises(ProtocolError, match="1001 bytes is over the limit of 1000"):
        raw.feed(frame(b"x" * 1001, kind)[:4])


def test_the_largest_possible_frame() -> None:
    data = b"x" * (2**24 - 1)
    assert framing().feed(frame(data)) == [data]


# Crossbar writes the length of 2 ** 24 bytes in 32 bits: as the header of an empty PING.


@pytest.mark.parametrize("first", [b"[", b"\x94", b"\xdd", b"\x84", b"\x9f", b" "])
@pytest.mark.parametrize("cut", [1, 4, 5, 100, 65536])
def test_message_of_2_24_bytes(first: bytes, cut: int) -> None:
    data = first + b"\x01" * (2**24 - 1)
    stream = frame(b"before") + bytes([1, 0, 0, 0]) + data + frame(b"after")
    raw = framing()
    at = 4 + len(b"before") + cut
    received = raw.feed(stream[:at]) + raw.feed(stream[at:])
    assert received == [b"before", data, b"after"]
    assert raw.pongs == ([frame(b"", PONG)] if cut == 4 else [])


def test_message_of_2_24_bytes_whose_header_ends_a_full_receive() -> None:
    raw, data = framing(), b"[" + b"\x02" * (2**24 - 1)
    first = frame(b"x" * (RECEIVE_SIZE - 8)) + bytes([1, 0, 0, 0])
    assert len(first) == RECEIVE_SIZE
    assert len(raw.feed(first)) == 1
    assert raw.feed(data[:1000]) == []
    assert raw.feed(data[1000:]) == [data]
    assert raw.pongs == []


def test_empty_ping_that_ends_a_full_receive_is_answered_with_what_follows() -> None:
    raw = framing()
    raw.feed(frame(b"x" * (RECEIVE_SIZE - 8)) + frame(b"", PING))
    assert raw.feed(frame(b"next")) == [b"next"]
    assert raw.pongs == [frame(b"", PONG)]


def test_message_of_2_24_bytes_over_the_limit_is_refused() -> None:
    with pytest.raises(ProtocolError, match="16777216 bytes is over the limit"):
        framing(2**23).feed(bytes([1, 0, 0, 0]) + b"[")


def test_a_message_of_2_24_bytes_is_not_sent() -> None:
    class Router:
        """Takes 2 ** 24 bytes, as its handshake says."""

        def send(self, data: bytes) -> None:
            self.hello = data

        def receive(self) -> bytes:
            return bytes([0x7F, 0xF0 | self.hello[1] & 0x0F, 0, 0])

    stream: t.Any = Router()
    transport = RawSocketTransport.open(lambda: stream, ["msgpack"], 2**24, 0.0)
    assert transport.max_send_size == 2**24 - 1


def test_large_message_in_many_pieces_is_joined_once() -> None:
    raw, data = framing(), frame(b"x" * 100_000)
    pieces = [data[at : at + 100] for at in range(0, len(data), 100)]
    for number, piece in enumerate(pieces[:-1], 1):
        assert raw.feed(piece) == []
        assert len(raw._chunks) == number
    assert raw.feed(pieces[-1]) == [b"x" * 100_000]


# Properties.

frames = st.lists(
    st.tuples(st.sampled_from([MESSAGE, MESSAGE, PING, PONG]), st.binary(max_size=300)), max_size=8
)


def pieces(stream: bytes, cuts: t.Iterable[int]) -> list[bytes]:
    at = sorted({cut % (len(stream) + 1) for cut in cuts} - {0})
    parts = [stream[a:b] for a, b in zip([0, *at], [*at, len(stream)], strict=True)]
    return [part for part in parts if part]


@given(sent=frames, cuts=st.lists(st.integers(0, 5000), max_size=30))
def test_any_split_gives_the_same_messages(sent: list[tuple[int, bytes]], cuts: list[int]) -> None:
    raw = framing()
    stream = b"".join(frame(data, kind) for kind, data in sent)
    received = [bytes(message) for piece in pieces(stream, cuts) for message in raw.feed(piece)]
    assert received == [data for kind, data in sent if kind == MESSAGE]
    assert raw.pongs == [frame(data, PONG) for kind, data in sent if kind == PING]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8))
def test_random_bytes(parts: list[bytes]) -> None:
    raw = framing(max_receive_size=600)
    with contextlib.suppress(ProtocolError):
        for part in parts:
            raw.feed(part)
