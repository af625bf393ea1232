"""Overloaded processes, and processes that overload them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import spawn_bound, stop_process

from .scripts import ROOT, environment

HERE = Path(__file__).parent

LIMIT = 120.0
"""Seconds for work that takes ten on an idle machine."""

STILL = 1.5
"""Seconds without a change after which nothing is moving any more. Changes take milliseconds."""


class Overloaded:
    """``overload_app.py`` in a process of its own; ``with Overloaded(url) as app:``."""

    def __init__(self, url: str, kind: str = "threads", **config: t.Any) -> None:
        self._arguments = [url, kind, json.dumps(config)]

    def __enter__(self) -> Overloaded:
        self._process = spawn_bound(
            [sys.executable, "-m", "tests.support.overload_app", *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env=environment(),
        )
        assert self._process.stdout is not None
        self.before = json.loads(self._process.stdout.readline())
        return self

    def __exit__(self, *exc_info: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            stop_process(self._process, 5)
        self._process.stdout.close()

    def state(self) -> dict[str, t.Any]:
        """Return its state, without using the router."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(b"?")
        self._process.stdin.flush()
        return t.cast("dict[str, t.Any]", json.loads(self._process.stdout.readline()))

    def still(self, name: str) -> dict[str, t.Any]:
        """Wait until a number is above 0 and no longer grows. Return the state then."""
        seen, since, limit = 0, time.monotonic(), time.monotonic() + LIMIT
        while True:
            state, now = self.state(), time.monotonic()
            assert now < limit, f"{name} still grows: {state}"
            if state[name] != seen:
                seen, since = state[name], now
            elif seen and now - since > STILL:
                return state
            time.sleep(0.05)

    def growth(self, state: dict[str, t.Any]) -> str:
        """Describe the growth of its memory, for people."""
        before, peak, now = self.before["rss"], state["peak"], state["rss"]
        return f"RSS {before:.0f} MB, at most {peak:.0f} MB (+{peak - before:.0f}), now {now:.0f}"


def crowd(url: str, procedure: str, count: int, open_at: int) -> dict[str, t.Any]:
    """Run ``overload_caller.py``."""
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tests.support.overload_caller",
            url,
            procedure,
            *map(str, (count, open_at)),
        ],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        timeout=LIMIT,
        check=True,
    )
    return t.cast("dict[str, t.Any]", json.loads(done.stdout.splitlines()[-1]))
