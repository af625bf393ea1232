"""A stand-in for the router: one client, and messages that are encoded in advance."""

from __future__ import annotations

import select
import socket
import time
import typing as t

from . import machine
from .framing import LINES

#: The ids from here on have the same length, in each serializer. So a message is encoded once, and then only
#: its id is replaced.
_FIRST_ID = 1_000_000_000

HELLO, WELCOME, PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, EVENT = 1, 2, 16, 17, 32, 33, 36
CALL, RESULT, REGISTER, REGISTERED, INVOCATION, YIELD, ERROR = 48, 50, 64, 65, 68, 70, 8

ADD, ECHO, TOPIC, DONE = "com.bench.add", "com.bench.echo", "com.bench.topic", "com.bench.done"
EVENTS_A_MARK = 1000
"""The number of events after which the subscriber reports its count."""

TIMEOUT = 30.0
"""Seconds of silence after which a client has failed."""

_FEATURES = {"roles": {"broker": {"features": {}}, "dealer": {"features": {}}}}


class Window(t.NamedTuple):
    """A measurement: messages, elapsed seconds, CPU seconds of the client."""

    count: int
    wall: float
    cpu: float

    @property
    def per_second(self) -> float:
        """Messages a second."""
        return self.count / self.wall

    @property
    def cpu_us(self) -> float:
        """CPU microseconds of each."""
        return self.cpu / self.count * 1e6


