"""Logins at another router, in apps that have none, or that set them up after the start."""

from __future__ import annotations

from flask import Request

from flask_wamp import FlaskWAMP, Identity
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter


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
    assert "com.example.flask_wamp.logouts" in router.topics
    session = wamp.client.session_id
    router.drop()
    eventually(lambda: wamp.client.session_id not in (None, session))
    wamp.client.wait_until_joined(10.0)
    assert redeem() == "ann"
    assert len([uri for uri in router.procedures if "redeem" in uri]) == 1
