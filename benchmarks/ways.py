"""Count the steps of the four paths: how often each goes from one module into another.

``python -m benchmarks.ways`` prints the number of steps of each path. ``--show`` also prints the steps, and
``--json`` prints only the numbers. ``docs/architecture.rst`` describes the paths:

incoming
    One call to a procedure of this process: from the bytes of INVOCATION to the bytes of YIELD.
outgoing
    One call that this process makes: from ``client.call()`` to its result.
start
    From ``wamp.start()`` until everything is registered.
stop
    From ``wamp.stop()`` to its end.

A step is a call that leads from one module of ``flask_wamp`` into another, in any thread. Returns are not
counted, and neither are calls inside of other packages. The router at the other end is that of the tests,
behind a real port, and its threads do not count. It does not announce the session meta API for procedures.
Otherwise, the start would have some 30 more steps, to find other applications that share the procedure.
Calls are counted after a few others have taken the same path, and the median is shown.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
import types
import typing as t

from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.router.features import ROLES
from tests.support.socket_router import SocketRouter

PACKAGE = "flask_wamp."

#: A feature that the router does not announce.
LACKING = "session_meta_api"

#: Seconds of silence after which a path has ended.
SILENCE = 0.05

#: Calls before those that are counted, and calls that are counted: the median is shown.
WARM_UP, COUNTED = 3, 9


class Step(t.NamedTuple):
    """A call from one module into another."""

    thread: str
    origin: str
    target: str
    function: str

    def __str__(self) -> str:
        return f"  {self.thread:22} {self.origin:27} -> {self.target:27} {self.function}"


class Counter:
    """Record the steps of all threads of the client."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._counting = False
        self._last = 0.0

    def __enter__(self) -> Counter:
        threading.setprofile(self._profile)
        sys.setprofile(self._profile)
        return self

    def __exit__(self, *exc_info: object) -> None:
        threading.setprofile(None)
        sys.setprofile(None)

    def count(self, way: t.Callable[[], object]) -> list[Step]:
        """Run a path, wait until nothing more happens, and return its steps."""
        self._steps, self._last = [], time.monotonic()
        self._counting = True
        way()
        while time.monotonic() - self._last < SILENCE:
            time.sleep(SILENCE / 10)
        self._counting = False
        return self._steps

    def _profile(self, frame: types.FrameType, event: str, arg: object) -> None:
        if event != "call" or not self._counting:
            return
        target, thread = _module_of(frame), threading.current_thread().name
        if target is None or not thread.startswith(("wamp-", "MainThread")):
            return
        origin = _caller_of(frame)
        if origin != target:
            self._last = time.monotonic()
            self._steps.append(Step(thread, origin, target, frame.f_code.co_name))


def _module_of(frame: types.FrameType) -> str | None:
    """Return the module of the package that a frame runs in. None if it runs in another package."""
    name = frame.f_globals.get("__name__", "")
    return name[len(PACKAGE) :] if name.startswith(PACKAGE) else None


def _caller_of(frame: types.FrameType) -> str:
    """The module of the package that a frame was called from, even if other packages are between."""
    outer = frame.f_back
    while outer is not None:
        module = _module_of(outer)
        if module is not None:
            return module
        outer = outer.f_back
    return "(outside)"


def elsewhere(function: t.Callable[..., object], *args: object) -> None:
    """Call a function in a thread whose steps do not count."""
    thread = threading.Thread(target=function, args=args, name="caller")
    thread.start()
    thread.join()


def make_app(url: str) -> tuple[Flask, FlaskWAMP]:
    """An app with a procedure and a topic."""
    app = Flask("ways")
    app.config.update(WAMP_ROUTER_URL=url, WAMP_URI_PREFIX="com.example", WAMP_HEARTBEAT=1000.0)
    wamp = FlaskWAMP(app)

    @wamp.callee
    def add(a: int, b: int) -> int:
        return a + b

    @wamp.subscriber
    def news(text: str) -> None:
        pass

    return app, wamp


def go() -> dict[str, list[Step]]:
    """Run the four paths, and return their steps."""
    del ROLES["dealer"]["features"][LACKING]
    ways: dict[str, list[Step]] = {}

    def start() -> None:
        wamp.start()
        wamp.client.wait_until_joined(10.0)

    def usual(way: t.Callable[[], object]) -> list[Step]:
        for _ in range(WARM_UP):
            counter.count(way)
        tries = sorted((counter.count(way) for _ in range(COUNTED)), key=len)
        return tries[COUNTED // 2]

    with SocketRouter() as router, Counter() as counter:
        app, wamp = make_app(router.url)
        router.register("com.elsewhere.add", lambda a, b: a + b)
        ways["start"] = counter.count(start)
        ways["incoming"] = usual(lambda: elsewhere(router.call, "com.example.add", 1, 2))
        client = wamp.client
        with app.app_context():
            ways["outgoing"] = usual(lambda: client.call("com.elsewhere.add", 1, 2))
        ways["stop"] = counter.count(wamp.stop)
    return ways


def main() -> None:
    """Print the ways."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--show", action="store_true", help="print each step")
    parser.add_argument("--json", action="store_true", help="print the numbers alone")
    options = parser.parse_args()
    ways = go()
    if options.json:
        print(json.dumps({name: len(steps) for name, steps in ways.items()}))
        return
    for name, steps in ways.items():
        modules = {step.target for step in steps}
        print(f"{name}: {len(steps)} steps through {len(modules)} modules")
        if options.show:
            print(*steps, sep="\n")


if __name__ == "__main__":
    main()
