"""Part f: costs that grow with payloads, calls in flight, procedures or subscriptions, and fairness."""

from __future__ import annotations

import time
import typing as t

from . import contestants, machine
from .contestants import ASYNCIO, BEST, GEVENT, OURS, TWISTED, Contestant
from .plan import Plan
from .results import Measured, Results
from .stand_in import ADD, ECHO, EVENT, StandIn

BUSY, SLOW = "com.bench.busy", "com.bench.slow"
MB = 1_000_000
BYTES = (100, 10_000, 100_000, MB, 4 * MB)
IN_FLIGHT = (1, 8, 64, 1000, 10_000)
PROCEDURES = (10, 1000, 5000)
SUBSCRIPTIONS = (1, 50, 500)


def measure(results: Results, plan: Plan) -> None:
    """Measure everything, round by round."""
    for who, turn in plan.turns((OURS, TWISTED, ASYNCIO, GEVENT)):
        results.say(f"  {turn}")
        for part in (_serving, _joining, _subscriptions):
            if plan.quick and who in (ASYNCIO, GEVENT) and part is not _joining:
                continue
            try:
                part(results, plan, who)
            except (OSError, EOFError, ValueError) as error:
                results.fail(f"{who.name}, {part.__name__[1:]}", error)


def payload(size: int) -> Measured:
    """The cost of a call with a payload of this size in both directions."""
    return Measured("f", "CPU per call", "us", f"payload of {size:,} bytes")


def per_byte(size: int) -> Measured:
    """The same per byte."""
    return Measured("f", "CPU per byte", "ns", f"payload of {size:,} bytes")


def in_flight(count: int) -> Measured:
    """The cost of a call among others."""
    return Measured("f", "CPU per call", "us", f"{count:,} in flight")


def joining(count: int) -> Measured:
    """The time from HELLO to the last REGISTER, with WELCOME sent at once."""
    return Measured("f", "joined to registered", "ms", f"{count:,} procedures")


def _serving(results: Results, plan: Plan, who: Contestant) -> None:
    with contestants.joined(who, BEST, "serve") as router:
        router.wait_for(3, 2)
        add = router.invocation(ADD, 1, 2)
        router.keep_in_flight(add, 64, plan.seconds / 2, [3])
        for count in IN_FLIGHT:
            window = router.keep_in_flight(add, count, plan.seconds, [3])
            results.add(in_flight(count), who.name, window.cpu_us)
        for size in BYTES:
            text = "x" * size
            make = router.invocation(ECHO, text)
            window = router.keep_in_flight(make, 2, plan.seconds, [text])
            results.add(payload(size), who.name, window.cpu_us)
            results.add(per_byte(size), who.name, window.cpu_us * 1000 / size)
        _fairness(results, plan, who, router)


def _joining(results: Results, plan: Plan, who: Contestant) -> None:
    for count in PROCEDURES[:2] if plan.quick else PROCEDURES:
        with contestants.joined(who, BEST, "join", count) as router:
            router.wait_for(count)
            took = time.perf_counter() - router.joined
            results.add(joining(count), who.name, took * 1000)


def _subscriptions(results: Results, plan: Plan, who: Contestant) -> None:
    for count in SUBSCRIPTIONS:
        with contestants.joined(who, BEST, "subscribe", count) as router:
            router.wait_for(0, count)
            measured = Measured("f", "CPU per event", "us", f"{count} subscriptions")
            results.add(measured, who.name, _scattered(router, count))


def _scattered(router: StandIn, topics: int, events: int = 5000) -> float:
    """Return the CPU microseconds of an event, if the subscriptions receive events in turn."""
    line = router.line
    data = b"".join(
        line.frame(line.codec.encode([EVENT, n % topics + 1, n, {}, [n]])) for n in range(events)
    )
    cpu = machine.cpu(router.pid)
    line.sock.sendall(data)
    while True:  # the client does not report that it is done, so wait until it is idle
        before = machine.cpu(router.pid)
        time.sleep(0.1)
        if machine.cpu(router.pid) - before < 0.001:
            return (before - cpu) / events * 1e6


# Fairness: a quick procedure, one call at a time, beside slow work.


def _fairness(results: Results, plan: Plan, who: Contestant, router: StandIn) -> None:
    seconds = max(plan.seconds, 0.3)
    others: dict[str, t.Callable[[], bytes] | None] = {
        "alone": None,
        "beside a procedure with 16 calls that wait 5 ms": router.invocation(BUSY, 5.0),
        "beside payloads of 1 MB": router.invocation(ECHO, "x" * MB),
    }
    for setting, other in others.items():
        took = _beside(router, other, 16 if "wait" in setting else 1, seconds)
        _add_latency(results, who, setting, took)
    line = router.line
    event = line.frame(line.codec.encode([EVENT, router.subscriptions[SLOW], 1, {}, [1]]))
    line.sock.sendall(event * 1000)  # a second's work for a subscriber that takes 1 ms
    took = router.latencies(router.invocation(ADD, 1, 2), seconds)
    _add_latency(results, who, "beside a subscriber that waits 1 ms", took)


def _add_latency(results: Results, who: Contestant, setting: str, took: list[float]) -> None:
    measured = Measured("f", "quick call, p99", "ms", setting)
    results.add(measured, who.name, machine.percentile(took, 0.99) / 1000)


def _beside(
    router: StandIn, other: t.Callable[[], bytes] | None, others: int, seconds: float
) -> list[float]:
    """Return microseconds of quick calls while this many others are in flight."""
    quick = router.invocation(ADD, 1, 2)
    send, clock = router.line.sock.sendall, time.perf_counter
    took, started, stop = [], clock(), clock() + seconds
    send(quick() + (b"".join(other() for _ in range(others)) if other else b""))
    left = others if other else 0
    waiting = True
    while waiting or left:
        for m in router.yields():
            more = clock() < stop
            if m[3] == [3]:
                took.append((clock() - started) * 1e6)
                waiting = more
                started = clock()
                if more:
                    send(quick())
            elif more and other:
                send(other())
            else:
                left -= 1
    return took
