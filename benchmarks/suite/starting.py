"""Part h: how long a router takes until it is ready, and an app until it has joined its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import free_port
from flask_wamp.router.process.place import place_at

from . import machine
from .plan import Plan
from .results import OURS, Measured, Results
from .servers import CROSSBAR, XCONN, Server, wait_for_line

CPU_READY = Measured("h", "CPU until ready", "s", "the router's command")
CPU_JOINED = Measured("h", "CPU until joined", "s", "flask run, and the router it starts")
READY = Measured("h", "start to ready", "s", "the router's command")
JOINED = Measured("h", "start to joined", "s", "flask run, which starts the router")

_SHOP = ("-m", "flask", "--app", "shop")


Start = tuple[float, float]
"""Elapsed seconds, and seconds of CPU time."""

TRIES = 3
"""The quickest start of a round is used, because other programs on the machine only add time."""


def measure(results: Results, plan: Plan) -> None:
    """Start each several times in a round, after one start that fills the caches."""
    command, run = (READY, CPU_READY), (JOINED, CPU_JOINED)
    ours = [(command, OURS, _command), (run, OURS, _run)]
    others = [(command, server.name, _starts(server)) for server in (CROSSBAR, XCONN)]
    _command()
    for n in range(plan.rounds):
        results.say(f"  starting, round {n + 1}")
        for (elapsed, cpu), who, start in (*ours, *others):
            try:
                tries = [start() for _ in range(1 if plan.quick else TRIES)]
            except (OSError, EOFError, ValueError, RuntimeError) as error:
                results.fail(f"{who}, start", error)
            else:
                results.add(elapsed, who, min(took for took, _ in tries))
                results.add(cpu, who, min(spent for _, spent in tries))


def _starts(server: Server) -> t.Callable[[], Start]:
    def start() -> Start:
        begun = time.perf_counter()
        with server.start() as running:
            return time.perf_counter() - begun, machine.cpu_of_tree(running.pid)

    return start


def _command() -> Start:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    begun = time.perf_counter()
    with _shop(url, "wamp", "router") as process:
        wait_for_line(process, b"ready")
        took = time.perf_counter() - begun, machine.cpu_of_tree(process.pid)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    return took


def _run() -> Start:
    with embedded() as url:
        begun = time.perf_counter()
        with _shop(url, "run", "--port", str(free_port())) as process:
            wait_for_line(process, b"joined")
            took = time.perf_counter() - begun
            router = router_pid(url.partition(":")[2])
            return took, machine.cpu_of_tree(process.pid) + machine.cpu(router)


def _shop(url: str, *command: str) -> t.Any:
    environ = {"PYTHONPATH": str(machine.CLIENTS), "FLASK_WAMP_ROUTER_URL": url}
    # Its standard error is not needed.
    return machine.running([*_SHOP, *command], pin=False, stderr=subprocess.DEVNULL, **environ)


@contextlib.contextmanager
def embedded() -> t.Iterator[str]:
    """A URL for an app's embedded router, which ends with the block."""
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/wamp.sock"
        try:
            yield f"embedded:{path}"
        finally:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                os.kill(router_pid(path), signal.SIGTERM)


def router_pid(path: str) -> int:
    """The process of the embedded router whose socket this is."""
    return int(json.loads(Path(place_at(path).info).read_text())["pid"])
