"""An app, and functions that its background tasks run in other processes."""

from __future__ import annotations

import os
import threading
import typing as t

from flask import Flask, current_app, g, has_request_context

from flask_wamp import FlaskWAMP, background_tasks, invocation
from tests.support.reports import tell

app = Flask(__name__)
app.config.update(TESTING=True, WAMP_URI_PREFIX="com.example", WAMP_DRAIN_TIMEOUT=15)
wamp = FlaskWAMP(app)


class Unwilling(Exception):
    """Raised by a task."""


class Awkward(Exception):
    """An exception that cannot be pickled."""

    def __init__(self, reason: str, *, lock: t.Any) -> None:
        super().__init__(reason)
        self.lock = lock


def facts() -> dict[str, t.Any]:
    """Return the state of this process."""
    return {
        "parent": os.getppid(),
        "app": current_app.name,
        "left behind": g.get("left_behind"),
        "request": has_request_context(),
        "invocation": bool(invocation),
    }


def report(address: str, **more: t.Any) -> None:
    """Report the state, wait, and leave something behind."""
    tell(address, **facts(), **more)
    g.left_behind = "g is not fresh"


def compute(address: str, n: int) -> None:
    """Compute, and report the result."""
    tell(address, result=sum(x * x for x in range(n)))


def fail(reason: str) -> None:
    """Raise an exception that can be pickled."""
    raise Unwilling(reason)


def fail_awkwardly() -> None:
    """Raise an exception that cannot be pickled."""
    raise Awkward("the reason", lock=threading.Lock())


def leave(status: int) -> None:
    """End the process."""
    os._exit(status)


def add_more(address: str) -> None:
    """Add tasks in a task."""
    background_tasks.add(report, address, executor="process", added="for a process")
    background_tasks.add(in_parent, address)
    tell(address)


def in_parent(address: str) -> None:
    """Report in a separate thread, because the test shares the process."""
    threading.Thread(target=tell, args=(address,), kwargs={"keep": False}).start()


def compute_for_ever(address: str) -> None:
    """Report, and never end by itself."""
    tell(address)
    while True:
        pass
