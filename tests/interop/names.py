"""The names of the other sides."""

from __future__ import annotations

AUTOBAHN = "autobahn-python"
AUTOBAHN_JS = "autobahn-js"
WAMPY_JS = "wampy.js"
XCONN = "xconn"
XCONN_ROUTER = "xconn router"
