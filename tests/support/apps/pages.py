"""Pages without content, whose sessions the tests open."""

from __future__ import annotations

from flask import Flask

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
wamp.allow("anonymous", call="com.example.", register="com.example.")


@app.get("/page/<name>")
def page(name: str) -> str:
    return f"<!doctype html><title>{name}</title>"
