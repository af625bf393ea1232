"""``python -m flask_wamp.crossbar``: run Crossbar.io for development, or only build its environment."""

from __future__ import annotations

import argparse
import sys

from . import DEFAULT_REALM, DEFAULT_URL, RouterError, ensure_crossbar, serve


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="python -m flask_wamp.crossbar", description=__doc__)
    parser.add_argument(
        "--build", action="store_true", help="find or build Crossbar.io, but do not run it"
    )
    parser.add_argument(
        "--url", action="append", help=f"a router URL to serve, {DEFAULT_URL} by default"
    )
    parser.add_argument("--realm", default=DEFAULT_REALM, help="the realm to serve (%(default)s)")
    options = parser.parse_args()
    try:
        if options.build:
            print(f"Crossbar.io is {ensure_crossbar()}")
        else:
            serve(options.url or [DEFAULT_URL], options.realm)
    except RouterError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
