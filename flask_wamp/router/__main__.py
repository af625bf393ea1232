"""``python -m flask_wamp.router``: the name that ``python -m flask_wamp.crossbar`` had before."""

from __future__ import annotations

from ..crossbar.__main__ import main

if __name__ == "__main__":
    main()
