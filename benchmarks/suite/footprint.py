"""Part g: memory, import time, start to joined, and the cost while idle."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from . import contestants, machine
from .contestants import ASYNCIO, BEST, GEVENT, OURS, TRANSPORTS, TWISTED, WAMPY, XCONN
from .plan import Plan
from .results import Measured, Results
from .stand_in import StandIn

CONNECTIONS = 20
IDLE_CPU = Measured("g", "CPU, idle", "%", "joined")
IMPORT = Measured("g", "import flask_wamp after flask", "ms", "without wampy")

_IMPORT = (
    "import sys, time; {}; begun = time.perf_counter(); import {}; "
    "print((time.perf_counter() - begun) * 1000)"
)


def measure(results: Results, plan: Plan) -> None:
    """Measure everything, round by round."""
    _imports(results, plan)
    for who, turn in plan.turns((OURS, ASYNCIO, TWISTED, XCONN, GEVENT, WAMPY)):
        results.say(f"  {turn}")
        transport = BEST if BEST in who.transports else "ws+json"
        try:
            _start(results, plan, who, transport)
            if who in (OURS, ASYNCIO, TWISTED):
                _connections(results, who, transport)
        except (OSError, EOFError, ValueError) as error:
            results.fail(f"{who.name}, idle", error)


def _start(results: Results, plan: Plan, who: contestants.Contestant, transport: str) -> None:
    framing, serializer = TRANSPORTS[transport]
    with StandIn(framing) as router:
        started = time.perf_counter()
        with contestants.run(who, router.url, serializer, "serve") as process:
            router.accept(process.pid)
            took = router.joined - started
            router.wait_for(2)
            router.idle(0.3)
            results.add(Measured("g", "start to joined", "ms", "process"), who.name, took * 1000)
            memory = machine.memory(process.pid)
            results.add(Measured("g", "memory", "MB", "process, joined"), who.name, memory)
            results.add(IDLE_CPU, who.name, router.idle(1 if plan.quick else 10))


def _connections(results: Results, who: contestants.Contestant, transport: str) -> None:
    memory = []
    for count in (1, 1 + CONNECTIONS):
        with contestants.joined(who, transport, "idle", count, connections=count) as router:
            time.sleep(0.3)
            memory.append(machine.memory(router.pid))
    measured = Measured("g", "memory of a connection", "kB", "idle (ours: of an app, too)")
    results.add(measured, who.name, (memory[1] - memory[0]) / CONNECTIONS * 1024)


def _imports(results: Results, plan: Plan) -> None:
    flask = Measured("g", "import flask", "ms", "alone")
    for _ in range(plan.rounds * 2):
        results.add(flask, "flask", _import_ms("pass", "flask"))
        results.add(IMPORT, OURS.name, _import_ms("import flask", "flask_wamp"))
    results.say(f"  imports: {statistics.median(results.values[IMPORT]['ours']):.0f} ms")


def _import_ms(first: str, then: str) -> float:
    command = [sys.executable, "-W", "ignore", "-c", _IMPORT.format(first, then)]
    # Allow compiled modules, even if the environment does not. The first round writes them.
    environ = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(command, capture_output=True, check=True, cwd=machine.ROOT, env=environ)
    return float(done.stdout)
