"""An app with background tasks, for the servers of the tests. Its factory needs an argument."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from flask import Flask, current_app, g

from flask_wamp import FlaskWAMP, background_tasks, invocation

wamp = FlaskWAMP()


def create_app(wares: str) -> Flask:
    """The factory."""
    app = Flask(__name__)
    app.config.update(
        WAMP_ROUTER_URL=os.environ["SHOP_ROUTER_URL"],
        WAMP_URI_PREFIX="com.chores",
        WAMP_DRAIN_TIMEOUT=8,
        WAMP_LINGER=0,
        WARES=wares,
    )
    wamp.init_app(app)
    wamp.callee(who)
    app.post("/add/<executor>")(wamp.callee(add))
    return app


def who() -> dict[str, t.Any]:
    """Return the process id of this worker."""
    return {"pid": os.getpid(), "session": g.wampy.session_id, "sockets": sockets()}


def add(executor: str) -> dict[str, t.Any]:
    """Add a task."""
    background_tasks.add(work, 7, executor=executor)
    return who()


def work(number: int) -> None:
    """Tell the test in which process this runs, and wait until it answers."""
    told = {**who(), "number": number, "wares": current_app.config["WARES"]}
    if invocation:
        told.update(procedure=invocation.procedure, args=invocation.args, caller=invocation.caller)
    g.wampy.call("com.chores.gate", **told)


def sockets() -> list[str]:
    """Return the open sockets of this process, by inode."""
    links = []
    for fd in Path("/proc/self/fd").glob("*"):
        try:
            links.append(os.readlink(fd))
        except OSError:  # the one that reads the folder
            continue
    return [link for link in links if link.startswith("socket:")]
