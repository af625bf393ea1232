"""A clock that publishes the time every second, in one of several processes."""

import os
from datetime import datetime, timezone

from flask import Flask, g

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example.clock"
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=...
wamp = FlaskWAMP(app)


def tick() -> None:
    now = datetime.now(timezone.utc)
    g.wampy.with_options(exclude_me=False).publish("com.example.clock.tick", now, os.getpid())


def wake_up(name: str) -> None:
    g.wampy.publish("com.example.clock.alarm", name)


wamp.schedule.every(1).seconds.do(tick)
wamp.schedule.every().day.at("10:30").do(wake_up, "tea time").tag("alarms")


@wamp.subscriber(".tick")
def on_tick(now: datetime, process: int) -> None:
    print(f"Process {os.getpid()}: process {process} says it is {now:%H:%M:%S}", flush=True)


@wamp.callee
def mute() -> int:
    """Cancel the alarms of this process. Return how many are left."""
    wamp.schedule.clear("alarms")
    return len(wamp.schedule.get_jobs("alarms"))
