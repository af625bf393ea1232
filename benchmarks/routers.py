"""The built-in router beside Crossbar.io: ``python -m benchmarks.routers [--seconds 3] [--rounds 3]``.

A caller and a callee, both of this library and each in a process of its own, with 64 calls in flight and
with one. The routers take turns; each figure is the median of the rounds, and the last column the ratio of
the built-in router to Crossbar.io. CPU is that of the router's processes, read from the kernel, and calls
per core follow from it.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import DevRouter, free_port

FORMATS = {"RawSocket + msgpack": ("tcp", "msgpack"), "ws + json": ("ws", "json")}
URI = "com.bench.add"


def peer(role: str, url: str, serializer: str, seconds: float) -> None:
    """Be the caller or the callee; what a process of this benchmark does."""
    from flask import Flask

    from flask_wamp import FlaskWAMP

    app = Flask("bench")
    app.config.update(
        WAMP_ROUTER_URL=url, WAMP_SERIALIZERS=[serializer], WAMP_AUTOSTART=False, WAMP_ENDPOINT=None
    )
    wamp = FlaskWAMP(app)
    if role == "callee":
        wamp.callee(URI)(lambda a, b: a + b)
    wamp.start()
    with app.app_context():
        wamp.client.wait_until_joined(20)
        print("ready", flush=True)
        for line in sys.stdin:
            if role == "caller":
                print(json.dumps(_call(wamp.client, int(line), seconds)), flush=True)
        wamp.stop()


def _call(client: t.Any, in_flight: int, seconds: float) -> dict[str, float]:
    times: list[float] = []
    begun = time.perf_counter()
    if in_flight == 1:
        while time.perf_counter() - begun < seconds:
            before = time.perf_counter()
            client.call(URI, 1, 2)
            times.append(time.perf_counter() - before)
        return {"calls": len(times), "p50": statistics.median(times), "took": seconds}
    calls = 0
    waiting = collections.deque(client.submit(URI, 1, 2) for _ in range(in_flight))
    while time.perf_counter() - begun < seconds:
        waiting.popleft().result()
        waiting.append(client.submit(URI, 1, 2))
        calls += 1
    took = time.perf_counter() - begun
    for future in waiting:
        future.result()
    return {"calls": calls, "p50": 0.0, "took": took}


class Peer:
    """A process of :func:`peer`."""

    def __init__(self, role: str, url: str, serializer: str, seconds: float) -> None:
        arguments = [role, url, serializer, str(seconds)]
        command = [sys.executable, "-m", "benchmarks.routers", "--peer", *arguments]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None and self.process.stdout.readline() == "ready\n"

    def ask(self, in_flight: int) -> dict[str, float]:
        """Have it call."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(f"{in_flight}\n")
        self.process.stdin.flush()
        return t.cast("dict[str, float]", json.loads(self.process.stdout.readline()))

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process and its children, in seconds."""
    total = 0.0
    with contextlib.suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            total += cpu_of(int(child))
    return total


@contextlib.contextmanager
def built_in() -> t.Iterator[tuple[dict[str, str], int]]:
    """Run the built-in router; its URLs and process."""
    urls = {"tcp": f"tcp://127.0.0.1:{free_port()}", "ws": f"ws://127.0.0.1:{free_port()}/ws"}
    command = [sys.executable, "-m", "flask_wamp.router"]
    command += [f"--url={url}" for url in urls.values()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None and b"ready" in process.stdout.readline()
    try:
        yield urls, process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextlib.contextmanager
def crossbar() -> t.Iterator[tuple[dict[str, str], int]]:
    """Run Crossbar.io; its URLs and process."""
    urls = {"tcp": f"tcp://127.0.0.1:{free_port()}", "ws": f"ws://127.0.0.1:{free_port()}/ws"}
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        router = DevRouter(list(urls.values()), log=Path(folder, "log"))
        stack.enter_context(router)
        process = router._process
        assert process is not None
        yield urls, process.pid


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["--peer"]:
        role, url, serializer, seconds = sys.argv[2:]
        peer(role, url, serializer, float(seconds))
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    figures: dict[tuple[str, str], dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        routers = {
            "built in": stack.enter_context(built_in()),
            "Crossbar.io": stack.enter_context(crossbar()),
        }
        for _ in range(options.rounds):
            for name, (scheme, serializer) in FORMATS.items():
                for router, (urls, pid) in routers.items():
                    rows = figures.setdefault((name, router), collections.defaultdict(list))
                    measure(urls[scheme], serializer, pid, options.seconds, rows)
    report(figures)


def measure(
    url: str, serializer: str, pid: int, seconds: float, rows: dict[str, list[float]]
) -> None:
    """Measure one router once."""
    callee = Peer("callee", url, serializer, seconds)
    caller = Peer("caller", url, serializer, seconds)
    caller.ask(64)  # to warm up
    before = cpu_of(pid)
    many = caller.ask(64)
    cpu = cpu_of(pid) - before
    one = caller.ask(1)
    for each in (caller, callee):
        each.close()
    rows["calls/s, 64 in flight"].append(many["calls"] / many["took"])
    rows["calls/s per core of the router"].append(many["calls"] / cpu)
    rows["p50 of one call, us"].append(one["p50"] * 1e6)


def report(figures: dict[tuple[str, str], dict[str, list[float]]]) -> None:
    """Print medians and ratios."""
    row = "{:<22}{:<34}{:>12}{:>14}{:>9}"
    print(row.format("format", "figure", "built in", "Crossbar.io", "ratio"))
    for name in FORMATS:
        ours, theirs = figures[name, "built in"], figures[name, "Crossbar.io"]
        for figure in ours:
            a, b = statistics.median(ours[figure]), statistics.median(theirs[figure])
            print(row.format(name, figure, f"{a:,.0f}", f"{b:,.0f}", f"{a / b:.2f}"))


if __name__ == "__main__":
    main()
