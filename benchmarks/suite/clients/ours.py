"""Flask-WAMP with all features: Flask app, app context, validation, a before and an after hook.

``ours.py URL SERIALIZER ROLE COUNT [gevent]``.
"""

from __future__ import annotations

import sys

if "gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import threading
import time
import typing as t

from flask import Flask

from flask_wamp import FlaskWAMP

URL, SERIALIZER, ROLE, COUNT = *sys.argv[1:4], int(sys.argv[4])


def make() -> tuple[Flask, FlaskWAMP]:
    """An app, its extension, and the hooks."""
    app = Flask(__name__)
    app.config.update(
        WAMP_ROUTER_URL=URL, WAMP_SERIALIZERS=[SERIALIZER], WAMP_URI_PREFIX="com.bench"
    )
    app.config.update(WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)

    @wamp.before_dispatch
    def before(message: t.Any) -> None:
        """Answer nothing."""

    @wamp.after_dispatch
    def after(message: t.Any, result: t.Any) -> t.Any:
        return result

    return app, wamp


def serve(wamp: FlaskWAMP) -> None:
    """Procedures and a subscriber, as the other clients have them."""

    @wamp.callee
    def add(a: int, b: int) -> int:
        return a + b

    @wamp.callee
    def echo(value: str) -> str:
        return value

    @wamp.callee
    def busy(ms: float) -> float:
        time.sleep(ms / 1000)
        return ms

    had = 0

    @wamp.subscriber
    def topic(n: int, mark: bool) -> None:
        nonlocal had
        had = had + 1 if had == n else -1
        if mark:
            wamp.client.publish("com.bench.done", had)
            had = 0

    @wamp.subscriber
    def slow(n: int) -> None:
        time.sleep(0.001)


def in_threads(work: t.Callable[[], object]) -> None:
    """Repeat a request without a pause in this many threads."""

    def forever() -> None:
        while True:
            work()

    for _ in range(COUNT):
        threading.Thread(target=forever, daemon=True).start()


def main() -> None:
    """Play the role until killed."""
    if ROLE == "idle":
        everybody = [make() for _ in range(COUNT)]
        for _, wamp in everybody:
            wamp.start()
        time.sleep(3600)
    app, wamp = make()
    if ROLE == "serve":
        serve(wamp)
    elif ROLE == "join":
        for n in range(COUNT):
            wamp.callee(f"com.bench.p{n}")(lambda a, b: a + b)
    elif ROLE == "subscribe":
        for n in range(COUNT):
            wamp.subscriber(f"com.bench.t{n}")(lambda n: None)
    wamp.start()
    client = wamp.client
    client.wait_until_joined(30)
    acknowledged = client.with_options(acknowledge=True)
    works = {
        "call": lambda: client.call("com.bench.add", 1, 2),
        "publish": lambda: client.publish("com.bench.topic", 1),
        "publish-acknowledged": lambda: acknowledged.publish("com.bench.topic", 1),
    }
    if ROLE in works:
        in_threads(works[ROLE])
    time.sleep(3600)


if __name__ == "__main__":
    main()
