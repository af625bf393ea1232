"""Part h: many WebSockets that join at the app's endpoint and then are idle."""

from __future__ import annotations

import http.client
import resource
import signal
import subprocess
import time
from pathlib import Path

from flask_wamp.crossbar import free_port

from . import crowd, machine
from .plan import Plan
from .results import OURS, Measured, Results
from .stand_in import TIMEOUT
from .starting import embedded, router_pid

WEBSOCKETS = 10_000
IDLE = 5.0
"""Seconds for which the CPU is measured."""

_GUNICORN = ("-m", "gunicorn", "--workers=2", "--threads=2", "--log-level=critical")


def memory(count: int = WEBSOCKETS) -> Measured:
    """The memory of the router."""
    return Measured("h", "memory of the router", "MB", f"{count:,} idle WebSockets")


def files(count: int = WEBSOCKETS) -> Measured:
    """The file descriptors that the WebSockets keep open in the app's processes."""
    return memory(count)._replace(what="open files in the workers", unit="")


def last(count: int = WEBSOCKETS) -> Measured:
    """The time from the request that publishes an event until the last WebSocket has received it."""
    return memory(count)._replace(what="an event to all", unit="s")


def measure(results: Results, plan: Plan) -> None:
    """Measure once in each of a few rounds, because joining takes most of the time."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    count = 1000 if plan.quick else WEBSOCKETS
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if most < count + 100:
        results.fail("idle WebSockets", OSError(f"only {most} files may be open: ulimit -n"))
        return
    for n in range(min(plan.rounds, 3)):
        results.say(f"  {count:,} WebSockets, round {n + 1}")
        try:
            _once(results, count)
        except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
            results.fail("idle WebSockets", error)


def _once(results: Results, count: int) -> None:
    port = free_port()
    environ = {"PYTHONPATH": str(machine.CLIENTS)}
    with embedded() as url:
        command = [*_GUNICORN, f"--bind=127.0.0.1:{port}", "shop:app"]
        environ["FLASK_WAMP_ROUTER_URL"] = url
        with machine.running(command, pin=False, stderr=subprocess.DEVNULL, **environ) as gunicorn:
            machine.wait_for_port(port, time.monotonic() + TIMEOUT)
            crowd.Crowd(
                port, crowd.ENDPOINT, 50
            ).close()  # files that are opened once are open by now
            time.sleep(1)
            _measure(results, count, port, gunicorn.pid, router_pid(url.partition(":")[2]))
            gunicorn.send_signal(signal.SIGTERM)
            gunicorn.wait(TIMEOUT)


def _measure(results: Results, count: int, port: int, gunicorn: int, router: int) -> None:
    workers = machine.tree(gunicorn)[1:]
    before, empty = _open_files(workers), sum(map(machine.memory, workers))
    with crowd.Crowd(port, crowd.ENDPOINT, count) as browsers:
        time.sleep(1)
        results.add(memory(count), OURS, machine.memory(router))
        results.add(files(count), OURS, _open_files(workers) - before)
        more = sum(map(machine.memory, workers)) - empty
        results.add(memory(count)._replace(what="memory of 2 workers, more"), OURS, more)
        cpu, begun = machine.cpu(router), time.perf_counter()
        time.sleep(IDLE)
        busy = (machine.cpu(router) - cpu) / (time.perf_counter() - begun) * 100
        results.add(memory(count)._replace(what="CPU of the router", unit="%"), OURS, busy)
        begun = time.perf_counter()
        _publish(port)
        browsers.wait_for_one()
        results.add(last(count), OURS, time.perf_counter() - begun)


def _open_files(pids: list[int]) -> int:
    return sum(len(list(Path(f"/proc/{pid}/fd").iterdir())) for pid in pids)


def _publish(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    connection.request("GET", "/publish")
    if connection.getresponse().status != 200:
        raise ValueError("the app did not publish")
    connection.close()