class StandIn:
    """A router that waits for one client. ``with StandIn("ws") as router: ... router.accept(pid)``."""

    def __init__(self, transport: str) -> None:
        self._line_class = LINES[transport]
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(TIMEOUT)
        port = self._listener.getsockname()[1]
        self.url = f"{self._line_class.scheme}://127.0.0.1:{port}{self._line_class.path}"
        self.registrations: dict[str, int] = {}
        self.subscriptions: dict[str, int] = {}
        self._request_id = _FIRST_ID
        self._connections: list[socket.socket] = []

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for each in (self._listener, *self._connections):
            each.close()

    def accept(self, pid: int = 0) -> None:
        """Let the client connect and join."""
        sock, _ = self._listener.accept()
        sock.settimeout(TIMEOUT)
        self._connections.append(sock)
        self.pid = pid
        self.line = self._line_class(sock)
        self.line.shake_hands()
        self.serve_until(lambda: bool(self.joined))

    joined = 0.0
    """The ``time.perf_counter()`` at which the client sent HELLO."""

    def serve_until(self, done: t.Callable[[], bool]) -> None:
        """Answer requests of a session."""
        while not done():
            replies = [reply for m in self.line.receive() if (reply := self._answer(m))]
            if replies:
                self.line.send(*replies)

    def _answer(self, m: list[t.Any]) -> list[t.Any] | None:
        if m[0] == HELLO:
            self.joined = time.perf_counter()
            return [WELCOME, 123456789, _FEATURES]
        if m[0] == REGISTER:
            self.registrations[m[3]] = len(self.registrations) + 1
            return [REGISTERED, m[1], self.registrations[m[3]]]
        if m[0] == SUBSCRIBE:
            self.subscriptions[m[3]] = len(self.subscriptions) + 1
            return [SUBSCRIBED, m[1], self.subscriptions[m[3]]]
        if m[0] == CALL:  # a heartbeat
            return [RESULT, m[1], {}, [1]]
        if m[0] == PUBLISH and m[2].get("acknowledge"):
            return [PUBLISHED, m[1], 1]
        return None

    def wait_for(self, registrations: int = 0, subscriptions: int = 0) -> None:
        """Serve until the client has this many registrations and subscriptions."""
        self.serve_until(
            lambda: (
                len(self.registrations) >= registrations
                and len(self.subscriptions) >= subscriptions
            )
        )

    # As a dealer.

    def invocation(self, procedure: str, *args: t.Any) -> t.Callable[[], bytes]:
        """Return a function that creates the next INVOCATION, framed."""
        encode = self.line.codec.encode
        message = [INVOCATION, _FIRST_ID, self.registrations[procedure], {}, list(args)]
        framed = self.line.frame(encode(message))
        before, _, after = framed.partition(encode(_FIRST_ID))

        def make() -> bytes:
            self._request_id += 1
            return before + encode(self._request_id) + after

        return make

    def keep_in_flight(
        self, make: t.Callable[[], bytes], in_flight: int, seconds: float, expect: t.Any
    ) -> Window:
        """Invoke again at each answer, and finally wait for all answers."""
        send = self.line.sock.sendall
        send(b"".join([make() for _ in range(in_flight)]))
        count = 0
        cpu, started = machine.cpu(self.pid), time.perf_counter()
        stop = started + seconds
        while (now := time.perf_counter()) < stop or not count:
            answers = len(self.yields(expect))
            count += answers
            send(b"".join([make() for _ in range(answers)]))
        window = Window(count, now - started, machine.cpu(self.pid) - cpu)
        while in_flight:
            in_flight -= len(self.yields(expect))
        return window

    def yields(self, expect: t.Any = None) -> list[list[t.Any]]:
        """Wait for messages and return the answers. Heartbeats are answered here."""
        answers = []
        for m in self.line.receive():
            if m[0] == YIELD and (expect is None or m[3] == expect):
                answers.append(m)
            else:
                self._other(m)
        return answers

    def latencies(self, make: t.Callable[[], bytes], seconds: float) -> list[float]:
        """Microseconds of each invocation, one at a time."""
        send, clock = self.line.sock.sendall, time.perf_counter
        took = []
        stop = clock() + seconds
        while clock() < stop or not took:
            started = clock()
            send(make())
            while not self.yields():
                pass
            took.append((clock() - started) * 1e6)
        return took

    def _other(self, m: list[t.Any]) -> None:
        if m[0] in (YIELD, ERROR):
            raise ValueError(f"not the answer: {str(m)[:300]}")
        reply = self._answer(m)
        if reply:
            self.line.send(reply)

    # As a broker.

    def events(self, seconds: float) -> Window:
        """Stream events. The subscriber counts them in order and reports at each mark."""
        frame, encode = self.line.frame, self.line.codec.encode
        subscription = self.subscriptions[TOPIC]
        marks = [
            b"".join(
                frame(encode([EVENT, subscription, _FIRST_ID + n, {}, [n, n == EVENTS_A_MARK - 1]]))
                for n in range(EVENTS_A_MARK)
            )
        ]
        send = self.line.sock.sendall
        done = ahead = 0
        cpu, started = machine.cpu(self.pid), time.perf_counter()
        stop = started + seconds
        while (now := time.perf_counter()) < stop or not done:
            while ahead < 3:  # fewer than a subscriber has to queue
                send(marks[0])
                ahead += 1
            done, ahead = done + self._marks(), ahead - (self.last_marks)
        window = Window(done * EVENTS_A_MARK, now - started, machine.cpu(self.pid) - cpu)
        while ahead:
            self._marks()
            ahead -= self.last_marks
        return window

    last_marks = 0

    def _marks(self) -> int:
        self.last_marks = 0
        for m in self.line.receive():
            if m[0] == PUBLISH and m[3] == DONE:
                if m[4] != [EVENTS_A_MARK]:
                    raise ValueError(f"events were lost, or came out of order: {m}")
                self.last_marks += 1
            else:
                self._other(m)
        return self.last_marks

    # As the router of a caller or publisher.

    def answer(self, seconds: float) -> Window:
        """Answer the calls and publications of a client, and count them."""
        send, receive, encode = self.line.sock.sendall, self.line.receive, self.line.codec.encode
        frame = self.line.frame
        count = 0
        cpu, started = machine.cpu(self.pid), time.perf_counter()
        stop = started + seconds
        while (now := time.perf_counter()) < stop or not count:
            replies = []
            for m in receive():
                if m[0] == CALL:
                    replies.append(frame(encode([RESULT, m[1], {}, [3]])))
                elif m[0] == PUBLISH:
                    if m[2].get("acknowledge"):
                        replies.append(frame(encode([PUBLISHED, m[1], m[1]])))
                else:
                    continue
                count += 1
            if replies:
                send(b"".join(replies))
        return Window(count, now - started, machine.cpu(self.pid) - cpu)

    def idle(self, seconds: float) -> float:
        """Return the share of a core that the client needs while idle, in percent."""
        stop = time.perf_counter() + seconds
        cpu, started = machine.cpu(self.pid), time.perf_counter()
        while (left := stop - time.perf_counter()) > 0:
            if select.select([self.line.sock], [], [], left)[0]:
                for m in self.line.receive():
                    self._other(m)
        return (machine.cpu(self.pid) - cpu) / (time.perf_counter() - started) * 100
