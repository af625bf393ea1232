"""Who is online: every user with a session at the router.

Each process of the application gets an event when a session joins or leaves. After a loss, it lists all
sessions.
"""

from __future__ import annotations

from threading import Lock

from flask import Flask, current_app, g

from flask_wamp import SessionInfo
from flask_wamp.signals import session_joined

from .extensions import wamp


class Presence:
    """The sessions of users, by their ids."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.sessions: dict[int, str | None] = {}

    def user_ids(self) -> list[int]:
        return sorted({int(authid) for authid in self.sessions.values() if authid})


def init_app(app: Flask) -> None:
    app.extensions["presence"] = Presence()
    session_joined.connect(look_around, app)


def online() -> list[int]:
    """Return the ids of the users who are online."""
    here = current_app.extensions["presence"]
    with here.lock:
        return here.user_ids()


def look_around(sender: Flask, **extra: object) -> None:
    here = sender.extensions["presence"]
    with here.lock:  # came() and went() wait until the list is complete
        here.sessions = {each.id: each.authid for each in g.wampy.meta.sessions.all("user")}
        tell(here)
    # The router publishes this when the session of this process ends.
    g.wampy.testament(".everyone", "away")


@wamp.on_session_join
def came(session: SessionInfo) -> None:
    here = current_app.extensions["presence"]
    if session.authrole == "user":
        with here.lock:
            here.sessions[session.id] = session.authid
            tell(here)


@wamp.on_session_leave
def went(session: SessionInfo) -> None:
    here = current_app.extensions["presence"]
    with here.lock:
        if here.sessions.pop(session.id, None) is not None:
            tell(here)


def tell(here: Presence) -> None:
    """Publish to all pages. If the application has several processes, all of them publish the same."""
    g.wampy.publish(".everyone", "online", people=here.user_ids())
