"""Browsers while an app is deployed: ``python -m benchmarks.deploys [--browsers 1000] [--restarts 5]``.

Starts gunicorn with each kind of worker, and an app with its own router. Browsers join through the app's
port, and each calls a procedure again and again. Meanwhile gunicorn replaces all workers, several times.
Prints how many WebSockets were lost, how many calls failed, and how long the slowest call took. All of it
is on this machine.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from flask_wamp.crossbar import free_port

APPS = Path(__file__).parents[1] / "tests" / "support" / "apps"
KINDS = {
    "sync": ["-w", "2"],
    "gthread": ["-w", "2", "-k", "gthread", "--threads", "4"],
    "gevent": ["-w", "2", "-k", "gevent"],
}
HELLO = [1, "realm1", {"roles": {"caller": {}, "subscriber": {}}}]
PAUSE = 0.5
"""Seconds between two calls of one browser."""


class Count:
    """What has happened so far."""

    def __init__(self) -> None:
        self.joined = self.calls = self.failed = self.lost = 0
        self.slowest = 0.0
        self.pids: set[int] = set()
        self.errors: dict[str, int] = {}


async def browse(url: str, count: Count, ended: asyncio.Event, gate: asyncio.Semaphore) -> None:
    """Be one browser until the end."""
    try:
        async with gate:
            socket = await connect(
                url, subprotocols=[Subprotocol("wamp.2.json")], compression=None, open_timeout=60
            )
            await socket.send(json.dumps(HELLO))
            assert json.loads(await socket.recv())[0] == 2
        count.joined += 1
        await call_until(socket, count, ended)
        await socket.close()
    except Exception as error:
        count.lost += 1
        name = type(error).__name__
        count.errors[name] = count.errors.get(name, 0) + 1


async def call_until(socket: ClientConnection, count: Count, ended: asyncio.Event) -> None:
    number = 0
    while not ended.is_set():
        number += 1
        begun = time.monotonic()
        await socket.send(json.dumps([48, number, {}, "com.shop.who"]))
        answer = json.loads(await socket.recv())
        count.calls += 1
        count.slowest = max(count.slowest, time.monotonic() - begun)
        if answer[0] == 50:
            count.pids.add(answer[3][0]["pid"])
        else:
            count.failed += 1
            count.errors[answer[4]] = count.errors.get(answer[4], 0) + 1
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(ended.wait(), PAUSE)


async def measure(kind: str, browsers: int, restarts: int) -> Count:
    """Restart the workers of one kind of gunicorn while browsers call."""
    port, count, ended = free_port(), Count(), asyncio.Event()
    with tempfile.TemporaryDirectory(prefix="wamp-") as folder:
        environ = {**os.environ, "FLASK_WAMP_ROUTER_URL": f"embedded:{folder}/a.sock"}
        command = [sys.executable, "-m", "gunicorn", *KINDS[kind], "-b", f"127.0.0.1:{port}"]
        with open(Path(folder, "log"), "wb") as log:
            server = subprocess.Popen(
                [*command, "browsed:app"], cwd=APPS, env=environ, stdout=log, stderr=log
            )
        try:
            await asyncio.sleep(3)
            gate = asyncio.Semaphore(20)
            url = f"ws://127.0.0.1:{port}/wamp"
            tasks = [asyncio.create_task(browse(url, count, ended, gate)) for _ in range(browsers)]
            while count.joined + count.lost < browsers:
                await asyncio.sleep(0.1)
            for _ in range(restarts):
                await restart(server, count)
            ended.set()
            await asyncio.gather(*tasks)
        finally:
            ended.set()
            server.terminate()
            server.wait(30)
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                info = json.loads(Path(folder, "a.sock.json").read_text())
                os.kill(info["pid"], signal.SIGTERM)
    return count


async def restart(server: subprocess.Popen[bytes], count: Count) -> None:
    """Have all workers replaced, and wait until only new ones answer."""
    before = set(count.pids)
    server.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        count.pids.clear()
        await asyncio.sleep(2 * PAUSE)
        if count.pids and not count.pids & before:
            return
    raise RuntimeError("the workers were not replaced")


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browsers", type=int, default=1000)
    parser.add_argument("--restarts", type=int, default=5)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    options = parser.parse_args()
    row = "{:<10}{:>10}{:>10}{:>10}{:>10}{:>10}   {}"
    print(row.format("workers", "browsers", "lost", "calls", "failed", "slowest", "errors"))
    for kind in t.cast("list[str]", options.kinds):
        count = asyncio.run(measure(kind, options.browsers, options.restarts))
        slowest = f"{count.slowest:.2f} s"
        print(
            row.format(
                *(kind, count.joined, count.lost, count.calls, count.failed, slowest),
                count.errors or "",
            )
        )


if __name__ == "__main__":
    main()
