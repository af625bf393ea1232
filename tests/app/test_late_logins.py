"""Logins at another router, in apps that have none, or that set them up after the start."""

from __future__ import annotations

import pytest
from flask import Request

from flask_wamp import FlaskWAMP, Identity
from flask_wamp.endpoint import logouts
from flask_wamp.endpoint.logouts import Logouts
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter
from tests.support.memory_transport import MemoryTransport

LOGOUTS = "com.example.flask_wamp.logouts"


def test_an_app_without_logins_serves_only_what_it_declares(
    serve: Serve, router: MemoryRouter
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".add")(lambda: None)

    serve(setup)
    assert router.procedures == {"com.example.add"}
    assert router.topics == set()


def test_a_ticket_is_valid_if_logins_are_set_up_after_the_start(
    serve: Serve, router: MemoryRouter
) -> None:
    app, wamp = serve()

    @wamp.authenticator
    def who(request: Request) -> Identity:
        return Identity("ann", "user")

    def redeem() -> str:
        ticket = app.test_client().post("/wamp/session").json["ticket"]
        process, _, secret = ticket.partition(".")
        found = router.call(f"com.example.flask_wamp.redeem.{process}", secret)
        return found["authid"]

    assert redeem() == "ann"
    assert LOGOUTS in router.topics
    session = wamp.client.session_id
    router.drop()
    eventually(lambda: wamp.client.session_id not in (None, session))
    wamp.client.wait_until_joined(10.0)
    assert redeem() == "ann"
    assert len([uri for uri in router.procedures if "redeem" in uri]) == 1


class Store(dict[str, float]):
    """Remembers logouts for all processes."""

    def set(self, key: str, value: float) -> None:
        self[key] = value


def test_a_logout_while_a_process_subscribes_applies_at_once(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process does not get the event, and the store's answer was given before the logout."""
    monkeypatch.setattr(logouts, "FRESH", 1000.0)
    store = Store()

    def hold_subscribe(transport: MemoryTransport, message: m.Message) -> bool:
        return isinstance(message, m.Subscribe)

    def setup(wamp: FlaskWAMP) -> None:
        wamp.authenticator(lambda request: Identity("ann", "user"))
        wamp.remember_logouts(store)
        wamp.callee(".add", allow="user")(lambda: None)

    router.script = hold_subscribe
    app, _ = serve(setup)
    own = {"login": "", "since": 1.0}
    session = {"authid": "ann", "authrole": "user", "authprovider": "dynamic"}

    def may_call() -> bool:
        details = {**session, "authextra": {"flask_wamp": own}}
        authorizer = "com.example.flask_wamp.authorize"
        return router.call(authorizer, details, "com.example.add", "call", {})["allow"]

    request_id = router.wait_for(m.Subscribe).request_id
    assert may_call()
    Logouts(app.name, lambda: store).end_user("ann")  # in another process, which publishes it now
    router.send(m.Subscribed(request_id, 1))
    eventually(lambda: not may_call())
