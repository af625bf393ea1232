"""The names of the other clients, and of the routers."""

from __future__ import annotations

AUTOBAHN = "autobahn-python"
AUTOBAHN_JS = "autobahn-js"
WAMPY_JS = "wampy.js"
XCONN = "xconn"
XCONN_ROUTER = "xconn router"
"""A client, and the router of the same project."""

BUILT_IN = "built-in router"
CROSSBAR = "Crossbar.io"
