"""The names of the other sides, and of the routers."""

from __future__ import annotations

AUTOBAHN = "autobahn-python"
AUTOBAHN_JS = "autobahn-js"
WAMPY_JS = "wampy.js"
XCONN = "xconn"
XCONN_ROUTER = "xconn router"
"""A side of its own, and the router of that side."""

BUILT_IN = "built-in router"
CROSSBAR = "Crossbar.io"
