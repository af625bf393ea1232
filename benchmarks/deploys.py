"""Browsers while an app is deployed: ``python -m benchmarks.deploys [NAME] [--browsers 1000] [--deploys 5]``.

Starts each kind of server with an embedded router: two workers of gunicorn, or one of ``flask wamp worker``.
Browsers join, and each calls a procedure twice a second. Meanwhile all workers are replaced, several times.
Prints how many workers were replaced, how many WebSockets were lost, how many calls failed, and how long the
slowest call took. With NAME, only servers with this in their name are measured. All of it is on this machine.
Run it in an environment that can run the tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from tests.endpoint.conftest import stop_router
from tests.support.browser_crowd import BrowserCrowd, many_open_files
from tests.support.deploys import SERVERS, deployed

PAUSE = 0.5
"""Seconds between two calls of one browser."""

ROW = "{:<35}{:>9}{:>9}{:>6}{:>9}{:>7}{:>9}{:>7}"


def measure(name: str, browsers: int, deploys: int) -> BrowserCrowd:
    """Deploy to one kind of server this many times while browsers call."""
    with tempfile.TemporaryDirectory(prefix="wamp-") as folder:
        socket = Path(folder, "a.sock")
        try:
            with deployed(name, socket, Path(folder, "log")) as server:
                began = time.monotonic()
                with BrowserCrowd(server.url, browsers, pause=PAUSE) as crowd:
                    for _ in range(deploys):
                        server.deploy(crowd)
                took = time.monotonic() - began
        finally:
            stop_router(socket)
    numbers = (server.replaced(crowd), crowd.joined, crowd.lost, crowd.calls, crowd.failed)
    print(ROW.format(name, *numbers, f"{crowd.slowest:.2f} s", f"{took:.0f} s"), flush=True)
    for error, count in crowd.errors.items():
        print(f"    {count} x {error}", flush=True)
    return crowd


def main() -> int:
    """Print a row for each server. The exit code is 1 if a WebSocket was lost or a call failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="only servers with this in their name")
    parser.add_argument("--browsers", type=int, default=1000)
    parser.add_argument("--deploys", type=int, default=5)
    options = parser.parse_args()
    columns = ("replaced", "browsers", "lost", "calls", "failed", "slowest", "took")
    print(ROW.format("server", *columns), flush=True)
    faults = 0
    with many_open_files(options.browsers):
        for name in SERVERS:
            if options.name in name:
                crowd = measure(name, options.browsers, options.deploys)
                faults += crowd.lost + crowd.failed
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
