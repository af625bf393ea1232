"""Call a procedure many times at once. Print the outcomes of all calls as JSON.

``overload_caller.py URL PROCEDURE COUNT OPEN_AT``: it opens the gate when ``OPEN_AT`` calls were refused.
"""

from __future__ import annotations

import collections
import json
import sys
import threading
import time
import typing as t

from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.client.client import Client

PATIENCE = 100.0


class Refusals:
    """Counts the calls that ended with an error, and sets an event at a certain number."""

    def __init__(self, enough: int) -> None:
        self._open = enough
        self.enough = threading.Event()
        if not enough:
            self.enough.set()

    def note(self, future: t.Any) -> None:
        if future.exception() is not None:
            self._open -= 1
            if self._open == 0:
                self.enough.set()


def overload(client: Client, other: Client, procedure: str, count: int, open_at: int) -> t.Any:
    """Call, wait until this many were refused, open the gate, and wait for the rest."""
    ends: collections.Counter[str] = collections.Counter()
    refusals = Refusals(open_at)
    started = time.monotonic()
    futures = []
    for number in range(count):
        futures.append(client.submit(procedure, number))
        futures[-1].add_done_callback(refusals.note)
    sent = time.monotonic() - started
    refusals.enough.wait(PATIENCE)
    refused_after = time.monotonic() - started
    other.call("com.example.open")
    for number, future in enumerate(futures):
        error = future.exception(PATIENCE)
        ends[_end(error, number, future)] += 1
    seconds = {"sent": sent, "refused": refused_after, "all": time.monotonic() - started}
    return {"ends": ends, "seconds": seconds}


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
