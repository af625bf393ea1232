"""``peer.login(http)``: the identity of a Flask test client's cookies."""

from __future__ import annotations

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, invocation

flask_login = pytest.importorskip("flask_login")


def test_a_login_is_that_of_the_cookies() -> None:
    app = Flask("app")
    app.config.update(TESTING=True, SECRET_KEY="x", WAMP_ENDPOINT="/wamp")
    wamp = FlaskWAMP(app)
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):  # type: ignore[misc, name-defined]
        def __init__(self, name: str) -> None:
            self.id = name

    manager.user_loader(User)

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
            peer.login(app.test_client())  # nobody may not subscribe
        with pytest.raises(ApplicationError, match="not_authorized"):
            peer.call("com.me")
