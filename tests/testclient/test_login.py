"""``peer.login(http)``: the identity of a Flask test client's cookies."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, invocation

flask_login = pytest.importorskip("flask_login")


class User(flask_login.UserMixin):  # type: ignore[misc, name-defined]
    def __init__(self, name: str) -> None:
        self.id = name


def make_app() -> tuple[Flask, FlaskWAMP]:
    """An app with any user who logs in."""
    app = Flask("app")
    app.config.update(TESTING=True, SECRET_KEY="x", WAMP_ENDPOINT="/wamp")
    wamp = FlaskWAMP(app)
    flask_login.LoginManager(app).user_loader(User)
    return app, wamp


def test_login_joins_as_the_user_of_the_cookies() -> None:
    app, wamp = make_app()

    @app.post("/login/<name>")
    def login(name: str) -> str:
        flask_login.login_user(User(name))
        return ""

    @wamp.callee("com.me", allow="user")
    def me() -> str:
        assert invocation.identity is not None
        return invocation.identity.authid

    wamp.allow("user", subscribe="com.news")
    http = app.test_client()
    with wamp.test_client() as peer:
        inbox = peer.subscribe("com.news")
        http.post("/login/ann")
        assert peer.login(http).authid == "ann"
        assert peer.call("com.me") == "ann"
        wamp.client.publish("com.news", 1)
        assert inbox.get().args == [1]
        with pytest.raises(ApplicationError, match="not_authorized"):
            peer.login(app.test_client())  # anonymous may not subscribe
        with pytest.raises(ApplicationError, match="not_authorized"):
            peer.call("com.me")


def test_logging_out_ends_the_session_of_the_cookies() -> None:
    app, wamp = make_app()

    @app.route("/login")
    def login() -> str:
        return str(flask_login.login_user(User("ann")))

    app.add_url_rule("/logout", view_func=lambda: str(flask_login.logout_user()), endpoint="o")
    laptop, phone = app.test_client(), app.test_client()
    for http in (laptop, phone):
        assert http.get("/login").text == "True"
        assert (
            http.get("/logout").text == "True"
        )  # without a session and a router nothing is started
        http.get("/login")
    assert not wamp.client.joined
    with wamp.test_client() as peer, wamp.test_client() as other:
        assert peer.login(laptop).authid == "ann"
        assert other.login(phone).authid == "ann"
        ended = peer.session_id
        laptop.get("/logout")
        sessions = wamp.client.meta.sessions.list()
        assert ended not in sessions
        assert other.session_id in sessions
        assert wamp.sign_out("ann") >= 1  # the ended one may have joined again meanwhile


def test_two_users_in_the_app_context_of_a_test() -> None:
    app, wamp = make_app()
    ann, bob = app.test_client(), app.test_client()
    for http, name in ((ann, "ann"), (bob, "bob")):
        with http.session_transaction() as session:
            session["_user_id"] = name
    with app.app_context(), wamp.test_client() as peer:
        assert peer.login(ann).authid == "ann"
        assert peer.login(bob).authid == "bob"
        assert peer.login(app.test_client()).authrole == "anonymous"
