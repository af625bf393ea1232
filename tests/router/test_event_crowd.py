"""200 browsers on one topic: each gets each event, and no object remains after they disconnect."""

from __future__ import annotations

import contextlib
import json
import selectors
import socket
import statistics
import struct
import time
import typing as t

import pytest

from tests.conftest import eventually
from tests.support.peers import AutobahnPeer, RemoteError
from tests.support.served import Serve, Served

pytestmark = [pytest.mark.router, pytest.mark.slow]

CLIENTS = 200
EVENTS = 20
TOPIC = "com.shop.prices"
SECONDS = 60.0

REQUEST = b"GET /events HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n"

SERVERS = {
    "gunicorn": "gunicorn -k gevent --bind 127.0.0.1:{port} sse:app",
    "worker": "flask --app sse wamp worker --gevent --http 127.0.0.1:{port}",
}


class Crowd:
    """Open streams of events, which are read concurrently."""

    def __init__(self, port: int, count: int) -> None:
        self.selector = selectors.DefaultSelector()
        self.sockets: list[socket.socket] = []
        self.got: list[list[tuple[int, float]]] = [[] for _ in range(count)]
        """Number and latency of each event, by client."""
        self.headers: list[bytes] = [b""] * count
        self._rest: list[bytes] = [b""] * count
        for number in range(count):
            client = socket.create_connection(("127.0.0.1", port), 30)
            client.sendall(REQUEST)
            self.selector.register(client, selectors.EVENT_READ, number)
            self.sockets.append(client)

    def read_until(self, done: t.Callable[[], bool]) -> None:
        """Read the streams until a condition holds."""
        deadline = time.monotonic() + SECONDS
        while not done():
            assert time.monotonic() < deadline, [len(each) for each in self.got]
            for key, _ in self.selector.select(0.5):
                self._read(t.cast(socket.socket, key.fileobj), key.data)

    def _read(self, client: socket.socket, number: int) -> None:
        data = client.recv(65536)
        assert data, "the server has closed a stream"
        now = time.monotonic()
        *lines, self._rest[number] = (self._rest[number] + data).split(b"\n")
        for line in lines:
            if line.startswith(b": "):
                self.headers[number] = self.headers[number] or b"open"
            elif line.startswith(b"data: "):
                event = json.loads(line[6:])
                self.got[number].append((event["n"], now - event["at"]))

    @property
    def open(self) -> bool:
        """Return whether every stream has started."""
        return all(self.headers)

    def vanish(self) -> None:
        """Disconnect, every second one with a reset, as a computer that is switched off."""
        for number, client in enumerate(self.sockets):
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()
        self.sockets.clear()
        self.selector.close()


def taken(server: Served) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", server.get("/taken"))


def test_only_a_client_that_reads_nothing_is_disconnected(serve: Serve, peer: AutobahnPeer) -> None:
    with serve(*SERVERS["worker"].split(), SHOP_EVENT_QUEUE="100") as server:
        server.workers(peer)
        crowd, stuck = Crowd(server.port, 5), Crowd(server.port, 1)
        crowd.read_until(lambda: crowd.open)
        stuck.read_until(lambda: stuck.open)
        before = taken(server)
        count, text = 2500, "x" * 20_000
        for number in range(count):
            peer.publish(TOPIC, {"n": number, "at": time.monotonic(), "text": text})
            crowd.read_until(lambda number=number: all(len(got) > number for got in crowd.got))
        after = taken(server)
        assert after["streams"] == {TOPIC: 5}
        print(f"\nRSS {before['rss_kb']} -> {after['rss_kb']} kB, of {count * 20} kB published")
        assert after["rss_kb"] - before["rss_kb"] < 25_000
        with contextlib.suppress(AssertionError):  # the server closes it when it has read the rest
            stuck.read_until(lambda: len(stuck.got[0]) == count)
        got = [n for n, _ in stuck.got[0]]
        assert got == list(range(len(got)))
        assert 100 <= len(got) < count
        crowd.vanish()
        stuck.vanish()
        eventually(lambda: taken(server)["fds"] < before["fds"], SECONDS)
        assert "Traceback" not in server.log, server.log


def subscribed(peer: AutobahnPeer) -> bool:
    try:
        return peer.call("wamp.subscription.lookup", TOPIC).value is not None
    except RemoteError:
        return False


@pytest.mark.parametrize("kind", SERVERS)
def test_a_crowd(kind: str, serve: Serve, peer: AutobahnPeer) -> None:
    subscriptions = peer.subscribe("wamp.subscription.on_subscribe")
    with serve(*SERVERS[kind].split()) as server, contextlib.ExitStack() as stack:
        server.workers(peer)
        taken(server)  # the objects of the first request exist by then
        before = taken(server)
        crowd = Crowd(server.port, CLIENTS)
        stack.callback(crowd.vanish)
        crowd.read_until(lambda: crowd.open)
        during = taken(server)
        assert during["streams"] == {TOPIC: CLIENTS}

        for number in range(EVENTS):
            peer.publish(TOPIC, {"n": number, "at": time.monotonic()})
            crowd.read_until(lambda number=number: all(len(got) > number for got in crowd.got))
        assert all([n for n, _ in got] == list(range(EVENTS)) for got in crowd.got)

        crowd.vanish()
        # There are no more events: keep-alives detect the disconnected clients.
        eventually(lambda: taken(server)["streams"] == {}, SECONDS)
        eventually(lambda: not subscribed(peer), SECONDS)
        eventually(lambda: taken(server)["fds"] <= before["fds"] + 1, SECONDS)
        eventually(lambda: taken(server)["greenlets"] <= before["greenlets"] + 2, SECONDS)
        after = taken(server)
        assert "Traceback" not in server.log, server.log
    subscriptions.next()
    assert subscriptions.is_quiet(), "more than one SUBSCRIBE for one topic"

    first = [min(got[n][1] for got in crowd.got) * 1e3 for n in range(EVENTS)]
    last = [max(got[n][1] for got in crowd.got) * 1e3 for n in range(EVENTS)]
    memory = (during["rss_kb"] - before["rss_kb"]) / CLIENTS
    print(
        f"\n{kind}: {CLIENTS} streams, {EVENTS} events: the first client has an event after "
        f"{statistics.median(first):.1f} ms, the last after {statistics.median(last):.1f} ms "
        f"(worst {max(last):.1f} ms); {memory:.0f} kB for each stream; "
        f"RSS {before['rss_kb']} -> {during['rss_kb']} -> {after['rss_kb']} kB, "
        f"fds {before['fds']} -> {during['fds']} -> {after['fds']}, "
        f"greenlets {before['greenlets']} -> {during['greenlets']} -> {after['greenlets']}"
    )
