"""The targets for Flask-WAMP."""

from __future__ import annotations

from . import idle, routers, starting, tests
from .callees import cpu_of_a_call, cpu_of_an_event, latency
from .contestants import AGAIN, ASYNCIO, BEST, FLOOR, TWISTED, XCONN
from .footprint import IDLE_CPU, IMPORT
from .growth import MB, in_flight, joining, per_byte
from .results import Measured, Results, Target
from .servers import CROSSBAR, SOCKETIO

MORE_IN_FLIGHT = Measured("f", "cost of a call", "x", "10,000 in flight, as against 1,000")
LARGER = Measured("f", "cost of a byte", "x", "payload of 1 MB, as against 100 kB")
LARGEST = LARGER._replace(setting="payload of 4 MB, as against 1 MB")

TARGETS = (
    Target(cpu_of_a_call("ws+json"), ASYNCIO.name, 0.30),
    Target(cpu_of_a_call("ws+json"), XCONN.name, 0.70),
    Target(cpu_of_a_call(BEST), TWISTED.name, 0.75),
    Target(cpu_of_a_call(BEST), FLOOR.name, 3.0),
    Target(latency(BEST), TWISTED.name, 0.85),
    Target(cpu_of_an_event("ws+json"), ASYNCIO.name, 0.35),
    Target(joining(1000), TWISTED.name, 1.5),
    Target(joining(1000), ASYNCIO.name, 1.5),
    Target(IDLE_CPU, None, 0.2),
    Target(IMPORT, None, 60),
    Target(MORE_IN_FLIGHT, None, 1.5),
    Target(LARGER, None, 1.5),
    Target(LARGEST, None, 1.5),
    # For calls and latency, the limits of each transport are what the router nexus reached against Crossbar.
    Target(routers.calls_per_core(BEST), CROSSBAR.name, 4, at_least=True),
    Target(routers.calls_per_core("ws+json"), CROSSBAR.name, 4, at_least=True),
    Target(routers.latency("unix+msgpack"), CROSSBAR.name, 0.55),
    Target(routers.calls(BEST), CROSSBAR.name, 1.45, at_least=True),
    Target(routers.latency(BEST), CROSSBAR.name, 0.74),
    Target(routers.calls("ws+json"), CROSSBAR.name, 3.7, at_least=True),
    Target(routers.latency("ws+json"), CROSSBAR.name, 0.53),
    Target(routers.events_per_core(1), CROSSBAR.name, 4, at_least=True),
    Target(routers.events_per_core(1), SOCKETIO.name, 3, at_least=True),
    Target(routers.events_per_core(10), CROSSBAR.name, 4, at_least=True),
    Target(routers.events_per_core(10), SOCKETIO.name, 3, at_least=True),
    Target(idle.memory(), None, 250),
    Target(idle.files(), None, 0),
    Target(idle.last(), None, 1),
    Target(starting.READY, None, 0.5),
    Target(starting.JOINED, None, 1),
    Target(tests.ONE, None, 5),
    Target(tests.MANY, None, 2),
)

#: Values of ours that are measured twice. The difference of their ratio from 1 is noise.
NOISE = (cpu_of_a_call(BEST), latency(BEST), cpu_of_an_event(BEST))


def derive(results: Results) -> None:
    """Add the ratios of the costs of two sizes, round by round. They show whether growth is linear."""
    for measured, many, few in (
        (MORE_IN_FLIGHT, in_flight(10_000), in_flight(1000)),
        (LARGER, per_byte(MB), per_byte(100_000)),
        (LARGEST, per_byte(4 * MB), per_byte(MB)),
    ):
        more, less = results.values.get(many, {}), results.values.get(few, {})
        for who in more:
            for above, below in zip(more[who], less.get(who, ()), strict=False):
                results.add(measured, who, above / below)


def noise(results: Results) -> list[str]:
    """Return a sentence for each value of ours that was measured twice."""
    ratios = ((each, results.ratio(each, AGAIN.name)) for each in NOISE)
    return [f"{each.what}, {each.setting}: {r:.2f}" for each, r in ratios if r is not None]
