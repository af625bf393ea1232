"""Many WebSockets in one process, whose events are counted at low cost."""

from __future__ import annotations

import json
import select
import socket
import time
import typing as t

from .stand_in import TIMEOUT, TOPIC

MARK = "bench-event"
"""The bytes that count as an event."""

_PING, _PONG = b"\x89\x00", b"\x8a\x80\x00\x00\x00\x00"

PAYLOAD: t.Final = {"mark": MARK, "item": "tea", "count": 7}


class Dialect(t.NamedTuple):
    """How a client joins and publishes over WebSocket, JSON in both cases."""

    path: str
    subprotocol: str
    steps: tuple[tuple[str, bytes], ...]
    """A message to send, and the bytes of the expected answer."""
    publication: t.Callable[[int], str]
    """Creates the message, given its number, from 1 on."""


def _wamp(path: str) -> Dialect:
    hello = [1, "realm1", {"roles": {"publisher": {}, "subscriber": {}}}]
    return Dialect(
        path,
        "wamp.2.json",
        ((json.dumps(hello), b"[2,"), (json.dumps([32, 1, {}, TOPIC]), b"[33,")),
        # The SUBSCRIBE was the first request.
        lambda number: json.dumps([16, number + 1, {}, TOPIC, [PAYLOAD]]),
    )


WAMP = _wamp("/ws")
ENDPOINT = _wamp("/wamp")
SOCKETIO = Dialect(
    "/socket.io/?EIO=4&transport=websocket",
    "",
    (("", b"0{"), ("40", b"40{")),
    lambda number: "42" + json.dumps(["publish", PAYLOAD]),
)


def frame(text: str) -> bytes:
    """A masked text frame, with a mask of zeros."""
    data = text.encode()
    length = (
        bytes([0x80 | len(data)]) if len(data) < 126 else b"\xfe" + len(data).to_bytes(2, "big")
    )
    return b"\x81" + length + bytes(4) + data


class Crowd:
    """A number of clients. The last one publishes, and the others subscribe.

    :param port: Of this machine.
    """

    def __init__(self, port: int, dialect: Dialect, subscribers: int) -> None:
        self._dialect = dialect
        self._poll = select.epoll()
        self._open: dict[int, socket.socket] = {}
        self._tails: dict[int, bytes] = {}
        self.subscribers = subscribers
        self._sent = 0
        try:
            for number in range(subscribers):
                sock = self._join(port, number)
                self._tails[sock.fileno()] = b""
                self._poll.register(sock.fileno(), select.EPOLLIN)
                if not number % 500:  # clients that have joined long ago may get a ping
                    for each, _ in self._poll.poll(0):
                        self._count(each)
            self._publisher = self._join(port, subscribers)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Crowd:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for sock in self._open.values():
            sock.close()
        self._poll.close()

    def _join(self, port: int, number: int) -> socket.socket:
        # From several addresses, because a router limits the connections from one address.
        source = (f"127.0.0.{2 + number // 4000}", 0)
        address = ("127.0.0.1", port)
        sock = socket.create_connection(address, TIMEOUT, source_address=source)
        self._open[sock.fileno()] = sock
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        protocol = self._dialect.subprotocol
        lines = [
            f"GET {self._dialect.path} HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            *([f"Sec-WebSocket-Protocol: {protocol}"] if protocol else []),
        ]
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        data = _read_until(sock, b"\r\n\r\n", b"")
        if b" 101 " not in data:
            raise ValueError(f"no WebSocket: {data[:200]!r}")
        data = data.partition(b"\r\n\r\n")[2]
        for text, answer in self._dialect.steps:
            if text:
                sock.sendall(frame(text))
            _read_until(sock, answer, data)
            data = b""
        return sock

    def publish(self) -> None:
        """Send one event."""
        self._sent += 1
        self._publisher.sendall(frame(self._dialect.publication(self._sent)))

    def keep_in_flight(self, in_flight: int, seconds: float) -> tuple[int, float]:
        """Publish again whenever all have received an event. Return the number of events, and the seconds."""
        begun = time.perf_counter()
        got = sent = 0
        while True:
            due = got // self.subscribers + in_flight - sent
            if time.perf_counter() - begun < seconds:
                for _ in range(due):
                    self.publish()
                    sent += 1
            elif got >= sent * self.subscribers:
                return got, time.perf_counter() - begun
            got += self._receive()

    def wait_for_one(self) -> None:
        """Wait until each subscriber has got an event."""
        silent = set(self._tails)
        while silent:
            found = self._poll.poll(TIMEOUT)
            if not found:
                raise ValueError(f"{len(silent)} subscribers have got no event")
            silent.difference_update(number for number, _ in found if self._count(number))

    def _receive(self) -> int:
        found = self._poll.poll(TIMEOUT)
        if not found:
            raise ValueError(f"no event in {TIMEOUT:g} s")
        return sum(self._count(number) for number, _ in found)

    def _count(self, number: int) -> int:
        data = self._open[number].recv(1 << 18)
        if not data:
            raise EOFError("the server has closed a connection")
        if _PING in data:
            self._open[number].sendall(_PONG)
        mark = MARK.encode()
        data = self._tails[number] + data
        self._tails[number] = data[1 - len(mark) :]
        return data.count(mark)


def _read_until(sock: socket.socket, what: bytes, data: bytes) -> bytes:
    while what not in data:
        more = sock.recv(65536)
        if not more:
            raise EOFError(f"closed after {data[-200:]!r}")
        data += more
    return data
