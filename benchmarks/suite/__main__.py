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
application context, validation, one before and one after hook. The other clients do none of this. Clients
take turns, one round after another, and each line is the median of its rounds. *spread* is the difference
between the lowest and the highest round, which shows the noise of the machine. *ours is x* is the value of
ours divided by that of the other client: the median of the ratios of all rounds. For a cost, less than 1 is
better for ours, and for a rate, more than 1. CPU time is that of the client's whole process.
``tox -e bench -- --write`` writes this page, and with ``--only h`` one part of it."""

#: Remarks for readers about a part.
ABOUT = {
    "h": """\
Here "ours" is the built-in router, and the others are servers in its place. The caller and the callee use
Flask-WAMP. Each is a process of its own, and shares the cores with the router. For events, one client
publishes and 100 clients have subscribed. They all use WebSocket with JSON, and run in one process on a core
of its own. The server of Flask-SocketIO sends what the one client says to all others. *Per core* is per
second of CPU time of the server's processes. The *bare loop* only receives and sends, so it shows what the
system itself takes. Of three starts in a round, the quickest counts. Other programs make the elapsed times
longer, but hardly change the CPU times. Idle WebSockets have joined at the endpoint of an app in two
workers of gunicorn.""",
    "i": """\
A test creates an app, lets it and a test client join, calls one procedure, and stops both. A test of
Flask-SocketIO connects, sends an event that is acknowledged, and disconnects. It has neither a router nor
threads. The tests take turns in one process, on one core. Other programs slow down threads most, so this was
run with priority over them: ``chrt -r 10 python -m benchmarks.suite --only i``.""",
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
            why = f"Measured separately, while other programs caused a load of {load:.0f}"
            about = f"{why}: {_environment(plan)}"
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
        noise = "Noise: ours divided by ours, which was measured a second time as if it were another client:"
        sections.append(f"{noise}\n\n{lines}")
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
