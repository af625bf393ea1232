"""Pages without content, whose sessions the tests open. An app may redirect to a login, here or elsewhere."""

from __future__ import annotations

from flask import Flask, redirect, request
from werkzeug import Response

from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
URIS = "com.example."
wamp.allow("anonymous", call=URIS, register=URIS, publish=URIS, subscribe=URIS)


@app.get("/page/<name>")
def page(name: str) -> str:
    return f"<!doctype html><title>{name}</title>"


@app.before_request
def ask_for_login() -> Response | None:
    """Redirect to the URL in ``LOGIN``, as an app whose pages all need a login does."""
    login = app.config.get("LOGIN")
    is_public = login is None or request.path.startswith("/page/") or request.path.endswith(".js")
    return None if is_public else redirect(login)
