"""``python -m benchmarks.suite [--quick] [--only a,d] [--rounds N] [--write]``."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
import typing as t
from importlib.metadata import PackageNotFoundError, version

from . import callees, callers, crossbar, footprint, growth, machine, page, routers, targets, tests
from .plan import QUICK, Plan
from .results import HEADER, TARGETS_HEADER, Results, table

PARTS = {
    "a": "As a callee: CPU of the process and calls, with a stand-in for the router",
    "b": "As a callee: one call at a time",
    "c": "As a subscriber: events",
    "d": "As a caller and publisher",
    "e": "Through Crossbar.io",
    "f": "Growth, and fairness",
    "g": "Footprint",
    "h": "Routers, and servers that send events to browsers",
    "i": "Test clients",
}
PAGE = machine.ROOT / "docs" / "benchmarks.rst"
TITLE = "Benchmarks\n==========\n\n"
PACKAGES = (
    *("flask-wamp", "autobahn", "twisted", "xconn", "msgspec", "websockets", "gevent"),
    *("Flask-SocketIO", "gevent-websocket"),
)

HOW = """\
This page compares Flask-WAMP ("ours") with other clients. Ours runs in a Flask application, with
application context, validation, one before and one after hook. The others are bare. Clients take turns, one
round after another, and each line is the median of its rounds. *spread* is the noise of the machine, from the
lowest to the highest round. *ours is x* is ours divided by that client, as the median of the rounds' ratios.
Below 1 is better for a cost, and above 1 for a rate. CPU time is that of the client's whole process.
``tox -e bench -- --write`` writes this page, and with ``--only h`` one part of it."""

#: What a reader has to know about a part.
ABOUT = {
    "h": """\
Here "ours" is the built-in router, and the others are servers in its place. Caller and callee are a process
each, of Flask-WAMP, and share the cores with the router. Of the events, one client publishes and 100 have
subscribed, all over WebSocket with JSON and in one process on a core of its own; Flask-SocketIO sends what
that client says to all others. *Per core* is per second of CPU time of the server's processes. With one
event at a time, three quarters of ours is spent in the system's ``send()``, which all servers need. Of three
starts in a round, the quickest counts. Other programs make the elapsed times longer, and the CPU times
hardly. Idle WebSockets have joined at the endpoint of an app in two workers of gunicorn.""",
    "i": """\
A test makes an app, joins it and a test client, calls one procedure, and stops both. That of Flask-SocketIO
connects, sends an event that is acknowledged, and disconnects, with neither a router nor threads. The tests
take turns in one process, on one core. Other programs slow threads down most, so this was run with priority
over them: ``chrt -r 10 python -m benchmarks.suite --only i``.""",
}


def main() -> None:
    """Measure, and print the tables."""
    options = _options()
    plan = QUICK if options.quick else Plan()
    if options.rounds:
        plan = plan._replace(rounds=options.rounds)
    only = options.only.replace(",", "")
    load = os.getloadavg()[0]
    os.sched_setaffinity(0, machine.OURS)
    begun = time.perf_counter()
    results = Results(say=lambda line: print(line, file=sys.stderr, flush=True))
    for part, measure in _measures(only).items():
        results.say(f"part {part}")
        measure(results, plan)
    targets.derive(results)
    intro, sections = _intro(results, plan), _sections(results)
    print(page.render(intro, sections))
    results.say(f"took {time.perf_counter() - begun:.0f} s")
    if options.write:
        _write(intro, sections, plan, load, everything=set(only) == set(PARTS))
        results.say(f"wrote {PAGE.relative_to(machine.ROOT)}")


def _write(intro: str, sections: dict[str, str], plan: Plan, load: float, everything: bool) -> None:
    if everything:
        PAGE.write_text(f"{TITLE}{page.render(intro, sections)}")
        return
    for title in PARTS.values():
        if title in sections:
            about = f"Measured on its own, at a load of {load:.0f} by others: {_environment(plan)}"
            sections[title] = f"{about}\n\n{sections[title]}"
    old = PAGE.read_text().removeprefix(TITLE)
    PAGE.write_text(f"{TITLE}{page.merged(old, sections, [*PARTS.values()])}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suite", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds: under 2 minutes")
    parser.add_argument("--only", default="".join(PARTS), help="parts, as in a,d", metavar="PARTS")
    parser.add_argument("--rounds", type=int, help="how often each takes its turn (5)")
    parser.add_argument(
        "--write", action="store_true", help="write docs/benchmarks.rst, or parts of it"
    )
    options = parser.parse_args()
    unknown = set(options.only) - set(PARTS) - {","}
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}: parts are {', '.join(PARTS)}")
    return options


def _measures(only: str) -> dict[str, t.Callable[[Results, Plan], None]]:
    measures: dict[str, t.Callable[[Results, Plan], None]] = {}
    first = "".join(part for part in "abc" if part in only)
    if first:
        measures[first] = lambda results, plan: callees.measure(results, plan, first)
    others = {"d": callers, "e": crossbar, "f": growth, "g": footprint, "h": routers, "i": tests}
    measures.update((part, room.measure) for part, room in others.items() if part in only)
    return measures


def _intro(results: Results, plan: Plan) -> str:
    sections = [HOW, _environment(plan)]
    again = targets.noise(results)
    if again:
        lines = "\n".join(f"-   {line}" for line in again)
        sections.append(f"Noise: ours divided by ours, measured as if it were another:\n\n{lines}")
    return "\n\n".join(sections)


def _sections(results: Results) -> dict[str, str]:
    sections = {}
    reached = results.target_rows(targets.TARGETS)
    if reached:
        sections[page.TARGETS] = table(TARGETS_HEADER, reached)
    for part, title in PARTS.items():
        rows = results.rows(part)
        if rows:
            sections[title] = "\n\n".join([*filter(None, [ABOUT.get(part)]), table(HEADER, rows)])
    if results.failures:
        lines = "\n".join(f"-   {line}" for line in dict.fromkeys(results.failures))
        sections[page.NOT_MEASURED] = lines
    return sections


def _environment(plan: Plan) -> str:
    versions = []
    for name in PACKAGES:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"no {name}")
    cores = len(machine.OURS | machine.THEIRS)
    return (
        f"{plan.rounds} rounds of {plan.seconds:g} s on {cores} cores ({platform.machine()}, "
        f"Python {platform.python_version()}): {', '.join(versions)}."
    )


if __name__ == "__main__":
    main()
