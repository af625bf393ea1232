"""The client leaves a hostile server in time, with a clear log line and little memory."""

from __future__ import annotations

import contextlib
import logging
import socketserver
import threading
import time
import tracemalloc
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from tests.conftest import eventually
from tests.support.sockets import _Server
from tests.support.websocket import WebSocketServer, frame

MakeApp = t.Callable[..., Flask]

MIB = 1024 * 1024

Talk = t.Callable[["Hostile"], t.Iterator[bytes]]


class Hostile(socketserver.BaseRequestHandler):
    """Sends the bytes that its server's ``talk`` yields, until the client closes the connection."""

    server: HostileServer

    def handle(self) -> None:
        self.server.times.append(time.monotonic())
        try:
            self.request.settimeout(1)
            with contextlib.suppress(TimeoutError):  # Linux may accept data for a closed socket
                for data in self.server.talk(self):
                    self.request.sendall(data)
            self.request.settimeout(None)
            while self.request.recv(65536):
                pass
        except OSError:
            pass
        finally:
            self.server.left.release()

    def upgrade(self, extra: bytes = b"") -> bytes:
        """The right answer to a WebSocket handshake, with more headers."""
        server = WebSocketServer()
        handshake = self.request.recv(65536)
        if not handshake:
            raise ConnectionError("the client has left before it said anything")
        answer = server.answer(handshake)
        return answer.replace(b"\r\n\r\n", b"\r\n" + extra + b"\r\n\r\n") if extra else answer


class HostileServer(_Server):
    """Answers every client with ``talk``."""

    def __init__(self, talk: Talk) -> None:
        super().__init__(Hostile, 0)
        self.talk = talk
        self.times: list[float] = []
        self.left = threading.Semaphore(0)


def redirect(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(65536)
    yield b"HTTP/1.1 302 Found\r\nLocation: ws://127.0.0.1:9/elsewhere\r\nContent-Length: 0\r\n\r\n"


def endless_headers(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(65536)
    yield b"HTTP/1.1 101 Switching Protocols\r\n"
    while True:
        yield b"".join(b"X-%d: %s\r\n" % (n, b"x" * 1000) for n in range(64))


def endless_header(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(65536)
    yield b"HTTP/1.1 101 Switching Protocols\r\nX: "
    while True:
        yield b"x" * 65536


def endless_body(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(65536)
    yield b"HTTP/1.1 200 OK\r\n\r\n"
    while True:
        yield b"x" * 65536


def trickle(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(65536)
    yield b"HTTP/1.1 101 Switching Protocols\r\nX: "
    while True:
        time.sleep(0.05)
        yield b"x"


def silence(client: Hostile) -> t.Iterator[bytes]:
    return iter(())


def raw_trickle(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(4)
    yield b"\x7f\xf2"
    time.sleep(0.3)
    yield b"\x00"


def deflate(client: Hostile) -> t.Iterator[bytes]:
    yield client.upgrade(b"Sec-WebSocket-Extensions: permessage-deflate")


def bomb(client: Hostile) -> t.Iterator[bytes]:
    yield client.upgrade()
    yield b"\xc2\x7e\xff\xff" + b"\x00" * 65535


def fragments(client: Hostile) -> t.Iterator[bytes]:
    yield client.upgrade()
    yield frame(b"x", fin=False)
    while True:
        yield b"\x00\x7f" + (65536).to_bytes(8, "big") + bytes(65536)


def empty_fragments(client: Hostile) -> t.Iterator[bytes]:
    yield client.upgrade()
    yield frame(b"", fin=False)
    while True:
        yield b"\x00\x00" * 4096


def raw_rubbish(client: Hostile) -> t.Iterator[bytes]:
    client.request.recv(4)
    yield b"\x7f\xf2\x00\x00"
    yield b"\x00\xff\xff\xff" + bytes(65536)
    while True:
        yield bytes(65536)


#: The bytes of the server, the scheme, and the log line.
HOSTILE: dict[str, tuple[Talk, str, str]] = {
    "redirect": (redirect, "ws", "HTTP 302 Found"),
    "endless headers": (endless_headers, "ws", "not a WebSocket router"),
    "endless header": (endless_header, "ws", "not a WebSocket router"),
    "endless body": (endless_body, "ws", "HTTP 200|not a WebSocket router|in time"),
    "trickle": (trickle, "ws", "in time"),
    "silence": (silence, "ws", "in time"),
    "rawsocket silence": (silence, "tcp", "in time"),
    "rawsocket trickle": (raw_trickle, "tcp", "in time"),
    "deflate": (deflate, "ws", "not a WebSocket router|no common"),
    "compressed bomb": (bomb, "ws", "not WebSocket: reserved bits"),
    "fragments": (fragments, "ws", "a message is too long"),
    "empty fragments": (empty_fragments, "ws", "in time|closed"),
    "rawsocket rubbish": (raw_rubbish, "tcp", "not a WAMP message|not a RawSocket router|in time"),
}


@pytest.mark.parametrize(("talk", "scheme", "why"), HOSTILE.values(), ids=HOSTILE)
def test_the_client_leaves_a_hostile_server(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture, talk: Talk, scheme: str, why: str
) -> None:
    caplog.set_level(logging.INFO, "flask_wamp")
    with HostileServer(talk) as server:
        config = {
            "WAMP_ROUTER_URL": f"{scheme}://127.0.0.1:{server.port}",
            "WAMP_CONNECT_TIMEOUT": 0.6,
            "WAMP_RECONNECT_MIN": 0.05,
            "WAMP_MAX_MESSAGE_SIZE": MIB,
            "WAMP_SERIALIZERS": ["msgpack"],
        }
        wamp = FlaskWAMP(make_app(**config))
        tracemalloc.start()
        try:
            wamp.start()
            eventually(lambda: len(server.times) >= 2, 20)
            with pytest.raises(NotJoined, match=why):
                wamp.client.wait_until_joined(0)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        wamp.stop()
        assert server.times[1] - server.times[0] > 0.02, "it must pause"
        for _ in server.times:
            assert server.left.acquire(timeout=20), "a connection was kept"
    assert peak < 80 * MIB, "it must not keep much more than the largest message, 16 MiB"
    lines = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert 1 <= len(lines) <= 3, lines
