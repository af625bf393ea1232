"""Call a procedure many times at once and another one meanwhile; say as JSON how all of them ended.

``overload_caller.py URL PROCEDURE COUNT OPEN_AT``: the gate is opened when so many were refused.
"""

from __future__ import annotations

import collections
import json
import statistics
import sys
import threading
import time
import typing as t

from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.client import Client

PATIENCE = 100.0


class Times:
    """Calls ``com.example.quick`` again and again, and notes how long that takes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.taken: list[float] = []
        self.errors: list[str] = []

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            started = time.monotonic()
            try:
                self._client.call("com.example.quick", 1)
            except ApplicationError as error:
                self.errors.append(error.uri)
            else:
                self.taken.append(time.monotonic() - started)

    def __enter__(self) -> Times:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def facts(self) -> dict[str, t.Any]:
        taken = sorted(self.taken) or [float("inf")]
        return {
            "served": len(self.taken),
            "errors": dict(collections.Counter(self.errors)),
            "p50": statistics.median(taken),
            "longest": taken[-1],
        }


def overload(client: Client, other: Client, procedure: str, count: int, open_at: int) -> t.Any:
    """Call, wait until so many were refused, open the gate, wait for the rest."""
    ends: collections.Counter[str] = collections.Counter()
    started = time.monotonic()
    with Times(other) as quick:
        futures = [client.submit(procedure, number) for number in range(count)]
        sent = time.monotonic() - started
        while _refused(futures) < open_at and time.monotonic() < started + PATIENCE:
            time.sleep(0.05)
        refused_after = time.monotonic() - started
        before = quick.facts
        other.call("com.example.open")
        for number, future in enumerate(futures):
            error = future.exception(PATIENCE)
            ends[_end(error, number, future)] += 1
    return {
        "ends": ends,
        "seconds": {"sent": sent, "refused": refused_after, "all": time.monotonic() - started},
        "quick": before,
    }


def _refused(futures: list[t.Any]) -> int:
    return sum(f.done() and f.exception() is not None for f in futures)


def _end(error: BaseException | None, number: int, future: t.Any) -> str:
    if error is not None:
        return error.uri if isinstance(error, ApplicationError) else type(error).__name__
    value = future.result()
    return "result" if value == number or isinstance(value, str) else "wrong result"


def client(url: str, name: str) -> FlaskWAMP:
    app = Flask(name)
    app.config.update(WAMP_ROUTER_URL=url, WAMP_CALL_TIMEOUT=PATIENCE)
    wamp = FlaskWAMP(app)
    wamp.start()
    wamp.client.wait_until_joined(10)
    return wamp


def main(url: str, procedure: str, count: str, open_at: str) -> None:
    crowd, other = client(url, "crowd"), client(url, "other")
    facts = overload(crowd.client, other.client, procedure, int(count), int(open_at))
    crowd.stop()
    other.stop()
    print(json.dumps(facts))


if __name__ == "__main__":
    main(*sys.argv[1:])
