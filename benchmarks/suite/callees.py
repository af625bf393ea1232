"""Parts a, b and c: as a callee and a subscriber of the stand-in router."""

from __future__ import annotations

from . import contestants, machine
from .contestants import AGAIN, BEST, EVERYBODY, Contestant
from .plan import Plan
from .results import Measured, Results
from .stand_in import ADD, StandIn

IN_FLIGHT = (1, 64, 1000)
WARM_UP = 0.3
"""The part of a measurement that is discarded, while caches fill and workers start."""


def measure(results: Results, plan: Plan, parts: str) -> None:
    """Measure all transports and all clients that support them, round by round."""
    for transport in plan.transports:
        line = [who for who in EVERYBODY if transport in who.transports]
        for who, turn in plan.turns([*line, AGAIN] if transport == BEST else line):
            results.say(f"  {transport}, {turn}")
            try:
                with contestants.joined(who, transport, "serve") as router:
                    everything = "events" in who.roles
                    router.wait_for(3, 2) if everything else router.wait_for(2)
                    _measure(results, plan, parts, transport, who, router)
            except (OSError, EOFError, ValueError) as error:
                results.fail(f"{who.name}, {transport}", error)


def cpu_of_a_call(transport: str, in_flight: int = 64) -> Measured:
    """The measurement of part a."""
    return Measured("a", "CPU per call", "us", f"{transport}, {in_flight} in flight")


def latency(transport: str) -> Measured:
    """The measurement of part b."""
    return Measured("b", "one call, p50", "us", transport)


def cpu_of_an_event(transport: str) -> Measured:
    """The measurement of part c."""
    return Measured("c", "CPU per event", "us", transport)


def _measure(
    results: Results, plan: Plan, parts: str, transport: str, who: Contestant, router: StandIn
) -> None:
    add = router.invocation(ADD, 1, 2)
    router.keep_in_flight(add, 64, plan.seconds * WARM_UP, [3])
    if "a" in parts:
        for in_flight in IN_FLIGHT:
            window = router.keep_in_flight(add, in_flight, plan.seconds, [3])
            measured = cpu_of_a_call(transport, in_flight)
            results.add(measured, who.name, window.cpu_us)
            rate = measured._replace(what="calls", unit="/s")
            results.add(rate, who.name, window.per_second)
    if "b" in parts:
        took = router.latencies(add, plan.seconds)
        results.add(latency(transport), who.name, machine.percentile(took, 0.5))
        p99 = latency(transport)._replace(what="one call, p99")
        results.add(p99, who.name, machine.percentile(took, 0.99))
    if "c" in parts and "events" in who.roles:
        router.events(plan.seconds * WARM_UP)
        window = router.events(plan.seconds)
        results.add(cpu_of_an_event(transport), who.name, window.cpu_us)
        rate = Measured("c", "events, in order", "/s", transport)
        results.add(rate, who.name, window.per_second)
