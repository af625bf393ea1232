"""An app whose servers are restarted under load: a fast procedure and a slow one."""

from __future__ import annotations

import os
import time

from flask import Flask

from flask_wamp import FlaskWAMP

time.sleep(float(os.environ.get("ROLL_STARTS_IN", "0")))
app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = os.environ["SHOP_ROUTER_URL"]
app.config["WAMP_URI_PREFIX"] = "com.roll"
app.config.from_prefixed_env()  # FLASK_WAMP_LINGER
wamp = FlaskWAMP(app)


@app.get("/")
def index() -> str:
    """A view that counts for ``--max-requests``."""
    return "ok"


@wamp.callee
def fast() -> int:
    """Take a millisecond."""
    time.sleep(0.001)
    return 1


@wamp.callee
def slow() -> int:
    """Take half a second."""
    time.sleep(0.5)
    return 1
