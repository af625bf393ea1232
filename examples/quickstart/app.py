"""A poll. It was an ordinary Flask application until the lines marked ``WAMP`` were added.

The views still serve HTTP. Two of them are also callees, so the page can call them over WAMP. After each
vote, over HTTP or WAMP, the totals are published to all open pages.
"""

from threading import Lock

from flask import Flask, abort, g, render_template

from flask_wamp import FlaskWAMP, NotJoined

CHOICES = {"coffee": "Coffee", "tea": "Tea", "lemonade": "Lemonade", "water": "Water"}
totals = dict.fromkeys(CHOICES, 0)  # in memory: this app runs in one process
lock = Lock()

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example.poll"  # WAMP: the prefix of the URIs below
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=... in the environment wins
wamp = FlaskWAMP(app)  # WAMP
wamp.allow("anonymous", subscribe=".changed")  # WAMP: what pages may do, with allow= below


@app.get("/")
def index():
    return render_template("index.html", choices=CHOICES, totals=votes())


@app.get("/votes")
@wamp.callee(allow="anonymous")  # WAMP: registers com.example.poll.votes
def votes() -> dict[str, int]:
    with lock:
        return dict(totals)


@app.post("/vote/<choice>")
@wamp.callee(
    allow="anonymous"
)  # WAMP: registers com.example.poll.vote; over WAMP a 404 is an ERROR
def vote(choice: str) -> dict[str, int]:
    if choice not in CHOICES:
        abort(404, f"There is no {choice!r} in this poll.")
    with lock:  # counts and publishes in one step, so that totals are published in order
        totals[choice] += 1
        tell_every_page()  # WAMP
        return dict(totals)


def tell_every_page() -> None:  # WAMP
    """Publish the totals. A vote counts even if the router cannot be reached."""
    try:
        g.wampy.publish("com.example.poll.changed", totals)  # returns at once
    except NotJoined:
        app.logger.warning("not connected to the router; pages catch up when they reconnect")
