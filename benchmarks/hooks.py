"""The cost of hooks, middlewares and signals per call: microseconds of dispatch, without a network.

``python benchmarks/hooks.py``. The configurations take turns, and the best round of each counts.
"""

from __future__ import annotations

import time
import typing as t

from flask import Flask

from flask_wamp import FlaskWAMP, signals
from flask_wamp.middlewares import AccessLog, Timeout
from flask_wamp.protocol import messages
from flask_wamp.protocol.payload import plain

CALLS, ROUNDS = 2_000, 25

Dispatch = t.Callable[[], object]


class Work:
    """A running invocation without a caller."""

    uri = "com.example.add"
    message = messages.Invocation(1, 1, {}, [1, 2], {})
    received_at, deadline, canceled = time.time(), None, False
    plain = staticmethod(plain)

    def limit(self, seconds: float) -> None:
        """Nothing to do."""


def nothing(app: Flask, wamp: FlaskWAMP) -> None:
    """A handler with nothing around it."""


def hooks(app: Flask, wamp: FlaskWAMP) -> None:
    """One of each."""
    wamp.before_dispatch(lambda message: None)
    wamp.after_dispatch(lambda message, result: result)
    wamp.teardown_dispatch(lambda message, error: None)


def middleware(app: Flask, wamp: FlaskWAMP) -> None:
    """One that does nothing."""
    wamp.middleware(lambda next_, message: next_(message))


def shipped(app: Flask, wamp: FlaskWAMP) -> None:
    """Timeout, and AccessLog, although no logging handler shows its records."""
    wamp.middleware(AccessLog())
    wamp.middleware(Timeout(10))


def receivers(app: Flask, wamp: FlaskWAMP) -> None:
    """One for each of the two signals of a call."""
    for signal in (signals.dispatch_started, signals.dispatch_finished):
        signal.connect(receive, app)


def receive(sender: Flask, **payload: object) -> None:
    """Do nothing."""


def make(setup: t.Callable[[Flask, FlaskWAMP], None]) -> Dispatch:
    """Return a function that dispatches one call in its own app."""
    app = Flask(setup.__name__)
    wamp = FlaskWAMP(app)
    wamp.callee("com.example.add")(add)
    setup(app, wamp)
    (declaration,) = wamp.client.declarations
    return lambda: declaration.handler(Work())  # type: ignore[arg-type]


def add(a: int, b: int) -> int:
    """The handler."""
    return a + b


def seconds(dispatch: Dispatch) -> float:
    """CPU seconds of a round."""
    begun = time.process_time()
    for _ in range(CALLS):
        dispatch()
    return time.process_time() - begun


def main() -> None:
    """Measure, and print a table."""
    lines = {f.__name__: make(f) for f in (nothing, hooks, middleware, shipped)}
    best = dict.fromkeys([*lines, "again", "receivers"], float("inf"))
    lines["again"] = make(nothing)  # the noise: the same configuration measured twice
    for _ in range(ROUNDS):
        for name, dispatch in lines.items():
            best[name] = min(best[name], seconds(dispatch))
    line = make(receivers)  # last: signals belong to all apps of a process
    best["receivers"] = min(seconds(line) for _ in range(ROUNDS))
    for name, took in best.items():
        each = took / CALLS * 1e6
        print(f"{name:12} {each:6.2f} us  {each - best['nothing'] / CALLS * 1e6:+6.2f}")


if __name__ == "__main__":
    main()
