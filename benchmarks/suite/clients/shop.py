"""The app whose start is measured, and whose workers hand WebSockets over to their embedded router."""

from __future__ import annotations

from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.signals import session_joined

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.bench"
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
wamp.allow("anonymous", subscribe=".topic")


@wamp.callee(allow="anonymous")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


@app.get("/publish")
def publish() -> str:
    """Send one event."""
    wamp.client.publish("com.bench.topic", "bench-event")
    return "published"


@session_joined.connect_via(app)
def say(sender: object, **payload: object) -> None:
    """Report to the benchmark."""
    print("joined", flush=True)
