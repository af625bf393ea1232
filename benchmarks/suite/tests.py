"""Part i: the cost of a test with a test client."""

from __future__ import annotations

import gc
import statistics
import time
import typing as t

from .. import testclient
from .plan import Plan
from .results import OURS, Measured, Results
from .servers import SOCKETIO

ONE = Measured("i", "one test, median", "ms", "an app, join, one call, stop")
MANY = Measured("i", "1,000 tests", "s", "with one app: join, one call, stop")

INLINE = "ours, inline=True"
NAMES = {
    "ours": OURS,
    "ours_inline": INLINE,
    "flask_socketio": SOCKETIO.name.partition(",")[0],
    "flask_alone": "Flask alone: the app",
}


def measure(results: Results, plan: Plan) -> None:
    """Let the tests alternate."""
    tests, count = testclient.contestants(), 20 if plan.quick else 100
    for n in range(plan.rounds):
        results.say(f"  tests, round {n + 1}")
        gc.collect()
        taken: dict[str, list[float]] = {test.__name__: [] for test in tests}
        for _ in range(count):
            for test in tests:
                taken[test.__name__].append(_milliseconds(test))
        for name, times in taken.items():
            results.add(ONE, NAMES[name], statistics.median(times))
        for inline, who in ((False, OURS), (True, INLINE)):
            results.add(MANY, who, testclient.with_one_app(10 * count, inline) * 100 / count)


def _milliseconds(test: t.Callable[[], None]) -> float:
    begun = time.perf_counter()
    test()
    return (time.perf_counter() - begun) * 1000
