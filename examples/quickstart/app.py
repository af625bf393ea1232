"""A poll. It was an ordinary Flask app, then the lines marked ``WAMP`` were added.

The views go on answering HTTP. The two that are also callees can be called over WAMP too, which is
what the page does; and every vote, whichever way it came, is told to all open pages.
"""

from threading import Lock

from flask import Flask, abort, g, render_template

from flask_wamp import FlaskWAMP, NotJoined

CHOICES = {"coffee": "Coffee", "tea": "Tea", "lemonade": "Lemonade", "water": "Water"}
totals = dict.fromkeys(CHOICES, 0)  # in memory: this app runs in one process
lock = Lock()

app = Flask(__name__)
app.config["WAMP_ROUTER_URL"] = "ws://127.0.0.1:8080/ws"  # WAMP: these two are also what the
app.config["WAMP_REALM"] = "realm1"  # page connects to
app.config["WAMP_URI_PREFIX"] = "com.example.poll"  # WAMP: where the names below live
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=... in the environment wins
wamp = FlaskWAMP(app)  # WAMP


@app.get("/")
def index():
    return render_template("index.html", choices=CHOICES, totals=votes())


@app.get("/votes")
@wamp.callee  # WAMP: registers com.example.poll.votes
def votes() -> dict[str, int]:
    with lock:
        return dict(totals)


@app.post("/vote/<choice>")
@wamp.callee  # WAMP: registers com.example.poll.vote; over WAMP a 404 is an ERROR
def vote(choice: str) -> dict[str, int]:
    if choice not in CHOICES:
        abort(404, f"There is no {choice!r} in this poll.")
    with lock:  # counting and telling in one go: nobody is told a newer total before an older one
        totals[choice] += 1
        tell_every_page()  # WAMP
        return dict(totals)


def tell_every_page() -> None:  # WAMP
    """Publish the totals. No router, no news: the vote counts all the same."""
    try:
        g.wampy.publish("com.example.poll.changed", totals)  # does not wait for anybody
    except NotJoined:
        app.logger.warning("not connected to the router; pages catch up when they reconnect")
