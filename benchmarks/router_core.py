"""The cost of the core of the embedded router, without I/O: ``python -m benchmarks.router_core``.

A call is CALL in, INVOCATION out, YIELD in, RESULT out, all as bytes. An event is PUBLISH in, EVENT out to a
number of subscribers. Prints the median and the best of several rounds.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
import typing as t

import msgspec

from flask_wamp.router import Router, RouterSession, TransportFacts

ROUNDS = 7

ENCODE: dict[str, t.Callable[[t.Any], bytes]] = {
    "msgpack": msgspec.msgpack.encode,
    "json": msgspec.json.encode,
}


class Client:
    """A session that has joined, and keeps the messages that it gets."""

    def __init__(self, router: Router, serializer: str) -> None:
        self.encode = ENCODE[serializer]
        self.received: list[bytes] = []
        self.session: RouterSession = router.open(
            TransportFacts(serializer=serializer),
            send=self.received.append,
            close=lambda at_once: None,
        )
        callee = {"features": {"call_canceling": True, "progressive_call_results": True}}
        self.send(1, "realm1", {"roles": {"caller": {}, "callee": callee}})
        self.received.clear()

    def send(self, *message: t.Any) -> None:
        """Send a message."""
        self.session.receive(self.encode(message))


def make_router() -> Router:
    return Router(clock=time.monotonic, wall_clock=time.time_ns)


def call(serializer: str, other: str, count: int) -> float:
    """Return the duration of a call in seconds."""
    router = make_router()
    caller, callee = Client(router, serializer), Client(router, other)
    callee.send(64, 1, {}, "com.example.add")
    callee.received.clear()
    calls = [
        caller.encode([48, number, {}, "com.example.add", [1, 2]]) for number in range(1, count + 1)
    ]
    yields = [callee.encode([70, number, {}, [3]]) for number in range(1, count + 1)]
    receive_call, receive_yield = caller.session.receive, callee.session.receive
    begin = time.perf_counter()
    for asked, answered in zip(calls, yields, strict=True):
        receive_call(asked)
        receive_yield(answered)
    taken = time.perf_counter() - begin
    assert len(caller.received) == len(callee.received) == count
    return taken / count


def event(serializer: str, others: t.Sequence[str], subscribers: int, count: int) -> float:
    """Return the duration of an event per subscriber in seconds."""
    router = make_router()
    publisher = Client(router, serializer)
    clients = [
        Client(router, name) for name in itertools.islice(itertools.cycle(others), subscribers)
    ]
    for client in clients:
        client.send(32, 1, {}, "com.example.news")
        client.received.clear()
    published = [
        publisher.encode([16, number, {}, "com.example.news", ["hello"]])
        for number in range(1, count + 1)
    ]
    begin = time.perf_counter()
    for data in published:
        publisher.session.receive(data)
    taken = time.perf_counter() - begin
    assert all(len(client.received) == count for client in clients)
    return taken / count / subscribers


def report(what: str, measure: t.Callable[[], float]) -> None:
    """Print the cost of an operation."""
    taken = [measure() for _ in range(ROUNDS)]
    middle, best = statistics.median(taken) * 1e6, min(taken) * 1e6
    print(f"{what:44} {middle:8.2f} us  (best {best:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=20_000, help="calls in a round")
    count = parser.parse_args().count
    for serializer in ENCODE:
        report(f"a call, {serializer}", lambda s=serializer: call(s, s, count))  # type: ignore[misc]
    report("a call, json to msgpack", lambda: call("json", "msgpack", count))
    for serializer in ENCODE:
        for subscribers in (1, 100):
            report(
                f"an event to {subscribers} in {serializer}, each",
                lambda s=serializer, n=subscribers: event(s, [s], n, count // n),  # type: ignore[misc]
            )
    report("an event to 100 in both, each", lambda: event("json", list(ENCODE), 100, count // 100))


if __name__ == "__main__":
    main()
