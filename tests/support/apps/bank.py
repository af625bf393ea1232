"""A second app at the router of ``club.py``: other rights, other users, the same roles."""

from __future__ import annotations

import os

from flask import Flask, Request, g
from readiness import readiness

from flask_wamp import FlaskWAMP, Identity, invocation

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = "embedded:"
app.config["WAMP_URI_PREFIX"] = "com.bank"
app.config["SECRET_KEY"] = "of the bank's tests"
app.config.from_prefixed_env()

wamp = FlaskWAMP(app)
wamp.allow("anonymous", subscribe=".rates")
wamp.allow("member", subscribe=".user.{authid}.statement")


@wamp.authenticator
def who(request: Request) -> Identity | None:
    name = request.cookies.get("customer")
    return Identity(name, "member") if name else None


@wamp.authorizer
def may(identity: Identity, action: str, uri: str, options: dict[str, object]) -> bool | None:
    return False if identity.authid == "banned" else None


@wamp.callee(allow="member")
def balance() -> dict[str, str | None]:
    return {"of": invocation.caller_authid, "at": app.name}


@wamp.callee
def ledger() -> int:
    return os.getpid()


@app.get("/ask/<procedure>")
@wamp.callee(allow="member")
def ask(procedure: str) -> dict[str, object]:
    """Call another app. This app's own processes may do so."""
    return {"answer": g.wampy.call(procedure)}


@app.get("/sign-out/<name>")
def sign_out(name: str) -> dict[str, int]:
    return {"ended": wamp.sign_out(name)}


@app.get("/ready")
def ready() -> dict[str, bool | int]:
    return readiness(wamp)
