"""Pages without content, whose sessions the tests open."""

from __future__ import annotations

from flask import Flask

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
URIS = "com.example."
wamp.allow("anonymous", call=URIS, register=URIS, publish=URIS, subscribe=URIS)


@app.get("/page/<name>")
def page(name: str) -> str:
    return f"<!doctype html><title>{name}</title>"
