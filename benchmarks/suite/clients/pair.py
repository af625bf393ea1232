"""Caller or callee, with nothing but a Flask app around it. ``pair.py ROLE URL SERIALIZER SECONDS``.

The caller reads lines with the number of calls to keep in flight, and prints the measurements.
"""

from __future__ import annotations

import collections
import json
import statistics
import sys
import time

from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.client.client import Client

ROLE, URL, SERIALIZER, SECONDS = *sys.argv[1:4], float(sys.argv[4])
PROCEDURE = "com.bench.add"


def one_by_one(client: Client) -> dict[str, float]:
    """Call repeatedly. Return the median in microseconds."""
    took = []
    stop = time.perf_counter() + SECONDS
    while (begun := time.perf_counter()) < stop:
        client.call(PROCEDURE, 1, 2)
        took.append((time.perf_counter() - begun) * 1e6)
    return {"p50": statistics.median(took)}


def side_by_side(client: Client, in_flight: int) -> dict[str, float]:
    """Keep calls in flight. Return the number of answers, and the seconds."""
    waiting = collections.deque(client.submit(PROCEDURE, 1, 2) for _ in range(in_flight))
    calls, begun = 0, time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        waiting.popleft().result()
        waiting.append(client.submit(PROCEDURE, 1, 2))
        calls += 1
    took = time.perf_counter() - begun
    for future in waiting:
        future.result()
    return {"calls": calls, "seconds": took}


def main() -> None:
    """Play the role until standard input ends."""
    app = Flask(__name__)
    app.config.update(WAMP_ROUTER_URL=URL, WAMP_SERIALIZERS=[SERIALIZER], WAMP_ENDPOINT=None)
    app.config.update(WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)
    if ROLE == "callee":
        wamp.callee(PROCEDURE)(lambda a, b: a + b)
    wamp.start()
    with app.app_context():
        wamp.client.wait_until_joined(20)
        print("ready", flush=True)
        for line in sys.stdin:
            count = int(line)
            found = one_by_one(wamp.client) if count == 1 else side_by_side(wamp.client, count)
            print(json.dumps(found), flush=True)
        wamp.stop()


if __name__ == "__main__":
    main()
