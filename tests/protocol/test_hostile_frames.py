"""Frames of a hostile router: limited memory, and an error that says what it did."""

from __future__ import annotations

import logging
import socket
import struct
import time

import pytest
from websockets.frames import Opcode

from flask_wamp.exceptions import ProtocolError, TransportError
from flask_wamp.transports import Stream
from flask_wamp.transports.rawsocket import RawSocketFraming
from tests.support.websocket import connected, frame


def test_unsent_websocket_pongs_are_limited() -> None:
    framing, _ = connected()
    pings = frame(b"x" * 125, Opcode.PING) * 500
    with pytest.raises(ProtocolError, match="pings faster"):
        for _ in range(1000):
            framing.feed(pings)
    assert sum(map(len, framing.control)) < 2 * 1024 * 1024


def test_unsent_rawsocket_pongs_are_limited() -> None:
    framing = RawSocketFraming(2**24)
    with pytest.raises(ProtocolError, match="pings faster"):
        for _ in range(3):
            framing.feed(b"\x01\x20\x00\x00" + bytes(2**21))
    assert len(framing.pongs) == 1


def test_endless_empty_fragments_use_no_memory() -> None:
    framing, _ = connected()
    framing.feed(frame(b"", fin=False))
    for _ in range(100):
        assert framing.feed(frame(b"", Opcode.CONT, fin=False) * 100) == []
    assert framing._fragments == []
    framing.feed(frame(b"a", Opcode.CONT, fin=False))
    assert framing.feed(frame(b"b", Opcode.CONT)) == [b"ab"]


def test_empty_fragments_become_an_empty_message() -> None:
    framing, _ = connected()
    framing.feed(frame(b"", fin=False))
    assert framing.feed(frame(b"", Opcode.CONT)) == [b""]


@pytest.mark.parametrize(
    "data",
    [
        b"\xc2\x02ab",  # RSV1: compressed
        struct.pack(">BBQ", 0x82, 127, 2**40),
        b"\x89\x7e\x01\x00" + bytes(256),  # a ping must be short
        b"\x82\x84abcdabcd",  # masked, which servers must not do
    ],
    ids=["compressed", "a terabyte", "long ping", "masked"],
)
def test_a_frame_that_is_not_allowed(data: bytes) -> None:
    framing, _ = connected()
    with pytest.raises(ProtocolError):
        framing.feed(data)


def test_frames_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    framing, _ = connected()
    caplog.clear()
    assert framing.feed(frame(b"secret")) == [b"secret"]
    assert caplog.text == ""


def test_slowly_arriving_bytes_do_not_extend_the_deadline() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours)
        stream.settimeout(time.monotonic() - 1)
        theirs.send(b"always something to read")
        with pytest.raises(TransportError, match="in time"):
            stream.receive()
