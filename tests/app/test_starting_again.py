"""A client that is stopped and started again holds on to nothing of before."""

from __future__ import annotations

import gc
import weakref

from flask_wamp import FlaskWAMP
from flask_wamp.protocol.uris import COUNT_CALLEES
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter


def holds(wamp: FlaskWAMP) -> bool:
    """Whether this one is given the events that one process handles."""
    return any(d.subject is not d and d.subject.id for d in wamp.client.declarations)


def test_what_served_before_the_stop_is_let_go(router: MemoryRouter, serve: Serve) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".here")(lambda: "here")
        wamp.subscriber(".all")(lambda: None)
        wamp.subscriber(".one", delivery="one")(lambda: None)

    router.register(COUNT_CALLEES, lambda number: 2)
    _, wamp = serve(setup)
    eventually(lambda: "com.example.one" in router.topics)
    _, other = serve(setup)
    peer = weakref.ref(wamp.client.peer)
    wamp.stop()
    eventually(lambda: holds(other), 10.0)
    wamp.start()
    wamp.client.wait_until_joined(10)

    def is_gone() -> bool:
        gc.collect()
        return peer() is None

    eventually(is_gone, 10.0)
