"""What a test with ``wamp.test_client()`` costs: an app, join, one call, stop; in milliseconds.

``python benchmarks/testclient.py``. With Flask-SocketIO installed, its test client does the same beside it:
an app, connect, one event that is acknowledged, disconnect. The tests alternate.
"""

from __future__ import annotations

import importlib.util
import statistics
import time
import typing as t

from flask import Flask

from flask_wamp import FlaskWAMP

TESTS, WARM_UP = 300, 20


def ours() -> None:
    """One test of an app with one procedure."""
    app = Flask("app")
    app.testing = True
    wamp = FlaskWAMP(app)

    @wamp.callee("com.example.add")
    def add(a: int, b: int) -> int:
        return a + b

    with wamp.test_client() as peer:
        assert peer.call("com.example.add", 1, 2) == 3


def flask_socketio() -> None:
    """The same test with Flask-SocketIO."""
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


def main() -> None:
    """Print the median, the slowest in a hundred, and the CPU time, which other programs change less."""
    tests: list[t.Callable[[], None]] = [ours]
    if importlib.util.find_spec("flask_socketio") is not None:
        tests.append(flask_socketio)
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


if __name__ == "__main__":
    main()
