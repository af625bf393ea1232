"""An app with its own router, for browsers."""

from __future__ import annotations

import os
import sys

from flask import Flask, g
from readiness import readiness

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = "embedded:"
app.config["WAMP_URI_PREFIX"] = "com.shop"
app.config.from_prefixed_env()

wamp = FlaskWAMP(app)
wamp.allow("anonymous", subscribe=".news", publish=".hello")
heard: list[str] = []


@app.get("/who")
@wamp.callee(allow="anonymous")
def who() -> dict[str, int]:
    return {"pid": os.getpid()}


@wamp.callee(allow="anonymous")
def add(a: int, b: int) -> int:
    return a + b


@wamp.callee
def secret() -> str:
    return "secret"


@app.post("/say/<text>")
def say(text: str) -> str:
    g.wampy.publish("com.shop.news", text)
    return "said"


@app.get("/ready")
def ready() -> dict[str, bool | int]:
    return readiness(wamp)


if __name__ == "__main__":  # browsed.py PORT: in an unrecognized server
    from gevent.pywsgi import WSGIServer

    wamp.start()
    WSGIServer(("127.0.0.1", int(sys.argv[1])), app, log=None).serve_forever()
