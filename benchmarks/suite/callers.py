"""Part d: as a caller and a publisher. The stand-in router answers at once."""

from __future__ import annotations

from . import contestants
from .contestants import ASYNCIO, BEST, GEVENT, OURS, TWISTED, WAMPY, XCONN
from .plan import Plan
from .results import Measured, Results

#: Role, number of threads or coroutines, and name.
ROLES = (
    ("call", 1, "calls, 1 thread"),
    ("call", 32, "calls, 32 threads"),
    ("publish", 1, "publications"),
    ("publish-acknowledged", 1, "publications, acknowledged"),
)


def measure(results: Results, plan: Plan) -> None:
    """Measure over the fastest transport, and over the one that all clients support."""
    for transport in (BEST,) if plan.quick else ("ws+json", BEST):
        for who, turn in plan.turns((OURS, ASYNCIO, TWISTED, XCONN, GEVENT, WAMPY)):
            if transport not in who.transports:
                continue
            results.say(f"  {transport}, {turn}")
            for role, count, what in ROLES:
                if role not in who.roles or (who is WAMPY and count > 1):
                    continue  # two threads of one wampy client would get each other's results
                try:
                    with contestants.joined(who, transport, role, count) as router:
                        router.answer(plan.seconds / 2)
                        window = router.answer(plan.seconds)
                except (OSError, EOFError, ValueError) as error:
                    results.fail(f"{who.name}, {transport}, {role}", error)
                    continue
                results.add(Measured("d", what, "/s", transport), who.name, window.per_second)
                cpu = Measured("d", f"CPU of {what}", "us", transport)
                results.add(cpu, who.name, window.cpu_us)
