"""Part e: through a real Crossbar, and an HTTP view that makes one call."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
import typing as t
from pathlib import Path

from flask_wamp.crossbar import DevRouter, RouterError, find_crossbar, free_port
from flask_wamp.transports import TLSSettings, Transport, open_transport, parse_router_url

from . import contestants, machine
from .contestants import ASYNCIO, OURS, TRANSPORTS, TWISTED, XCONN
from .framing import CODECS
from .plan import Plan
from .results import Measured, Results
from .stand_in import ADD, CALL, ERROR, HELLO, RESULT, TIMEOUT, WELCOME

EVERYBODY = (OURS, ASYNCIO, TWISTED, XCONN)
IN_FLIGHT = (1, 64)


def measure(results: Results, plan: Plan) -> None:
    """Measure all transports, and a view in both kinds of gunicorn worker, with a router of our own."""
    if find_crossbar() is None:
        results.fail("part e", RouterError("no Crossbar: python -m flask_wamp.crossbar --build"))
        return
    urls = [f"ws://127.0.0.1:{free_port()}/ws", f"tcp://127.0.0.1:{free_port()}"]
    with DevRouter(urls, log=lambda line: None, log_level="error") as router:
        # The router, which is the limit, has our core for itself. This process moves to the client's core.
        os.sched_setaffinity(0, machine.THEIRS)
        try:
            _transports(results, plan, router)
            _http(results, plan, router.rawsocket_url)
        finally:
            os.sched_setaffinity(0, machine.OURS)


def _transports(results: Results, plan: Plan, router: DevRouter) -> None:
    assert router.pid is not None
    for transport in plan.transports:
        framing, serializer = TRANSPORTS[transport]
        url = router.url if framing == "ws" else router.rawsocket_url
        for who, turn in plan.turns((OURS, TWISTED) if plan.quick else EVERYBODY):
            results.say(f"  {transport}, {turn}")
            try:
                with contestants.run(who, url, serializer, "serve") as process:
                    _calls(results, plan, who.name, transport, url, process.pid, router.pid)
            except (OSError, EOFError, ValueError) as error:
                results.fail(f"{who.name}, {transport}, Crossbar", error)


def _calls(
    results: Results, plan: Plan, who: str, transport: str, url: str, pid: int, router_pid: int
) -> None:
    with Caller(url, TRANSPORTS[transport][1]) as caller:
        caller.wait_for_callee()
        for in_flight in IN_FLIGHT:
            setting = f"{transport}, {in_flight} in flight"
            cpu, router_cpu = machine.cpu(pid), machine.cpu_of_tree(router_pid)
            started = time.perf_counter()
            count = caller.keep_in_flight(in_flight, plan.seconds)
            wall = time.perf_counter() - started
            for what, unit, value in (
                ("calls", "/s", count / wall),
                ("callee's CPU per call", "us", (machine.cpu(pid) - cpu) / count * 1e6),
                ("router's CPU", "%", (machine.cpu_of_tree(router_pid) - router_cpu) / wall * 100),
            ):
                results.add(Measured("e", what, unit, setting), who, value)


class Caller:
    """Calls through the router at low cost, with our transport and plain lists as messages."""

    def __init__(self, url: str, serializer: str) -> None:
        self._codec = CODECS[serializer]
        self._request_id = 0
        self._transport: Transport = open_transport(
            parse_router_url(url),
            serializers=[serializer],
            max_message_size=2**24,
            timeout=TIMEOUT,
            tls=TLSSettings(),
        )
        self._transport.settimeout(time.monotonic() + 600)
        self._send([HELLO, "realm1", {"roles": {"caller": {}}}])
        if self._receive()[0][0] != WELCOME:
            raise ValueError("the router did not welcome the caller")

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._transport.close()

    def _send(self, *messages: t.Any) -> None:
        self._transport.send([self._codec.encode(each) for each in messages])

    def _receive(self) -> list[t.Any]:
        while not (received := self._transport.receive()):
            if received is None:
                raise EOFError("the router has closed the connection")
        return [self._codec.decode(each) for each in received]

    def _call(self) -> list[t.Any]:
        self._request_id += 1
        return [CALL, self._request_id, {}, ADD, [1, 2]]

    def wait_for_callee(self) -> None:
        """Wait until the procedure is registered."""
        stop = time.monotonic() + TIMEOUT
        while time.monotonic() < stop:
            self._send(self._call())
            if self._receive()[0][0] == RESULT:
                return
            time.sleep(0.02)
        raise ValueError("the callee did not come")

    def keep_in_flight(self, in_flight: int, seconds: float) -> int:
        """Call again at each answer. Return the number of answers."""
        stop = time.perf_counter() + seconds
        self._send(*(self._call() for _ in range(in_flight)))
        count, left = 0, in_flight
        while left:
            answers = self._receive()
            if any(m[0] == ERROR for m in answers):
                raise ValueError(f"not a result: {answers[:1]}")
            count += len(answers)
            if time.perf_counter() < stop:
                self._send(*(self._call() for _ in answers))
            else:
                left -= len(answers)
        return count


# HTTP: the same view with and without a call.

_GUNICORN = ("-m", "gunicorn", "--workers=1", "--log-level=critical", "-k")
WORKERS = {"gthread": ("gthread", "--threads=8", "--keep-alive=60"), "gevent": ("gevent",)}


def _http(results: Results, plan: Plan, router_url: str) -> None:
    callee = contestants.run(OURS, router_url, "msgpack", "serve")
    with callee, Caller(router_url, "msgpack") as caller:
        caller.wait_for_callee()
        for n in range(1 if plan.quick else plan.rounds):
            for name, worker in WORKERS.items():
                results.say(f"  HTTP, round {n + 1}: {name}")
                try:
                    with _served(worker, router_url) as port:
                        for path, what in (("/plain", "view"), ("/call", "view with one call")):
                            took = _requests(port, path, max(plan.seconds, 0.3))
                            p50 = machine.percentile(took, 0.5)
                            results.add(Measured("e", f"{what}, p50", "us", name), OURS.name, p50)
                except (OSError, EOFError, ValueError, http.client.HTTPException) as error:
                    results.fail(f"HTTP, {name}", error)


@contextlib.contextmanager
def _served(worker: t.Sequence[str], router_url: str) -> t.Iterator[int]:
    port = free_port()
    command = [*_GUNICORN, *worker, f"--bind=127.0.0.1:{port}", "view:app"]
    path = str(Path(machine.CLIENTS))
    environ = {"PYTHONPATH": path, "BENCH_ROUTER_URL": router_url}
    with machine.running(command, **environ) as process:
        machine.wait_for_port(port, time.monotonic() + TIMEOUT)
        _requests(port, "/call", 0.2)
        yield port
        process.terminate()
        process.wait(TIMEOUT)


def _requests(port: int, path: str, seconds: float) -> list[float]:
    """Microseconds of each request, one at a time over one connection."""
    took = []
    stop = time.perf_counter() + seconds
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    with contextlib.closing(connection):
        while time.perf_counter() < stop or not took:
            started = time.perf_counter()
            connection.request("GET", path)
            response = connection.getresponse()
            body = response.read()
            if response.status != 200:
                raise ValueError(f"HTTP {response.status}: {body[:100]!r}")
            took.append((time.perf_counter() - started) * 1e6)
    return took
