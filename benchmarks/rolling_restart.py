"""Restart every kind of server five times under load, and count failed calls. There should be none.

::

    python benchmarks/rolling_restart.py            # all servers, about two minutes
    python benchmarks/rolling_restart.py gevent     # the servers with "gevent" in their name
    python benchmarks/rolling_restart.py --restarts 20

It starts Crossbar.io, three workers of each server, and 20 threads in this process that call without a pause.
Half of them call a procedure that takes 1 ms, and half one that takes 500 ms. Build Crossbar.io first, with
``python -m flask_wamp.crossbar --build``. Run this in an environment that can run the tests.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.crossbar import DevRouter, free_port
from tests.support.rolling import (
    PROCEDURES,
    SERVERS,
    Callers,
    restart,
    serve,
    use_up,
    wait_until_served,
)

ROW = "{:<27}{:>9}{:>9}{:>9}{:>9}{:>11}"


def measure(server: str, wamp: FlaskWAMP, url: str, log: Path, restarts: int) -> Callers:
    """Restart one server this many times while it is called."""
    client = wamp.client
    with serve(server, url, log) as served:
        wait_until_served(client)
        started = time.monotonic()
        with Callers(client) as callers:
            for _ in range(restarts):
                if "max-requests" in server:
                    use_up(served, client)
                else:
                    restart(served, client, signal.SIGHUP)
        took = time.monotonic() - started
    fast, slow = (callers.calls[procedure] for procedure in PROCEDURES)
    failed = sum(callers.failures.values())
    print(ROW.format(server, restarts, fast, slow, failed, f"{took:.1f} s"), flush=True)
    for failure, count in callers.failures.items():
        print(f"    {count} x {failure}", flush=True)
    return callers


def main() -> int:
    """Print a row for each server. The exit code is 1 if a call has failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="", help="only servers with this in their name")
    parser.add_argument("--restarts", type=int, default=5)
    arguments = parser.parse_args()
    failed = 0
    with (
        tempfile.TemporaryDirectory() as folder,
        DevRouter([f"tcp://127.0.0.1:{free_port()}"], log=Path(folder) / "crossbar.log") as router,
    ):
        app = Flask("callers")
        app.config.update(WAMP_ROUTER_URL=router.rawsocket_url)
        wamp = FlaskWAMP(app)
        wamp.start()
        wamp.client.wait_until_joined(30)
        print(ROW.format("server", "restarts", "1 ms", "500 ms", "failed", "took"), flush=True)
        for server in SERVERS:
            if arguments.name in server:
                log = Path(folder) / "server.log"
                callers = measure(
                    server,
                    wamp,
                    router.rawsocket_url,
                    log,
                    arguments.restarts,
                )
                failed += sum(callers.failures.values())
        wamp.stop()
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
