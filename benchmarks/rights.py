"""The cost of a right per call, in microseconds: ``python -m benchmarks.rights``.

The first lines are about the core of the embedded router, without I/O: the duration of a call without rights,
and how much longer a call with rights takes. The last lines are about an anonymous client of a real embedded
router: how long one call at a time takes, from CALL to RESULT.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
import typing as t
from pathlib import Path

from flask import Flask

from benchmarks.router_core import ENCODE, Client
from flask_wamp import FlaskWAMP
from flask_wamp.protocol.identity import Identity
from flask_wamp.protocol.rights import Policy, Right, as_json
from flask_wamp.router import JoinRequest, Router
from flask_wamp.router.app_api import AppAPI

ROUNDS = 40
ADD = "com.example.add"

#: Other rights of a policy, which do not allow the call.
OTHERS = [Right(f"role{n % 7}", "call", f"com.example.other.{n}.") for n in range(200)]

POLICIES: dict[str, t.Sequence[Right]] = {
    "a right for the URI": [Right("member", "call", ADD)],
    "a right for a prefix, among 200 others": [
        *OTHERS,
        Right("member", "call", "com.example.", "prefix"),
    ],
    "a right beside one with {authid}, among 200 others": [
        *OTHERS,
        Right("*", "call", "com.example.{authid}.add"),
        Right("member", "call", ADD),
    ],
}


class Core:
    """A router whose app has a policy, a member who calls, and a callee of the app."""

    def __init__(self, policy: t.Sequence[Right] | None) -> None:
        api = AppAPI(time.monotonic, time.time)
        api.configure("", as_json(Policy(policy or ())))
        names = itertools.chain([Identity("app", "backend", authprovider="memory")], self.members())
        self.router = Router(
            authenticator=lambda request: self.identity(request, names),
            authorizer=api.authorize if policy is not None else None,
            clock=time.monotonic,
            wall_clock=time.time_ns,
        )
        self.callee = Client(self.router, "msgpack")
        self.callee.send(64, 1, {}, ADD)
        self.caller = Client(self.router, "msgpack")
        self.last = itertools.count(1)

    @staticmethod
    def members() -> t.Iterator[Identity]:
        for number in itertools.count():
            yield Identity(f"member{number}", "member")

    @staticmethod
    def identity(request: JoinRequest, names: t.Iterator[Identity]) -> Identity:
        return next(names)

    def round(self, count: int) -> float:
        """Call this many times. Return the mean duration of a call in seconds."""
        encode = ENCODE["msgpack"]
        numbers = [next(self.last) for _ in range(count)]
        calls = [encode([48, number, {}, ADD, [1, 2]]) for number in numbers]
        yields = [encode([70, number, {}, [3]]) for number in numbers]
        self.callee.received.clear()
        self.caller.received.clear()
        receive_call = self.caller.session.receive
        receive_yield = self.callee.session.receive
        begin = time.perf_counter()
        for asked, answered in zip(calls, yields, strict=True):
            receive_call(asked)
            receive_yield(answered)
        taken = time.perf_counter() - begin
        assert len(self.caller.received) == len(self.callee.received) == count
        return taken / count


def in_the_core(count: int) -> None:
    cores = {"none": Core(None), **{name: Core(policy) for name, policy in POLICIES.items()}}
    taken: dict[str, list[float]] = {name: [] for name in cores}
    for _ in range(ROUNDS):
        for name, core in cores.items():  # in turn, so that a busy machine slows all of them
            taken[name].append(core.round(count) * 1e6)
    # The best round of each, because other programs on the machine only add time.
    print(f"{'a call in the core, without rights':56} {min(taken['none']):8.2f} us")
    for name in POLICIES:
        print(f"{'  ' + name:56} {min(taken[name]) - min(taken['none']):+8.2f} us")


def make_app(url: str, listen: str, authorizer: bool | None) -> Flask:
    """Return an app whose router listens at a port, too.

    :param authorizer: The ``cache`` of its authorizer, or None for no authorizer.
    """
    app = Flask("rights")
    app.config.update(WAMP_ROUTER_URL=url, WAMP_ROUTER_LISTEN=listen)
    app.config["WAMP_URI_PREFIX"] = "com.example"
    wamp = FlaskWAMP(app)

    @wamp.callee(allow="anonymous")
    def add(a: int, b: int) -> int:
        return a + b

    if authorizer is not None:
        wamp.authorizer(cache=authorizer)(lambda identity, action, uri, options: None)
    return app


def through_a_router(count: int) -> None:
    from flask_wamp.crossbar import free_port

    for name, authorizer in (("a right", None), ("an authorizer", False), ("cache=True", True)):
        with tempfile.TemporaryDirectory(prefix="wamp-") as folder:
            Path(folder).chmod(0o700)
            port = free_port()
            app = make_app(f"embedded:{folder}/a.sock", f"tcp://127.0.0.1:{port}", authorizer)
            with app.app_context():
                serving = app.extensions["wamp"].client
                serving.start()
                serving.wait_until_joined(30)
                what = f"a call through the router, with {name}"
                print(f"{what:56} {one_by_one(port, count):8.0f} us")
                serving.stop()


def one_by_one(port: int, count: int) -> float:
    """Return the median duration of a call of an anonymous client, in microseconds."""
    app = Flask("caller")
    app.config.update(WAMP_ROUTER_URL=f"tcp://127.0.0.1:{port}", WAMP_ENDPOINT=None)
    wamp = FlaskWAMP(app)
    taken = []
    with wamp.client as client:
        for _ in range(count):
            begin = time.perf_counter()
            client.call(ADD, 1, 2)
            taken.append(time.perf_counter() - begin)
    return statistics.median(taken) * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2_000, help="calls in a round")
    count = parser.parse_args().count
    in_the_core(count)
    through_a_router(count)


if __name__ == "__main__":
    main()
