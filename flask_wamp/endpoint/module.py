"""The ES module for browsers, ``client.js``, and its types."""

from __future__ import annotations

import functools
from pathlib import Path

_HERE = Path(__file__).parent


@functools.cache
def client_js() -> str:
    """Return the module as it is served: under 10 kB, without comments and unneeded whitespace.

    ``python -m tests.clientjs.minify`` makes it from ``client.js``. Its first line, which is not served, has
    the hash of that file.
    """
    return (_HERE / "client.min.js").read_text("utf-8").partition("\n")[2]


@functools.cache
def client_d_ts() -> str:
    """Return the types of the module."""
    return (_HERE / "client.d.ts").read_text("utf-8")
