"""``python -m flask_wamp.router``: run a router without an app.

``--build`` finds or builds Crossbar.io, as ``python -m flask_wamp.crossbar --build`` does.
"""

from __future__ import annotations

import argparse
import sys


def main() -> None:
    """Run the command line."""
    if "--build" in sys.argv[1:]:
        from ..crossbar.__main__ import main as build

        build()
        return
    from .process.access import read_access
    from .process.errors import ListenError
    from .process.foreground import serve

    parser = argparse.ArgumentParser(prog="python -m flask_wamp.router", description=__doc__)
    parser.add_argument("--url", action="append", help="a URL to serve (ws://127.0.0.1:8080/ws)")
    parser.add_argument("--realm", default="realm1", help="the realm to serve (%(default)s)")
    parser.add_argument(
        "--principals",
        metavar="FILE",
        help="JSON: who may join, and what roles may do",
    )
    parser.add_argument("--origin", action="append", help="let web pages of this origin join")
    parser.add_argument(
        "--tls-cert", metavar="FILE", help="the certificate for wss:// and tls:// URLs"
    )
    parser.add_argument("--tls-key", metavar="FILE", help="the key of the certificate")
    options = parser.parse_args()
    try:
        access = read_access(options.principals) if options.principals else None
        urls = options.url or ["ws://127.0.0.1:8080/ws"]
        serve(
            urls,
            options.realm,
            access=access,
            origins=options.origin or (),
            tls_cert=options.tls_cert,
            tls_key=options.tls_key,
        )
    except (ListenError, ValueError) as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main()
