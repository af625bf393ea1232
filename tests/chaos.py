"""Soak and chaos: random calls, publications and faults; says what must not have happened.

``python -m tests.chaos --seconds 600``; ``--seed`` runs the same faults and payloads again, though not
with the same timing; ``--gevent`` makes greenlets of all threads. Exits with 1 after a violation.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "--gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import secrets
import tempfile
from pathlib import Path

from flask_wamp.crossbar import DevRouter, free_port
from tests.support.built_in import BuiltInRouter
from tests.support.chaos.soak import Soak

ROUTERS: dict[str, type[DevRouter]] = {"crossbar": DevRouter, "embedded": BuiltInRouter}


def main() -> int:
    """Run on a router of its own, print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--callers", type=int, default=3, help="of each of the three members")
    parser.add_argument(
        "--pause", type=float, default=0.05, help="seconds between two calls of one"
    )
    parser.add_argument("--router", choices=ROUTERS, default="crossbar")
    parser.add_argument("--gevent", action="store_true")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    urls = [f"ws://127.0.0.1:{free_port()}/ws", f"tcp://127.0.0.1:{free_port()}"]
    with (
        tempfile.TemporaryDirectory() as folder,
        ROUTERS[options.router](urls, log=Path(folder, "router.log")) as router,
    ):
        soak = Soak(
            router,
            seconds=options.seconds,
            seed=options.seed,
            callers=options.callers,
            pause=options.pause,
        )
        soak.run()
    print(soak.report())
    return bool(soak.violations)


if __name__ == "__main__":
    sys.exit(main())
