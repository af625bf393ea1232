"""Answers of the router that arrive too late, and messages after its GOODBYE."""

from __future__ import annotations

import pytest

from flask_wamp import CallTimeout, FlaskWAMP
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.support.memory import MemoryRouter

REGISTRATION_ID = 77


@pytest.fixture
def wamp(serve: Serve, router: MemoryRouter) -> FlaskWAMP:
    """An app that has joined a router which answers nothing more."""
    _, wamp = serve()
    router.silent = True
    return wamp


def test_a_procedure_that_is_registered_too_late_is_unregistered(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    with pytest.raises(CallTimeout):
        wamp.client.with_options(timeout=0.05).register(lambda: 1, "com.example.late")
    request_id = router.wait_for(m.Register).request_id
    router.send(m.Registered(request_id, REGISTRATION_ID))
    assert router.wait_for(m.Unregister).registration_id == REGISTRATION_ID


def test_a_topic_that_is_subscribed_too_late_is_unsubscribed(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    with pytest.raises(CallTimeout):
        wamp.client.with_options(timeout=0.05).subscribe(lambda: 1, "com.example.late")
    request_id = router.wait_for(m.Subscribe).request_id
    router.send(m.Subscribed(request_id, REGISTRATION_ID))
    assert router.wait_for(m.Unsubscribe).subscription_id == REGISTRATION_ID


def test_a_declaration_that_is_withdrawn_before_the_answer_is_undone(
    serve: Serve, router: MemoryRouter
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(".early")(lambda: 1))
    router.silent = True
    router.drop()
    router.wait_for(m.Hello, 2)
    with router.together:  # it is silent again after WELCOME
        router.welcome()
        router.silent = True
    request_id = router.wait_for(m.Register, 2).request_id
    wamp.client.unregister("com.example.early")
    router.send(m.Registered(request_id, REGISTRATION_ID))
    assert router.wait_for(m.Unregister).registration_id == REGISTRATION_ID


def test_messages_after_goodbye_are_not_a_violation(serve: Serve, router: MemoryRouter) -> None:
    """Crossbar 26.10 sends pending invocations after it."""
    _, wamp = serve()
    peer = wamp.client.peer
    assert peer is not None and peer.connection is not None
    encode = router.transports[-1].router_serializer.encode
    late = m.Invocation(1, REGISTRATION_ID, {})
    peer.connection._take([encode(m.Goodbye({}, "com.example.kicked")), encode(late)])
    assert peer.connection.left is not None
    assert peer.connection.left.reason == "com.example.kicked"
