"""The cost of a test with ``wamp.test_client()``, in milliseconds.

``python -m benchmarks.testclient``. With Flask-SocketIO installed, its test client does the same beside it:
an app, connect, one event that is acknowledged, disconnect. The tests alternate. ``python -m benchmarks.suite
--only i --write`` puts the same into docs/benchmarks.rst.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import typing as t

from flask import Flask

from flask_wamp import FlaskWAMP

TESTS, WARM_UP = 300, 20


def ours(inline: bool = False) -> None:
    """Make an app with one procedure, join, call it, and stop."""
    _app, wamp = make()
    _call(wamp, inline)


def ours_inline() -> None:
    """Do the same with ``inline=True``."""
    ours(inline=True)


def make() -> tuple[Flask, FlaskWAMP]:
    """Create the app. The caller must keep it, because its extension alone does not."""
    app = Flask("app")
    app.testing = True
    wamp = FlaskWAMP(app)

    @wamp.callee("com.example.add")
    def add(a: int, b: int) -> int:
        return a + b

    return app, wamp


def _call(wamp: FlaskWAMP, inline: bool) -> None:
    with wamp.test_client(inline=inline) as peer:
        assert peer.call("com.example.add", 1, 2) == 3


def with_one_app(count: int, inline: bool = False) -> float:
    """Join, call and stop with the same app. Return the seconds of this many tests."""
    _app, wamp = make()
    _call(wamp, inline)
    begun = time.perf_counter()
    for _ in range(count):
        _call(wamp, inline)
    return time.perf_counter() - begun


def flask_socketio() -> None:
    """Do the same as :func:`ours` with Flask-SocketIO."""
    import flask_socketio as sio

    app = Flask("app")
    app.testing = True
    socketio = sio.SocketIO(app)

    @socketio.on("add")
    def add(a: int, b: int) -> int:
        return a + b

    client = socketio.test_client(app)
    assert client.emit("add", 1, 2, callback=True) == 3
    client.disconnect()


def flask_alone() -> None:
    """Make a Flask app and do nothing with it."""
    Flask("app").testing = True


def contestants() -> list[t.Callable[[], None]]:
    """Return the tests that can be run here."""
    tests: list[t.Callable[[], None]] = [ours, ours_inline, flask_alone]
    if importlib.util.find_spec("flask_socketio") is not None:
        tests.append(flask_socketio)
    return tests


def main() -> None:
    """Print the median, the slowest in a hundred, and the CPU time, which other programs change less."""
    tests = contestants()
    taken: dict[str, list[float]] = {test.__name__: [] for test in tests}
    cpu = dict.fromkeys(taken, 0.0)
    for number in range(WARM_UP + TESTS):
        for test in tests:
            began, cpu_before = time.perf_counter(), time.process_time()
            test()
            if number >= WARM_UP:
                taken[test.__name__].append((time.perf_counter() - began) * 1000)
                cpu[test.__name__] += (time.process_time() - cpu_before) * 1000
    for name, times in taken.items():
        slow = statistics.quantiles(times, n=100)[98]
        median, used = statistics.median(times), cpu[name] / TESTS
        print(f"{name:16} median {median:6.2f} ms   p99 {slow:6.2f} ms   CPU {used:5.2f} ms")
    for inline in (False, True):
        print(f"1,000 tests of one app, inline={inline}: {with_one_app(1000, inline):.2f} s")


if __name__ == "__main__":
    main()
