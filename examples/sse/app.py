"""A wall of notes. Browsers get events as Server-Sent Events, and use plain HTTP only.

Each open page has one open response of ``/events``. All of them share one subscription of this process.
``com.example.wall.note`` is an ordinary topic, so any WAMP peer can publish notes.
"""

import uuid

from flask import Flask, g, render_template, request

from flask_wamp import FlaskWAMP

TOPIC = "com.example.wall.note"

app = Flask(__name__)
app.config.from_prefixed_env()  # FLASK_WAMP_ROUTER_URL=... in the environment wins
wamp = FlaskWAMP(app)
app.add_url_rule("/health", view_func=wamp.health_view)  # "streams" is the number of open pages


@app.get("/")
def index():
    return render_template("index.html")


@app.get("/events")
def events():
    """Send the last note, which the router has retained, and then each new one."""
    return g.wampy.events(TOPIC, get_retained=True)


@app.post("/notes")
def post():
    note = {
        "id": uuid.uuid4().hex,  # a page that reconnects gets the last note again
        "who": request.form.get("who", "").strip()[:30] or "somebody",
        "text": request.form["text"].strip()[:200],
    }
    # exclude_me=False: the pages of this process get the note too.
    publisher = g.wampy.with_options(retain=True, exclude_me=False, acknowledge=True)
    publisher.publish(TOPIC, note)
    return note, 201
