"""An app whose events many browsers watch, and the resources of its process."""

from __future__ import annotations

import gc
import os
import typing as t

from flask import Flask, g

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = os.environ["SHOP_ROUTER_URL"]
app.config["WAMP_EVENT_QUEUE"] = int(os.environ.get("SHOP_EVENT_QUEUE", "1000"))
wamp = FlaskWAMP(app)


@wamp.callee("com.shop.who")
def who() -> dict[str, int]:
    return {"pid": os.getpid()}


@app.get("/events")
def events() -> t.Any:
    return g.wampy.events("com.shop.prices", keep_alive=1.0)


@app.get("/taken")
def taken() -> dict[str, t.Any]:
    import greenlet

    gc.collect()
    status = dict(line.split(":", 1) for line in open("/proc/self/status"))  # noqa: SIM115
    return {
        "streams": wamp.health()["streams"],
        "fds": len(os.listdir("/proc/self/fd")),
        "greenlets": sum(isinstance(each, greenlet.greenlet) for each in gc.get_objects()),
        "rss_kb": int(status["VmRSS"].split()[0]),
    }
