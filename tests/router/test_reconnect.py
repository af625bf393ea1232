"""A router that freezes, ends or starts late: no thread waits forever, and nothing leaks."""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import signal
import socket
import tempfile
import threading
import time
import types
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP, NotJoined, SessionLost
from flask_wamp.crossbar import DevRouter, free_port
from flask_wamp.peer.attempts import delay
from tests.conftest import eventually, our_threads
from tests.support.built_in import BuiltInRouter
from tests.support.nodes import Node
from tests.support.peers import PATIENCE

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
MakeApp = t.Callable[..., Flask]

HEARTBEAT = 2.0

SOON = 5.0
"""Seconds within which everything ends here. Other timeouts would take 60."""

TRANSPORTS = ("ws", "wss", "tcp", "tls", "unix")


class Frozen:
    """A router that can be frozen, and how to reach it."""

    def __init__(self, url: str, router: DevRouter, **config: t.Any) -> None:
        self.url = url
        self.config = config
        self._pids = workers(router)

    @contextlib.contextmanager
    def frozen(self) -> t.Iterator[None]:
        """Suspend its worker, while its sockets stay open."""
        for pid in self._pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in self._pids:
                os.kill(pid, signal.SIGCONT)


def workers(router: DevRouter) -> list[int]:
    """The processes of a router's workers: children of Crossbar's controller, or the built-in router."""
    if isinstance(router, BuiltInRouter):
        assert router.pid is not None
        return [router.pid]
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == router.pid:
                found.append(int(path.parent.name))
    assert found, "the router has no worker"
    return found


@pytest.fixture(params=TRANSPORTS)
def router(request: pytest.FixtureRequest, wamp_router: DevRouter) -> Frozen:
    """A router, by each transport."""
    if request.param in ("wss", "tls"):
        node: Node = request.getfixturevalue("node")
        url = node.wss_url if request.param == "wss" else node.tls_url
        return Frozen(url, node.routers[0], WAMP_TLS_CA=node.certificate.certificate)
    urls = {"ws": wamp_router.url, "tcp": wamp_router.rawsocket_url, "unix": wamp_router.unix_url}
    return Frozen(urls[request.param], wamp_router)


class Asking:
    """Threads that send requests, and the outcomes."""

    def __init__(self) -> None:
        self.errors: dict[str, Exception | None] = {}
        self._threads: list[threading.Thread] = []

    def begin(self, name: str, ask: t.Callable[[], object]) -> None:
        """Send a request in a separate thread."""

        def run() -> None:
            try:
                ask()
            except Exception as error:
                self.errors[name] = error
            else:
                self.errors[name] = None

        self._threads.append(threading.Thread(target=run, name=name))
        self._threads[-1].start()

    def end(self, timeout: float) -> None:
        """Wait until all have ended."""
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        waiting = [thread.name for thread in self._threads if thread.is_alive()]
        assert not waiting, f"still waiting after {timeout} s: {waiting}"


def flood(wamp: FlaskWAMP) -> None:
    """Publish until a publication is refused: more than the buffers of the sockets and the client hold."""
    data = b"x" * 500_000
    for _ in range(200):
        wamp.client.publish("com.shop.flood", data)
    raise AssertionError("100 MB went to a router that reads nothing")


