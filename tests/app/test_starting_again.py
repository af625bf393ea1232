"""A stopped client keeps no objects, and neither does a restarted one."""

from __future__ import annotations

import gc
import typing as t
import weakref

import pytest

from flask_wamp import FlaskWAMP, SessionLost
from flask_wamp.exceptions import TransportError
from flask_wamp.protocol.uris import COUNT_CALLEES
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter


def holds(wamp: FlaskWAMP) -> bool:
    """Return whether this process gets the events that one process handles."""
    return any(d.subject is not d and d.subject.id for d in wamp.client.declarations)


def is_gone(gone: weakref.ref[t.Any]) -> bool:
    gc.collect()
    return gone() is None


def test_objects_from_before_the_stop_are_released(router: MemoryRouter, serve: Serve) -> None:
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
    eventually(lambda: is_gone(peer))


def call_limited(router: MemoryRouter, wamp: FlaskWAMP) -> None:
    assert router.call("com.example.limited") == "here"


def receive(router: MemoryRouter, wamp: FlaskWAMP) -> None:
    router.publish("com.example.all")


def deliver(router: MemoryRouter, wamp: FlaskWAMP) -> None:
    eventually(lambda: "com.example.one" in router.topics)
    router.publish("com.example.one")


def publish(router: MemoryRouter, wamp: FlaskWAMP) -> None:
    wamp.client.with_options(best_effort=True).publish("com.example.any")


def lose_the_router(router: MemoryRouter, wamp: FlaskWAMP) -> None:
    router.give_up()
    eventually(lambda: wamp.client.session_id is None)


def submit(router: MemoryRouter, wamp: FlaskWAMP) -> object:
    future = wamp.client.submit("com.example.limited")
    assert future.result() == "here"
    return future


def lose_a_call(router: MemoryRouter, wamp: FlaskWAMP) -> object:
    router.hold("com.example.held")
    future = wamp.client.submit("com.example.held")
    router.give_up()
    error = future.exception()
    assert isinstance(error, SessionLost)
    assert isinstance(error.__cause__, TransportError)
    return error


USES = [call_limited, receive, deliver, publish, lose_the_router, submit, lose_a_call]


@pytest.mark.parametrize("use", USES)
def test_a_client_that_was_stopped_holds_on_to_nothing(
    router: MemoryRouter, serve: Serve, use: t.Callable[[MemoryRouter, FlaskWAMP], object]
) -> None:
    handled = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".limited", concurrency=1)(lambda: "here")
        wamp.subscriber(".all")(lambda: handled.append("all"))
        wamp.subscriber(".one", delivery="one")(lambda: handled.append("one"))

    _, wamp = serve(setup)
    kept_by_the_app = use(router, wamp)
    if use in (receive, deliver):
        eventually(lambda: handled)
    peer = weakref.ref(wamp.client.peer)
    wamp.stop()
    eventually(lambda: is_gone(peer))
    del kept_by_the_app
