"""The app that gunicorn serves: a view, and the same with one call."""

from __future__ import annotations

import os

from flask import Flask, g

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.update(
    WAMP_ROUTER_URL=os.environ["BENCH_ROUTER_URL"], WAMP_LINGER=0, WAMP_DRAIN_TIMEOUT=1
)
wamp = FlaskWAMP(app)


@app.get("/plain")
def plain() -> dict[str, int]:
    """Add here."""
    return {"sum": 1 + 2}


@app.get("/call")
def call() -> dict[str, int]:
    """Let another process add."""
    g.wampy.wait_until_joined(10)
    return {"sum": g.wampy.call("com.bench.add", 1, 2)}