def test_a_frozen_router_leaves_no_call_waiting(join: Join, router: Frozen) -> None:
    config = {"WAMP_HEARTBEAT": HEARTBEAT, "WAMP_CONNECT_TIMEOUT": 0.3, "WAMP_CALL_TIMEOUT": 60}
    _, wamp = join(router.url, **config, **router.config)
    wamp.callee("com.example.here")(lambda: "here")
    client, asking, sending = wamp.client, Asking(), Asking()
    with router.frozen():
        started = time.monotonic()
        asking.begin("call", lambda: client.call("com.shop.slow"))
        asking.begin("submit", client.submit("com.shop.slow").result)
        acknowledged = client.with_options(acknowledge=True)
        asking.begin("publish", lambda: acknowledged.publish("com.shop.news"))
        asking.begin("register", lambda: client.register(print, "com.example.new"))
        asking.begin("subscribe", lambda: client.subscribe(print, "com.example.new"))
        for number in range(4):
            sending.begin(f"flood {number}", lambda: flood(wamp))
        asking.end(SOON)
        sending.end(SOON)
        print(f"all let go after {time.monotonic() - started:.2f} s of {HEARTBEAT} s")
        assert {name: type(error) for name, error in asking.errors.items()} == dict.fromkeys(
            ("call", "submit", "publish", "register", "subscribe"), SessionLost
        )
        assert all("WAMP_HEARTBEAT" in str(error) for error in asking.errors.values())
        assert {type(error) for error in sending.errors.values()} == {NotJoined}
    wamp.client.wait_until_joined(PATIENCE)
    assert wamp.client.call("com.example.here") == "here"


def test_stopping_does_not_wait_for_a_frozen_router(join: Join, router: Frozen) -> None:
    config = {"WAMP_HEARTBEAT": 60, "WAMP_CALL_TIMEOUT": 60}
    config |= {"WAMP_LINGER": 0.2, "WAMP_DRAIN_TIMEOUT": 0.5}
    _, wamp = join(router.url, **config, **router.config)
    for number in range(10):
        wamp.callee(f"com.example.here{number}")(lambda: "here")
    wamp.subscriber("com.example.one", delivery="one")(print)
    asking, sending = Asking(), Asking()
    with router.frozen():
        asking.begin("call", lambda: wamp.client.call("com.shop.slow"))
        for number in range(4):
            sending.begin(f"flood {number}", lambda: flood(wamp))
        connection = wamp.client.peer.connection
        eventually(
            lambda: connection._unsent > 4 * 1024 * 1024
        )  # the buffers are full, so they wait
        started = time.monotonic()
        wamp.stop()
        took = time.monotonic() - started
        print(f"stopped after {took:.2f} s, of which 0.7 s are for a successor and what is in hand")
        assert took < SOON
        asking.end(SOON)
        sending.end(SOON)
    assert isinstance(asking.errors["call"], SessionLost)
    assert {type(error) for error in sending.errors.values()} == {NotJoined}


def test_the_client_joins_as_soon_as_the_port_opens(make_app: MakeApp) -> None:
    port = free_port()
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=f"tcp://127.0.0.1:{port}"))
    wamp.start()
    with pytest.raises(NotJoined, match="Connection refused"):
        wamp.client.wait_until_joined(3.0)  # long enough for the longest pause
    with socket.create_server(("127.0.0.1", port)) as listener:
        opened = time.monotonic()
        listener.settimeout(PATIENCE)
        listener.accept()[0].close()
        lag = time.monotonic() - opened
    print(f"there {lag:.2f} s after the port was open")
    assert lag < 3.0  # 1 s, WAMP_RECONNECT_MAX, on a machine that has nothing else to do


def test_many_processes_reconnect_at_different_times() -> None:
    settings: t.Any = types.SimpleNamespace(reconnect_min=0.05, reconnect_max=1.0)
    for attempts in (0, 1, 4, 5, 100, 100_000):
        longest = min(1.0, 0.05 * 2**attempts) if attempts < 100 else 1.0
        delays = sorted(delay(settings, attempts) for _ in range(500))
        assert longest / 2 <= delays[0]
        assert delays[-1] <= longest
        assert delays[-1] - delays[0] > 0.4 * longest, "they come in one heap"
        halves = sum(each < longest * 0.75 for each in delays)
        assert 150 < halves < 350, "most come early, or late"


# Restarts under load.


END: dict[str, t.Callable[[DevRouter], None]] = {
    "SIGTERM to the controller": lambda router: os.kill(router.pid or 0, signal.SIGTERM),
    "SIGKILL to the controller": lambda router: os.kill(router.pid or 0, signal.SIGKILL),
    "SIGKILL to the worker": lambda router: os.kill(workers(router)[0], signal.SIGKILL),
}

