"""An app with all kinds of rights: for each action and role a URI, a prefix, a wildcard, and ``{authid}``."""

from __future__ import annotations

import itertools
import os

from flask import Flask, Request, session

from flask_wamp import FlaskWAMP, Identity, invocation

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = "embedded:"
app.config["WAMP_URI_PREFIX"] = "com.guard"
app.config["SECRET_KEY"] = "of the tests of rights"
app.config.from_prefixed_env()

wamp = FlaskWAMP(app)

NAMES = {"anonymous": "everybody", "*": "known", "member": "member", "admin": "admin"}
ACTIONS = ["call", "register", "publish", "subscribe"]
FORMS = ["exact.a", "prefix.", "wild.<any>.end", "own.{authid}.x"]

for action, role, form in itertools.product(ACTIONS, NAMES, FORMS):
    wamp.allow(role, **{action: f".{action}.{NAMES[role]}.{form}"})
# URIs that the authorizer refuses although the table allows them, and URIs that it leaves to the table.
for action in ACTIONS:
    wamp.allow("anonymous", **{action: [f".{action}.asked.no", f".{action}.asked.none"]})


@wamp.authenticator
def who(request: Request) -> Identity | None:
    name = session.get("name")
    if name is None:
        return None
    return Identity(name, "admin" if name == "root" else "member")


@wamp.authorizer
def may(identity: Identity, action: str, uri: str, options: dict[str, object]) -> bool | None:
    if uri.startswith("wamp.") or options.get("match", "exact") != "exact":
        return True if uri.startswith("wamp.") else None
    return {"asked.yes": True, "asked.no": False}.get(".".join(uri.split(".")[3:]))


@wamp.callee(".call.", match="prefix")
def called() -> str:
    return invocation.details["procedure"]


@app.get("/login/<name>")
def login(name: str) -> str:
    session["name"] = name
    return "hello"


@app.get("/ready")
def ready() -> dict[str, bool | int]:
    return {"joined": wamp.client.joined, "pid": os.getpid()}
