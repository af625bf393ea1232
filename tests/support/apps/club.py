"""An app whose members log in with Flask-Login, for browsers and for attackers."""

from __future__ import annotations

import sqlite3

from flask import Flask, Request, g, session
from flask_login import (
    LoginManager,
    UserMixin,
    current_user,
    login_required,
    login_user,
    logout_user,
)
from readiness import readiness

from flask_wamp import FlaskWAMP, Identity, event, invocation

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = "embedded:"
app.config["WAMP_URI_PREFIX"] = "com.club"
app.config["SECRET_KEY"] = "of the club's tests"
app.config.from_prefixed_env()

wamp = FlaskWAMP(app)
wamp.allow("anonymous", subscribe=".news", publish=".hello")
wamp.allow("*", subscribe=[".user.{authid}.inbox", ".board."], publish=".typing")
# A right to call the meta API gives no rights to the objects that it returns.
META = ["session.add_testament", "subscription.get_events", "subscription.lookup"]
wamp.allow("*", call=[f"wamp.{name}" for name in META])
logins = LoginManager(app)

try:
    from flask_wtf import CSRFProtect
except ImportError:
    csrf = None
else:
    csrf = CSRFProtect(app)


class User(UserMixin):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.id = name


logins.user_loader(User)


@wamp.authenticator
def who(request: Request) -> Identity | None:
    if not current_user.is_authenticated:
        return None
    role = app.config.get("ROLE", "member")
    return Identity(current_user.id, role, {"name": current_user.id.title()})


if app.config.get("PRINTER"):
    wamp.principal("printer", secret=app.config["PRINTER"], role="device")

if app.config.get("ASKS"):

    @wamp.authorizer
    def may(identity: Identity, action: str, uri: str, options: dict[str, object]) -> bool | None:
        if uri == "com.club.secret":
            return identity.authid == "ann" or None
        if action == "subscribe" and uri.startswith("com.club.room."):
            return options.get("match", "exact") == "exact" and uri.endswith(f".{identity.authid}")
        if uri == "com.club.order":
            return identity.authid != "banned"
        if uri == "com.club.broken":
            raise RuntimeError("the authorizer is broken")
        if uri == "com.club.odd":
            return "yes"  # type: ignore[return-value]
        return True if uri.startswith("wamp.") else None


if app.config.get("LOGOUTS"):

    class Logouts:
        """A store in a file, for all processes."""

        def get(self, key: str) -> float | None:
            with self._open() as database:
                row = database.execute("SELECT ended FROM logouts WHERE key = ?", [key]).fetchone()
            return row[0] if row else None

        def set(self, key: str, value: float) -> None:
            with self._open() as database:
                database.execute("REPLACE INTO logouts VALUES (?, ?)", [key, value])

        def _open(self) -> sqlite3.Connection:
            database = sqlite3.connect(app.config["LOGOUTS"], timeout=30)
            database.execute("CREATE TABLE IF NOT EXISTS logouts (key PRIMARY KEY, ended)")
            return database

    wamp.remember_logouts(Logouts())


@app.get("/login/<name>")
def login(name: str) -> str:
    login_user(User(name))
    return "hello"


@app.get("/logout")
def logout() -> str:
    logout_user()
    return "bye"


@app.get("/clear")
def clear() -> str:
    user = current_user.id
    session.clear()
    logout_user()
    return f"bye {user}"


@app.get("/sign-out/<name>")
def sign_out(name: str) -> dict[str, int]:
    return {"ended": wamp.sign_out(name)}


@app.post("/mine")
@wamp.callee(allow=["anonymous", "device"], request_context=True)
@login_required
def mine() -> dict[str, str]:
    return {"user": current_user.id}


if csrf is not None:
    csrf.exempt(mine)


@wamp.callee(allow="anonymous")
def whoami() -> dict[str, str | None]:
    identity = invocation.identity
    return {
        "authid": identity.authid if identity else None,
        "authrole": identity.authrole if identity else None,
        "caller_authid": invocation.caller_authid,
    }


@wamp.callee(allow="*")
def order(item: str) -> str:
    return item


@wamp.callee
def secret() -> str:
    return "secret"


#: The received events of subscribers: publisher, role and text.
heard: list[tuple[str | None, str | None, str]] = []


@wamp.subscriber(".hello")
def hello(text: str) -> None:
    heard.append((event.publisher_authid, event.publisher_authrole, text))


@wamp.callee(allow="anonymous")
def hellos() -> list[tuple[str | None, str | None, str]]:
    return heard


@app.get("/tell/<name>/<text>")
def tell(name: str, text: str) -> str:
    g.wampy.publish(f"com.club.user.{name}.inbox", text)
    return "told"


@app.get("/keep/<text>")
def keep(text: str) -> str:
    """Publish retained events to a private and to a public topic."""
    options = g.wampy.with_options(retain=True, acknowledge=True)
    options.publish("com.club.private.plans", text)
    options.publish("com.club.news", text)
    return "kept"


@app.get("/ask/<procedure>")
def ask(procedure: str) -> dict[str, object]:
    return {"answer": g.wampy.call(procedure)}


@app.get("/ready")
def ready() -> dict[str, bool | int]:
    return readiness(wamp)
