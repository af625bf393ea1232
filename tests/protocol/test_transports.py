"""Transports on a scripted stream: handshakes, refusals, and the end."""

from __future__ import annotations

import collections
import socket
import time
import typing as t

import pytest
from websockets.frames import Close, Opcode

from flask_wamp.exceptions import ProtocolError, TransportError
from flask_wamp.transports import streams
from flask_wamp.transports.rawsocket import RawSocketTransport
from flask_wamp.transports.urls import parse_router_url
from flask_wamp.transports.websocket import WebSocketTransport
from tests.support.websocket import WebSocketServer, frame

ALL = ["msgpack", "json", "cbor"]
SIZE = 2**24

Answer = t.Callable[[bytes], t.Iterable[bytes]]


class ScriptedStream:
    """A stream whose other end answers what is sent. Empty bytes mean its end."""

    def __init__(self, answer: Answer = lambda data: ()) -> None:
        self.sent = self.rest = b""
        self.answers = False
        self.closed = self.forgotten = False
        self.deadline: float | None = None
        self.incoming: collections.deque[bytes] = collections.deque()
        self._answer = answer

    def send(self, data: bytes) -> None:
        self.sent += data
        self.incoming.extend(self._answer(data))

    def receive(self) -> bytes:
        if not self.incoming:
            raise TransportError("the router did not answer in time")
        return self.incoming.popleft()

    def pending(self) -> bool:
        return False

    def settimeout(self, deadline: float | None) -> None:
        self.deadline = deadline

    def close(self) -> None:
        self.closed = True

    def forget(self) -> None:
        self.forgotten = True


def rawsocket(
    answers: list[bytes], serializers: t.Sequence[str] = ALL, max_message_size: int = SIZE
) -> tuple[RawSocketTransport, list[ScriptedStream]]:
    """Open a transport to a router that answers each handshake with the next item."""
    streams = [ScriptedStream(lambda data, answer=answer: [answer]) for answer in answers]  # type: ignore[misc]
    left = iter(streams)
    transport = RawSocketTransport.open(
        lambda: t.cast(t.Any, next(left)), serializers, max_message_size, 1e9
    )
    for stream in streams:
        stream._answer = lambda data: ()
    return transport, streams


# RawSocket. Source: WAMP Advanced Profile, "RawSocket Transport".


@pytest.mark.parametrize(("name", "number"), [("json", 1), ("msgpack", 2), ("cbor", 3)])
def test_rawsocket_handshake(name: str, number: int) -> None:
    transport, [stream] = rawsocket([bytes([0x7F, 0x70 | number, 0, 0])], [name])
    assert stream.sent == bytes([0x7F, 0xF0 | number, 0, 0])
    assert transport.serializer.name == name
    assert transport.max_send_size == 65536


def test_rawsocket_handshake_in_pieces() -> None:
    stream = ScriptedStream(lambda data: [b"\x7f", b"\xf2", b"\0", b"\0"])
    transport = RawSocketTransport.open(lambda: t.cast(t.Any, stream), ["msgpack"], SIZE, 1e9)
    assert transport.max_send_size == SIZE - 1


def test_rawsocket_announces_the_limit() -> None:
    _, [stream] = rawsocket([b"\x7f\xf2\0\0"], max_message_size=4096)
    assert stream.sent[1] >> 4 == 3


@pytest.mark.parametrize("refusal", [b"\x7f\x10\0\0", b""], ids=["declines", "hangs up"])
def test_rawsocket_serializer_that_is_declined(refusal: bytes) -> None:
    transport, [first, second] = rawsocket([refusal, b"\x7f\xf1\0\0"])
    assert transport.serializer.name == "json"
    assert first.closed
    assert not second.closed