RESTARTS = 10

CALLERS = 4


class Load:
    """Threads that call without a pause while a ``with`` block runs, and the outcome of each call."""

    def __init__(self, wamps: t.Sequence[FlaskWAMP]) -> None:
        self.begun = 0
        self.outcomes: collections.Counter[str] = collections.Counter()
        self._stop = threading.Event()
        self._asking = Asking()
        self._wamps = wamps

    def __enter__(self) -> Load:
        pairs = itertools.cycle(
            itertools.product(self._wamps, ("com.example.ws", "com.example.tcp"))
        )
        for number, (wamp, uri) in enumerate(itertools.islice(pairs, CALLERS)):
            self._asking.begin(f"caller {number}", lambda w=wamp, u=uri: self._call(w, u))
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._asking.end(30)
        assert set(self._asking.errors.values()) == {None}

    def _call(self, wamp: FlaskWAMP, uri: str) -> None:
        while not self._stop.is_set():
            self.begun += 1
            try:
                result = wamp.client.call(uri, 20)
                assert result == 21
            except ApplicationError as error:
                self.outcomes[error.uri] += 1
            except (SessionLost, NotJoined, CallTimeout) as error:
                self.outcomes[type(error).__name__] += 1
            else:
                self.outcomes["result"] += 1
                self._stop.wait(0.002)
                continue
            self._stop.wait(0.05)


def resources() -> tuple[list[str], int]:
    """This process's threads, but for workers, and how many files it has open."""
    threads = sorted(name for name in our_threads() if "worker" not in name)
    return threads, len(os.listdir("/proc/self/fd"))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_router_restarted_under_load(
    join: Join,
    router_class: type[DevRouter],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with tempfile.TemporaryDirectory(prefix="wamp-") as folder:
        urls = [
            f"ws://127.0.0.1:{free_port()}/ws",
            f"tcp://127.0.0.1:{free_port()}",
            f"unix://{folder}/router.sock",
        ]
        with router_class(urls, log=tmp_path / "router.log") as router:
            wamps = [join(url, WAMP_HEARTBEAT=5)[1] for url in urls]
            for name, wamp in zip(("ws", "tcp", "unix"), wamps, strict=True):
                wamp.callee(f"com.example.{name}")(lambda number: number + 1)
            before = resources()
            with Load(wamps) as load:
                for how in itertools.islice(itertools.cycle(END), RESTARTS):
                    _restart(router, how, wamps)
            assert sum(load.outcomes.values()) == load.begun
            print(f"{load.begun} calls: {dict(load.outcomes)}")
            print(f"before: {before}, after: {resources()}")
            eventually(lambda: resources() == before)
            assert wamps[0].health()["reconnects"] >= RESTARTS
            for wamp in wamps:
                wamp.stop()
    assert not [record for record in caplog.records if record.exc_info]


def _restart(router: DevRouter, how: str, wamps: list[FlaskWAMP]) -> None:
    sessions = {wamp.client.session_id for wamp in wamps}
    assert len(sessions) == len(wamps)
    ended = time.monotonic()
    END[how](router)
    eventually(lambda: not any(wamp.client.joined for wamp in wamps), PATIENCE)
    noticed = time.monotonic() - ended
    router.wait(PATIENCE)
    router.kill()  # what is left of it
    router.start()
    router.wait_until_ready()
    ready = time.monotonic()
    for wamp in wamps:
        wamp.client.wait_until_joined(PATIENCE)
        assert wamp.client.session_id not in sessions
    print(f"{how}: noticed after {noticed:.3f} s, back {time.monotonic() - ready:.2f} s after it")
    for name, wamp in itertools.product(("ws", "tcp", "unix"), wamps):
        assert wamp.client.call(f"com.example.{name}", 1) == 2
