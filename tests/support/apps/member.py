"""One process of an app with jobs and shared subscribers.

It reports to stdout, one JSON object a line. SIGTERM stops it in order. ``members.Member`` controls it.
"""

from __future__ import annotations

import sys

if "--gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import faulthandler
import json
import logging
import os
import signal
import threading
import time
import typing as t

from flask import Flask, g

from flask_wamp import FlaskWAMP, event
from flask_wamp.coordination.lease import Lease
from flask_wamp.coordination.leases import Leases


def say(what: str, **line: t.Any) -> None:
    """Write a line at once and in one piece. All processes of a machine have the same monotonic clock."""
    facts = {"what": what, "pid": os.getpid(), "at": time.monotonic(), **line}
    os.write(1, json.dumps(facts).encode() + b"\n")


def make(options: argparse.Namespace) -> FlaskWAMP:
    app = Flask("member")
    app.config.update(
        WAMP_ROUTER_URL=options.url,
        WAMP_URI_PREFIX=options.prefix,
        WAMP_RECONNECT_MAX=0.2,
        **json.loads(options.config),
    )
    wamp = FlaskWAMP(app)
    for topic in options.topic:

        @wamp.subscriber(topic, delivery="one", match=options.match)
        def handle(number: int = -1) -> None:
            said = {"topic": event.topic, "publication": event.publication}
            say("begun", number=number, **said)
            threading.Event().wait(options.seconds)
            say("handled", number=number, publisher=event.publisher, **said)

    @wamp.callee(f".publish{os.getpid()}")
    def publish(topic: str, number: int) -> int | None:
        return g.wampy.with_options(acknowledge=True).publish(topic, number)

    if options.job is not None:

        def job() -> None:
            say("ran", session=g.wampy.session_id)

        wamp.schedule.every(options.job).seconds.do(job)
    if options.lease:
        wamp.client.add_listener(lambda peer: _Watcher(peer, options.lease))
    return wamp


class _Watcher:
    """Requests a lease, and reports its changes."""

    def __init__(self, peer: t.Any, uri: str) -> None:
        self.lease: Lease = Leases.of(peer).add(
            uri,
            on_acquired=lambda: say("acquired"),
            on_lost=lambda: say("lost"),
        )

    def joined(self, connection: t.Any) -> None:
        pass

    def lost(self) -> None:
        pass

    def leave(self, deadline: float) -> None:
        self.lease.release()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--topic", action="append", default=[])
    parser.add_argument("--match", default="exact")
    parser.add_argument("--seconds", type=float, default=0.0, help="how long an event takes")
    parser.add_argument("--job", type=float, help="run a job every so many seconds")
    parser.add_argument("--lease", help="want a lease of this URI")
    parser.add_argument("--config", default="{}")
    parser.add_argument("--gevent", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    faulthandler.register(signal.SIGUSR1)  # prints the stacks of a hanging process
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *args: stop.set())
    wamp = make(options)
    wamp.start()
    wamp.client.wait_until_joined(10)
    say("joined", session=wamp.client.session_id)
    while not stop.wait(1.0):  # checked regularly: waiting C code does not always notice a signal
        pass
    wamp.stop()
    say("stopped")


if __name__ == "__main__":
    main()
