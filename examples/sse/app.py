"""A wall of notes: browsers get events by Server-Sent Events, and speak plain HTTP only.

Each open page holds one response of ``/events``; all of them share this process's one subscription.
Notes may come from any WAMP peer: ``com.example.wall.note`` is an ordinary topic.
"""

import uuid

from flask import Flask, g, render_template, request

from flask_wamp import FlaskWAMP

TOPIC = "com.example.wall.note"

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=... in the environment wins
wamp = FlaskWAMP(app)
app.add_url_rule("/health", view_func=wamp.health_view)  # "streams" says how many pages are open


@app.get("/")
def index():
    return render_template("index.html")


@app.get("/events")
def events():
    """The last note, which the router retains, then each one as it comes."""
    return g.wampy.events(TOPIC, get_retained=True)


@app.post("/notes")
def post():
    note = {
        "id": uuid.uuid4().hex,  # a page that comes back gets the last one again
        "who": request.form.get("who", "").strip()[:30] or "somebody",
        "text": request.form["text"].strip()[:200],
    }
    # exclude_me: the pages of this very process are to get it too.
    publisher = g.wampy.with_options(retain=True, exclude_me=False, acknowledge=True)
    publisher.publish(TOPIC, note)
    return note, 201
