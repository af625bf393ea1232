"""Part h: the built-in router, other routers, and Flask-SocketIO for events to browsers."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import typing as t

from . import crowd, idle, machine, starting
from .plan import Plan
from .results import Measured, Results
from .servers import EVERYBODY, XCONN, Running, Server, wait_for_line

FORMATS = {
    "unix+msgpack": ("unix", "msgpack"),
    "RawSocket+msgpack": ("tcp", "msgpack"),
    "ws+json": ("ws", "json"),
}
IN_FLIGHT = 64
SUBSCRIBERS = 100
PUBLICATIONS = (1, 10)


def calls(transport: str) -> Measured:
    """The number of calls per second."""
    return Measured("h", "calls", "/s", f"{transport}, {IN_FLIGHT} in flight")


def calls_per_core(transport: str) -> Measured:
    """The number of calls per second of the router's CPU time."""
    return calls(transport)._replace(what="calls per core of the router")


def latency(transport: str) -> Measured:
    """One call at a time."""
    return Measured("h", "one call, p50", "us", transport)


def events(in_flight: int) -> Measured:
    """The number of delivered events per second."""
    setting = f"{SUBSCRIBERS} WebSockets, {in_flight} published at once"
    return Measured("h", "events", "/s", setting)


def events_per_core(in_flight: int) -> Measured:
    """The number of events per second of the server's CPU time."""
    return events(in_flight)._replace(what="events per core of the server")


def measure(results: Results, plan: Plan) -> None:
    """Measure everything, round by round. All servers run meanwhile, and the unused ones are idle."""
    os.sched_setaffinity(0, machine.OURS | machine.THEIRS)
    try:
        with contextlib.ExitStack() as stack:
            running = _start(results, stack)
            for n in range(plan.rounds):
                for server, where in running.items():
                    results.say(f"  round {n + 1}: {server.name}")
                    _measure(results, plan, server, where)
        starting.measure(results, plan)
        idle.measure(results, plan)
    finally:
        os.sched_setaffinity(0, machine.OURS)


def _start(results: Results, stack: contextlib.ExitStack) -> dict[Server, Running]:
    running = {}
    for server in EVERYBODY:
        try:
            running[server] = stack.enter_context(server.start())
        except (OSError, EOFError, ValueError, RuntimeError) as error:
            results.fail(f"{server.name}, start", error)
    return running


def _measure(results: Results, plan: Plan, server: Server, running: Running) -> None:
    for transport, (scheme, serializer) in FORMATS.items():
        if server.speaks_wamp and scheme in server.schemes:
            with _failures(results, f"{server.name}, {transport}"):
                _calls(results, plan, server, running, transport, serializer)
    if server is not XCONN:  # whose events get lost
        with _failures(results, f"{server.name}, events"):
            _events(results, plan, server, running)


@contextlib.contextmanager
def _failures(results: Results, what: str) -> t.Iterator[None]:
    try:
        yield
    except (OSError, EOFError, ValueError) as error:
        results.fail(what, error)


# Calls: our caller and callee, and the router, which share the cores.


def _calls(
    results: Results, plan: Plan, server: Server, running: Running, transport: str, serializer: str
) -> None:
    url = running.urls[FORMATS[transport][0]]
    with _peer("callee", url, serializer, plan), _peer("caller", url, serializer, plan) as caller:
        _ask(caller, IN_FLIGHT)  # to warm up
        before = machine.cpu_of_tree(running.pid)
        many = _ask(caller, IN_FLIGHT)
        cpu = machine.cpu_of_tree(running.pid) - before
        results.add(calls(transport), server.name, many["calls"] / many["seconds"])
        results.add(calls_per_core(transport), server.name, many["calls"] / cpu)
        results.add(latency(transport), server.name, _ask(caller, 1)["p50"])


@contextlib.contextmanager
def _peer(role: str, url: str, serializer: str, plan: Plan) -> t.Iterator[subprocess.Popen[bytes]]:
    program = str(machine.CLIENTS / "pair.py")
    command = [program, role, url, serializer, str(plan.seconds * 2)]
    with machine.running(command, pin=False, stdin=subprocess.PIPE) as process:
        wait_for_line(process, b"ready")
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(30)


def _ask(caller: subprocess.Popen[bytes], in_flight: int) -> dict[str, float]:
    assert caller.stdin is not None and caller.stdout is not None
    caller.stdin.write(b"%d\n" % in_flight)
    caller.stdin.flush()
    return t.cast("dict[str, float]", json.loads(caller.stdout.readline()))


# Events: this process is the publisher and all subscribers, on a core of its own.


def _events(results: Results, plan: Plan, server: Server, running: Running) -> None:
    dialect = crowd.WAMP if server.speaks_wamp else crowd.SOCKETIO
    _pin(running.pid, machine.THEIRS)
    os.sched_setaffinity(0, machine.OURS)
    try:
        with crowd.Crowd(running.port, dialect, SUBSCRIBERS) as browsers:
            browsers.keep_in_flight(PUBLICATIONS[-1], plan.seconds / 2)  # to warm up
            for in_flight in PUBLICATIONS:
                before = machine.cpu_of_tree(running.pid)
                count, wall = browsers.keep_in_flight(in_flight, plan.seconds * 2)
                cpu = machine.cpu_of_tree(running.pid) - before
                results.add(events(in_flight), server.name, count / wall)
                results.add(events_per_core(in_flight), server.name, count / cpu)
    finally:
        os.sched_setaffinity(0, machine.OURS | machine.THEIRS)
        _pin(running.pid, machine.OURS | machine.THEIRS)


def _pin(pid: int, cores: set[int]) -> None:
    """Keep a process and its children, all of their threads, on these cores."""
    for each in machine.tree(pid):
        for thread in machine.threads(each):
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(thread, cores)
