"""Whether an app is ready for its clients, for the ``/ready`` of the apps."""

from __future__ import annotations

import os

from flask_wamp import FlaskWAMP, NotJoined


def readiness(wamp: FlaskWAMP) -> dict[str, bool | int]:
    """Return whether this process has joined, and the router has answered all of its requests."""
    try:
        wamp.client.wait_until_joined(0)
    except NotJoined:
        return {"joined": False, "pid": os.getpid()}
    return {"joined": True, "pid": os.getpid()}
