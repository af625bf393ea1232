"""Stop the router of many processes, and measure how they reconnect.

::

    python benchmarks/reconnect.py                      # 50 processes; away for 0, 5 and 60 seconds
    python benchmarks/reconnect.py --processes 200 --away 5

The processes are forks that do nothing but keep a session, with the default configuration. The router is
that of the tests. It runs in this process, and records when each of the others connects. ``first``,
``middle`` and ``last`` are the seconds from the router's return to these connections, and ``spread`` are
those from the first to the last. ``heap`` is the maximum number of connections within 50 ms. Run it in an
environment that can run the tests.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import statistics
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.crossbar import free_port
from tests.support.socket_router import SocketRouter

ROW = "{:>10}{:>11}{:>9}{:>9}{:>9}{:>9}{:>8}{:>11}"

#: Seconds within which all processes must be back.
PATIENCE = 30.0


class Router(SocketRouter):
    """Records the times of connections."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.opened = time.monotonic()
        self.arrivals: list[float] = []

    def _serve(self, sock: socket.socket) -> None:
        self.arrivals.append(time.monotonic())
        super()._serve(sock)

    def wait_until_back(self, count: int, arrivals: int) -> None:
        """Wait until this many processes have registered, after this many connections."""
        deadline = time.monotonic() + PATIENCE
        while len(self.arrivals) < arrivals or len(self.procedures) < count:
            if time.monotonic() > deadline:
                sys.exit(f"only {len(self.procedures)} of {count} are there after {PATIENCE} s")
            time.sleep(0.01)


def keep_session(port: int, number: int) -> t.NoReturn:
    """Run as one of the processes, until SIGTERM."""
    app = Flask(f"process {number}")
    app.config.update(WAMP_ROUTER_URL=f"tcp://127.0.0.1:{port}", WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)
    wamp.callee(f"com.example.process{number}")(lambda: number)
    wamp.start()
    while True:
        signal.pause()


def fork(port: int, count: int) -> list[int]:
    """Start the processes, before this process has any thread."""
    pids = []
    for number in range(count):
        pid = os.fork()
        if pid == 0:
            logging.disable()  # otherwise, each process logs that its session was lost
            keep_session(port, number)
        pids.append(pid)
    return pids


def heap(arrivals: list[float], window: float = 0.05) -> int:
    """Return the maximum number of connections within a window."""
    return max(sum(first <= each < first + window for each in arrivals) for first in arrivals)


def show(what: str, count: int, router: Router, since: float) -> None:
    """Print one row."""
    arrivals = sorted(at for at in router.arrivals if at >= since)
    lags = [at - since for at in arrivals]
    numbers = (lags[0], statistics.median(lags), lags[-1], lags[-1] - lags[0])
    registered = len(router.procedures)
    shown = (f"{number:.3f}" for number in numbers)
    print(ROW.format(what, count, *shown, heap(arrivals), registered), flush=True)


def measure(port: int, count: int, aways: list[float]) -> None:
    """Print a row for each time without a router."""
    for away in aways:
        with Router(port) as router:
            router.wait_until_back(count, count)
            if away == 0:  # all sessions end, the port stays open
                since = time.monotonic()
                router.drop()
                router.wait_until_back(count, 2 * count)
                show("0 s", count, router, since)
                continue
        time.sleep(away)
        with Router(port) as router:
            router.wait_until_back(count, count)
            show(f"{away:g} s", count, router, router.opened)


def main() -> None:
    """Print a table, in seconds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=50)
    parser.add_argument("--away", type=float, nargs="+", default=[0.0, 5.0, 60.0])
    arguments = parser.parse_args()
    port = free_port()
    pids = fork(port, arguments.processes)
    try:
        heads = ("away", "processes", "first", "middle", "last", "spread", "heap", "registered")
        print(ROW.format(*heads), flush=True)
        measure(port, arguments.processes, arguments.away)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)


if __name__ == "__main__":
    main()
