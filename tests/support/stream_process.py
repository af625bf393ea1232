"""One end of a stream of large results, in a separate process so that its memory can be measured.

``stream_process.py URL produce`` serves ``com.flood.chunks`` until stdin ends. At each line of stdin, it
prints how much its memory has grown. ``stream_process.py URL consume`` takes one result, and then none
until it is cut off. It prints how much its memory has grown by then. ``gevent`` may follow.
"""

from __future__ import annotations

import sys

if sys.argv[3:4] == ["gevent"]:
    from gevent import monkey

    monkey.patch_all()

import json
import select
import threading
import typing as t
from pathlib import Path

from flask import Flask

from flask_wamp import FlaskWAMP, TooSlow

CHUNK = 1_000_000
LIMIT = 120.0


def memory(key: str) -> float:
    """Return the memory of this process in MB: ``VmRSS`` is the present size, and ``VmHWM`` the largest."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(dict(line.split(":", 1) for line in lines)[key].split()[0]) / 1024


def say(**facts: t.Any) -> None:
    print(json.dumps(facts), flush=True)


def produce(wamp: FlaskWAMP) -> None:
    """Serve an endless stream, as fast as possible."""
    yielded = [0]
    closed = threading.Event()

    @wamp.callee("com.flood.chunks")
    def chunks() -> t.Iterator[bytes]:
        try:
            while True:
                yielded[0] += 1
                yield bytes(CHUNK)
        finally:
            closed.set()

    wamp.client.wait_until_joined()
    before = memory("VmRSS")
    say(ready=True)
    while select.select([sys.stdin], [], []) and sys.stdin.readline():  # never waits in the read
        ended = closed.wait(LIMIT)
        say(closed=ended, yielded=yielded[0], grown=memory("VmHWM") - before)


def consume(wamp: FlaskWAMP) -> None:
    """Take one result, wait until the buffer is full, and take the rest."""
    before = memory("VmRSS")
    stream = wamp.client.stream("com.flood.chunks")
    assert len(next(stream)) == CHUNK
    pause = threading.Event()
    while not stream._ticket.buffer.ended:
        pause.wait(0.05)
    grown, taken = memory("VmHWM") - before, 1
    try:
        for item in stream:
            assert len(item) == CHUNK
            taken += 1
    except TooSlow as error:
        say(error=str(error), grown=grown, taken=taken)


def main(url: str, role: str) -> None:
    app = Flask("streams")
    app.config.update(WAMP_ROUTER_URL=url, WAMP_CALL_TIMEOUT=LIMIT)
    wamp = FlaskWAMP(app)
    wamp.start()
    wamp.client.wait_until_joined(LIMIT)
    {"produce": produce, "consume": consume}[role](wamp)
    wamp.stop()


if __name__ == "__main__":
    main(*sys.argv[1:3])
