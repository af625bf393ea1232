"""Soak and chaos tests: random calls, publications and faults. Reports violations.

``python -m tests.chaos --seconds 200`` runs on three routers, one after the other. ``--router`` chooses one:
Crossbar.io, the built-in one (``flask wamp router``), or the embedded one, which the members start. The
router's process is killed and frozen among the faults. ``--seed`` runs the same faults and payloads again,
but not with the same timing. ``--gevent`` uses greenlets instead of threads. Exits with 1 after a violation.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and "--gevent" in sys.argv:
    from gevent import monkey

    monkey.patch_all()

import argparse
import secrets
import subprocess
import tempfile
from pathlib import Path

from tests.support.chaos import routers
from tests.support.chaos.soak import Soak


def main() -> int:
    """Run on one router or on each. Print the report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="on each router")
    parser.add_argument("--router", choices=routers.NAMES, help="the only one to run on")
    parser.add_argument("--seed", default=secrets.token_hex(4))
    parser.add_argument("--callers", type=int, default=3, help="of each member")
    parser.add_argument(
        "--pause", type=float, default=0.05, help="seconds between two calls of one"
    )
    parser.add_argument("--gevent", action="store_true")
    options = parser.parse_args()
    if options.router is None:
        # Each has its own process, because leaked threads and objects are counted.
        command = [sys.executable, "-m", "tests.chaos", *sys.argv[1:], "--router"]
        return max(subprocess.call([*command, name]) for name in routers.NAMES)
    print(f"{options.router}, seed {options.seed}", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="chaos-", dir="/tmp") as folder,
        routers.running(options.router, Path(folder)) as chosen,
    ):
        soak = Soak(
            chosen,
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
