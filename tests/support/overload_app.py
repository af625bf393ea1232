"""An app that is asked for too much, in a process of its own: so its memory means something.

``overload_app.py URL [threads|gevent] [JSON of configuration]``; it ends when stdin does.
"""

from __future__ import annotations

import sys

if sys.argv[2:3] == ["gevent"]:
    from gevent import monkey

    monkey.patch_all()

import datetime as dt
import json
import select
import threading
import time
import typing as t
from pathlib import Path

from flask import Flask, g

from flask_wamp import FlaskWAMP, invocation
from flask_wamp.signals import event_dropped

CALLED = 10.0
"""Seconds to join; ten times that for a burst on a busy machine."""


def memory() -> dict[str, float]:
    """This process's memory in MB: now, and at most so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {name: int(values[key].split()[0]) / 1024 for name, key in _KEYS.items()}


_KEYS = {"rss": "VmRSS", "peak": "VmHWM"}


def declare(wamp: FlaskWAMP, gate: threading.Event) -> None:
    """What the tests ask for."""
    seen: dict[str, t.Any] = {"news": 0, "dropped": 0, "signals": 0}
    waited = [0.0]

    def on_dropped(sender: t.Any, *, topic: str, count: int, **_: t.Any) -> None:
        seen.update(dropped=count, signals=seen["signals"] + 1)

    event_dropped.connect(on_dropped, weak=False)

    @wamp.callee(".slow", concurrency=8)
    def slow(number: int) -> int:
        gate.wait(10 * CALLED)
        return number

    @wamp.callee(".open")
    def open_() -> None:
        gate.set()

    @wamp.callee(".quick")
    def quick(number: int) -> int:
        age = dt.datetime.now(dt.timezone.utc) - invocation.received_at
        waited[0] = max(waited[0], age.total_seconds())
        return number

    @wamp.callee(".big", concurrency=64)
    def big(number: int) -> str:
        return "x" * 4 * 1024 * 1024

    @wamp.subscriber(".news")
    def news(number: int) -> None:
        gate.wait(10 * CALLED)
        seen["news"] += 1

    @wamp.callee(".flood")
    def flood(count: int, size: int) -> float:
        """Publish as fast as it goes, from a handler."""
        started, text = time.monotonic(), "x" * size
        for _ in range(count):
            g.wampy.publish("com.example.flooded", text)
        return time.monotonic() - started

    @wamp.callee(".burst")
    def burst(threads: int, count: int, how: str) -> dict[str, float]:
        """Call ``.echo`` so many times at once."""
        client, right = g.wampy.with_options(timeout=10 * CALLED), []

        def submit() -> None:
            futures = [client.submit("com.example.echo", n) for n in range(count)]
            right.append(sum(f.result() == n for n, f in enumerate(futures)))

        def call() -> None:
            right.append(sum(client.call("com.example.echo", n) == n for n in range(count)))

        started = time.monotonic()
        if threads == 1:
            submit()
        else:
            wanted = {"submit": submit, "call": call}[how]
            crowd = [threading.Thread(target=wanted) for _ in range(threads)]
            for thread in crowd:
                thread.start()
            for thread in crowd:
                thread.join()
        return {"right": sum(right), "seconds": time.monotonic() - started}

    @wamp.callee(".state")
    def state() -> dict[str, t.Any]:
        health = wamp.health()
        return {
            **memory(),
            **seen,
            "dropped_in_all": sum(health["topics"]["dropped"].values()),
            "quick_waited": waited[0],
            "session_id": health["session_id"],
        }


def main(url: str, config: dict[str, t.Any]) -> None:
    app = Flask("overload")
    app.config.update(WAMP_ROUTER_URL=url, WAMP_URI_PREFIX="com.example", **config)
    wamp = FlaskWAMP(app)
    declare(wamp, threading.Event())
    with app.app_context():
        wamp.start()
        wamp.client.wait_until_joined(CALLED)
        print(json.dumps(memory()), flush=True)
        select.select([sys.stdin], [], [])  # lets greenlets run, as reading would not
        wamp.stop()


if __name__ == "__main__":
    main(sys.argv[1], json.loads((*sys.argv, "{}")[3] if len(sys.argv) > 3 else "{}"))
