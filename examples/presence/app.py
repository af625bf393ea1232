"""A page that shows who is online: every browser tab that has it open.

The router tells the application who joins and leaves, and the application tells the pages. Browsers need no
rights for the router's own ``wamp.`` topics and procedures.
"""

from threading import Lock

from flask import Flask, g, render_template

from flask_wamp import FlaskWAMP, SessionInfo
from flask_wamp.signals import session_joined

#: The roles of browsers: at the embedded router, and at Crossbar.io as router.json configures it.
VISITORS = ("anonymous", "visitor")
FIRST = ("Amber", "Brave", "Calm", "Dapper", "Fancy", "Gentle", "Happy", "Jolly", "Lucky", "Noble")
LAST = ("Badger", "Dolphin", "Egret", "Fox", "Gecko", "Heron", "Koala", "Lynx", "Newt", "Otter")

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example.presence"
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
wamp.allow("anonymous", subscribe=[".changed", ".away"])

people: dict[int, dict] = {}
lock = Lock()


@app.get("/")
def index():
    return render_template("index.html", people=who())


@wamp.callee(allow="anonymous")
def who() -> list[dict]:
    with lock:
        return list(people.values())


@session_joined.connect_via(app)
def look_around(sender, **extra):
    """List all sessions, because this process missed events while it had no session."""
    with lock:  # came() and went() wait until this list is complete
        people.clear()
        for session in g.wampy.meta.sessions.all(VISITORS):
            people[session.id] = person(session)
        tell_every_page()
    # The router publishes this when the session of this process ends.
    g.wampy.testament("com.example.presence.away")


@wamp.on_session_join
def came(session: SessionInfo):
    if session.authrole in VISITORS:
        with lock:
            people[session.id] = person(session)
            tell_every_page()


@wamp.on_session_leave
def went(session: SessionInfo):
    with lock:
        if people.pop(session.id, None):
            tell_every_page()


def tell_every_page():
    g.wampy.publish("com.example.presence.changed", list(people.values()))


def person(session: SessionInfo) -> dict:
    """Return the public data of a session: a name that is derived from its id."""
    name = f"{FIRST[session.id % 10]} {LAST[session.id // 10 % 10]}"
    return {"id": session.id, "name": name, "hue": session.id // 100 % 360}
