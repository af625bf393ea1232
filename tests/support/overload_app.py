"""An overloaded app, in a separate process so that its memory can be measured.

``overload_app.py URL [threads|gevent] [JSON of configuration]``. For each byte of stdin, it prints the
facts of :class:`State`, even while the router does not read. It ends when stdin ends.
"""

from __future__ import annotations

import sys

if sys.argv[2:3] == ["gevent"]:
    from gevent import monkey

    monkey.patch_all()

import collections
import json
import os
import select
import threading
import time
import typing as t
from pathlib import Path

from flask import Flask, g

from flask_wamp import FlaskWAMP
from flask_wamp.signals import event_dropped

CALLED = 10.0
"""Seconds to join; ten times that for a burst on a busy machine."""


def memory() -> dict[str, float]:
    """Return the memory of this process in MB: the present size, and the largest so far."""
    lines = Path("/proc/self/status").read_text().splitlines()
    values = dict(line.split(":", 1) for line in lines)
    return {name: int(values[key].split()[0]) / 1024 for name, key in _KEYS.items()}


_KEYS = {"rss": "VmRSS", "peak": "VmHWM"}


class State:
    """Counters of what has happened so far."""

    def __init__(self, wamp: FlaskWAMP) -> None:
        self._wamp = wamp
        self.gate = threading.Event()
        self.news = self.ticks = self.dropped = self.signals = 0
        self.published: collections.Counter[str] = collections.Counter()
        """The number of publications by writer, because threads must not share a counter."""
        self.results: list[int] = []
        event_dropped.connect(self._on_dropped, weak=False)

    def _on_dropped(self, sender: t.Any, *, topic: str, count: int, **_: t.Any) -> None:
        self.dropped = count
        self.signals += 1

    @property
    def unsent(self) -> int:
        """The number of waiting bytes, without those that are being sent."""
        peer = self._wamp.client.peer
        connection = peer and peer.connection
        return sum(map(len, connection.session.outgoing)) if connection else 0

    def facts(self) -> dict[str, t.Any]:
        """All of it."""
        health = self._wamp.health()
        return {
            **memory(),
            "news": self.news,
            "ticks": self.ticks,
            "dropped": self.dropped,
            "signals": self.signals,
            "dropped_in_all": sum(health["topics"]["dropped"].values()),
            "published": sum(self.published.values()),
            "results": len(self.results),
            "unsent": self.unsent,
            "session_id": health["session_id"],
        }


def declare_slow(wamp: FlaskWAMP, state: State) -> None:
    """Procedures that wait until ``.open`` is called, and procedures that do not."""

    @wamp.callee(".slow", concurrency=8)
    def slow(number: int) -> int:
        state.gate.wait(10 * CALLED)
        return number

    @wamp.callee(".open")
    def open_() -> None:
        state.gate.set()

    @wamp.subscriber(".news")
    def news(number: int) -> None:
        state.gate.wait(10 * CALLED)
        state.news += 1

    @wamp.callee(".quick")
    def quick(number: int) -> int:
        return number

    @wamp.subscriber(".tick")
    def tick() -> None:
        state.ticks += 1

    wamp.callee(".state")(state.facts)


def declare_large(wamp: FlaskWAMP, state: State, app: Flask) -> None:
    """Procedures and views that send more than the router reads."""

    @wamp.callee(".big", concurrency=64)
    def big(number: int) -> str:
        return "x" * 4 * 1024 * 1024

    @wamp.callee(".result")
    def result(number: int, size: int) -> str:
        state.results.append(number)
        return "x" * size

    def publish(writer: str, count: int, size: int) -> float:
        """Publish as fast as possible."""
        started, text = time.monotonic(), "x" * size
        for number in range(count):
            g.wampy.publish("com.example.flooded", writer, number, text)
            state.published[writer] += 1
        return time.monotonic() - started

    wamp.callee(".flood")(publish)

    @app.post("/flood/<writer>/<int:count>/<int:size>")
    def view(writer: str, count: int, size: int) -> dict[str, float]:
        return {"seconds": publish(writer, count, size)}

    @wamp.callee(".flood_from_views")
    def flood_from_views(writers: list[str], count: int, size: int) -> list[int]:
        """Publish as fast as possible in this many views at once."""
        statuses: list[int] = []

        def request(writer: str) -> None:
            response = app.test_client().post(f"/flood/{writer}/{count}/{size}")
            statuses.append(response.status_code)

        _at_once([lambda writer=writer: request(writer) for writer in writers])
        return statuses


def declare_burst(wamp: FlaskWAMP) -> None:
    """Procedures that make many calls."""

    @wamp.callee(".burst")
    def burst(threads: int, count: int, how: str) -> dict[str, float]:
        """Call ``.echo`` this many times at once."""
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
            _at_once([{"submit": submit, "call": call}[how]] * threads)
        return {"right": sum(right), "seconds": time.monotonic() - started}


def _at_once(functions: t.Sequence[t.Callable[[], None]]) -> None:
    threads = [threading.Thread(target=function) for function in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def main(url: str, config: dict[str, t.Any]) -> None:
    app = Flask("overload")
    app.config.update(WAMP_ROUTER_URL=url, WAMP_URI_PREFIX="com.example", **config)
    wamp = FlaskWAMP(app)
    state = State(wamp)
    declare_slow(wamp, state)
    declare_large(wamp, state, app)
    declare_burst(wamp)
    with app.app_context():
        wamp.start()
        wamp.client.wait_until_joined(CALLED)
        print(json.dumps(memory()), flush=True)
        # Reading would not let greenlets run.
        while select.select([sys.stdin], [], []) and os.read(sys.stdin.fileno(), 1):
            print(json.dumps(state.facts()), flush=True)
        wamp.stop()


if __name__ == "__main__":
    main(sys.argv[1], json.loads("".join(sys.argv[3:]) or "{}"))