@pytest.mark.parametrize(
    ("answer", "error", "why"),
    [
        (b"\x7f\x00\0\0", TransportError, "declined: it gave no reason"),
        (b"\x7f\x10\0\0", TransportError, "does not speak this serializer"),
        (b"\x7f\x20\0\0", TransportError, "maximum message length"),
        (b"\x7f\x30\0\0", TransportError, "reserved bit"),
        (b"\x7f\x40\0\0", TransportError, "too many connections"),
        (b"\x7f\x90\0\0", TransportError, "declined: 9"),
        (b"", TransportError, "closed the connection when offered cbor"),
        (b"\x7f\xf4\0\0", ProtocolError, "not offered: 4"),
        (b"HTTP", ProtocolError, "not a RawSocket router"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", ProtocolError, "not a RawSocket router"),
        (b"\0\0\0\0", ProtocolError, "not a RawSocket router"),
    ],
)
def test_rawsocket_router_that_declines_everything(
    answer: bytes, error: type[Exception], why: str
) -> None:
    with pytest.raises(error, match=why):
        rawsocket([answer] * 3)


def test_a_silent_rawsocket_router_is_tried_once() -> None:
    streams = [ScriptedStream(), ScriptedStream()]
    left = iter(streams)
    with pytest.raises(TransportError, match="in time"):
        RawSocketTransport.open(lambda: t.cast(t.Any, next(left)), ALL, SIZE, 1e9)
    assert [stream.closed for stream in streams] == [True, False]


@pytest.mark.skipif(streams.QUICKACK is None, reason="only Linux can acknowledge at once")
@pytest.mark.parametrize(("scheme", "asked"), [("tcp", True), ("ws", False)])
def test_rawsocket_is_acknowledged_at_once(
    scheme: str, asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux resets the option; see :data:`flask_wamp.transports.streams.QUICKACK`."""
    log: list[t.Any] = []

    class Socket(socket.socket):
        def setsockopt(self, *option: t.Any) -> None:
            log.append(option)
            super().setsockopt(*option)

        def recv(self, *args: t.Any) -> bytes:
            log.append("recv")
            return super().recv(*args)

    monkeypatch.setattr(streams.socket, "socket", Socket)
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = parse_router_url(f"{scheme}://127.0.0.1:{server.getsockname()[1]}")
        settings = t.cast(t.Any, None)  # for TLS
        stream = streams.open_stream(url, settings, time.monotonic() + 10)
        other, _ = server.accept()
        with stream.sock, other:
            del log[:]
            for answer in (b"", b"", b"answer", b""):
                other.sendall(b"x")
                assert stream.receive() == b"x"
                if answer:
                    stream.send(answer)
    quick = [(socket.IPPROTO_TCP, streams.QUICKACK, 1)] if asked else []
    assert log == ["recv", *quick, "recv", *quick, "recv", "recv"], "an answer acknowledges too"


def test_rawsocket_sends_and_receives() -> None:
    transport, [stream] = rawsocket([b"\x7f\xf2\0\0"])
    stream.sent = b""
    transport.send([b"one", b"three"])
    assert stream.sent == b"\0\0\0\3one\0\0\0\5three"
    stream.incoming.extend([b"\0\0\0\2hi\1\0\0\1p\0\0", b"\0\1!", b""])
    assert transport.receive() == [b"hi"]
    assert transport.pending()
    transport.send([])
    assert stream.sent.endswith(b"\2\0\0\1p")
    assert not transport.pending()
    assert transport.receive() == [b"!"]
    assert transport.receive() is None


# WebSocket.


def websocket(
    after: bytes = b"", chooses: t.Sequence[str] | None = None, handshake: Answer | None = None
) -> tuple[WebSocketTransport, ScriptedStream, WebSocketServer]:
    """Open a transport to a server that sends data together with its handshake."""
    server = WebSocketServer() if chooses is None else WebSocketServer(chooses)
    stream = ScriptedStream(handshake or (lambda data: [server.answer(data) + after]))
    url = parse_router_url("ws://localhost:8080/ws")
    transport = WebSocketTransport.open(t.cast(t.Any, stream), url, ALL, SIZE, 1e9)
    stream._answer = lambda data: ()
    stream.sent = b""
    return transport, stream, server


@pytest.mark.parametrize("name", ALL)
def test_websocket_handshake(name: str) -> None:
    transport, _, _ = websocket(chooses=[f"wamp.2.{name}"])
    assert transport.serializer.name == name
    assert transport.has_ping


def test_websocket_messages_with_the_handshake() -> None:
    transport, stream, _ = websocket(after=frame(b"early") + frame(b"too"))
    stream.incoming.extend([frame(b"late"), b""])
    assert transport.receive() == [b"early", b"too"]
    assert transport.receive() == [b"late"]
    assert transport.receive() is None


def test_a_websocket_server_that_is_not_a_router() -> None:
    with pytest.raises(TransportError, match="does not speak WAMP"):
        websocket(chooses=[])


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", TransportError),
        (b"\x7f\xf2\0\0", TransportError),
        (b"", ProtocolError),
    ],
)
def test_websocket_failure_closes_the_stream(answer: bytes, error: type[Exception]) -> None:
    stream = ScriptedStream(lambda data: [answer])
    url = parse_router_url("ws://localhost:8080/ws")
    with pytest.raises(error):
        WebSocketTransport.open(t.cast(t.Any, stream), url, ALL, SIZE, 1e9)
    assert stream.closed


def test_websocket_abort_and_close_in_one_piece() -> None:
    transport, stream, server = websocket()
    stream.incoming.append(frame(b"ABORT") + frame(Close(1000, "bye").serialize(), Opcode.CLOSE))
    assert transport.receive() == [b"ABORT"]
    assert transport.pending()
    transport.send([])
    assert server.read(stream.sent)[0].opcode is Opcode.CLOSE
    with pytest.raises(TransportError, match="closed the WebSocket: 1000 bye"):
        transport.receive()


def test_websocket_sends_all_with_one_call() -> None:
    transport, stream, server = websocket(chooses=["wamp.2.json"])
    stream.incoming.append(frame(b"?", Opcode.PING))
    assert transport.receive() == []
    transport.send([b"[1]", b"[2]"])
    read = [(each.opcode, each.data) for each in server.read(stream.sent)]
    assert read == [(Opcode.PONG, b"?"), (Opcode.TEXT, b"[1]"), (Opcode.TEXT, b"[2]")]


def test_websocket_ping() -> None:
    transport, stream, server = websocket()
    assert not transport.pending()
    transport.ping()
    assert transport.pending()
    transport.send([b"message"])
    assert [each.opcode for each in server.read(stream.sent)] == [Opcode.PING, Opcode.BINARY]


@pytest.mark.parametrize("make", [lambda: websocket()[:2], lambda: rawsocket([b"\x7f\xf2\0\0"])])
def test_timeouts_and_closing_are_passed_to_the_stream(make: t.Any) -> None:
    transport, stream = make()
    stream = stream[0] if isinstance(stream, list) else stream
    transport.settimeout(5.0)
    transport.forget()
    transport.close()
    assert (stream.deadline, stream.forgotten, stream.closed) == (5.0, True, True)
