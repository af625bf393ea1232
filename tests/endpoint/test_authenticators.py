"""``wamp.authenticator``: the sender of a request, without a server."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask, Request, Response, abort, redirect

from flask_wamp import FlaskWAMP, Identity
from flask_wamp.endpoint.identity import Identifier
from flask_wamp.router.app_api import is_backend

MakeApp = t.Callable[..., Flask]
Answer = t.Callable[[Request], t.Any]


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    # Another router needs no ticket to join, so no router has to run.
    return make_app(WAMP_ROUTER_URL="ws://127.0.0.1:1/ws", WAMP_REALM="shop", SECRET_KEY="x")


def test_an_authenticator_identifies(app: Flask) -> None:
    wamp = FlaskWAMP(app)

    @wamp.authenticator
    def who(request: Request) -> Identity | None:
        name = request.headers.get("X-Name")
        return Identity(authid=name, authrole="member", authextra={"a": 1}) if name else None

    http = app.test_client()
    assert http.post("/wamp/session").json["authid"] is None
    assert http.post("/wamp/session", headers={"X-Name": "ann"}).json["authid"] == "ann"
    assert isinstance(who(app.test_request_context(headers={"X-Name": "ann"}).request), Identity)


def test_an_async_authenticator(app: Flask) -> None:
    pytest.importorskip("asgiref")
    wamp = FlaskWAMP(app)

    @wamp.authenticator()
    async def who(request: Request) -> Identity | None:
        return Identity("ann", "member")

    assert app.test_client().post("/wamp/session").json["authid"] == "ann"


def test_the_realm_s_own_authenticator_comes_first(app: Flask) -> None:
    wamp = FlaskWAMP(app)
    wamp.authenticator(realm="other")(lambda request: Identity("of other", "member"))
    http = app.test_client()
    assert http.post("/wamp/session").json["authid"] is None
    wamp.authenticator(lambda request: Identity("of any", "member"))
    assert http.post("/wamp/session").json["authid"] == "of any"
    wamp.authenticator(realm="shop")(lambda request: Identity("of shop", "member"))
    assert http.post("/wamp/session").json["authid"] == "of shop"


def test_two_authenticators_are_an_error(app: Flask) -> None:
    wamp = FlaskWAMP(app)

    @wamp.authenticator
    def first(request: Request) -> Identity | None:
        return None

    with pytest.raises(ValueError, match="two authenticators for any realm.*first.*second"):

        @wamp.authenticator
        def second(request: Request) -> Identity | None:
            return None


@pytest.mark.parametrize("realm", ["", 7, b"shop"])
def test_an_invalid_realm(app: Flask, realm: t.Any) -> None:
    with pytest.raises(TypeError, match="the name of a realm"):
        FlaskWAMP(app).authenticator(realm)


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ("ann", "return Identity"),
        (True, "return Identity"),
        ({"authid": "ann"}, "return Identity"),
        (Response("fine"), "return Identity"),
        (Identity(t.cast(t.Any, 7), "member"), r"authid=7; use a string.*str\(user.id\)"),
        (Identity("", "member"), "authid=''"),
        (Identity("ann", t.cast(t.Any, None)), "authrole=None"),
        (
            Identity("ann", t.cast(t.Any, ["a", "b"])),
            "authrole=.*use the name of one role, such as",
        ),
        (Identity("ann", "member", {"a": object()}), "authextra cannot be sent"),
        (Identity("ann", "member", {"a": float("nan")}), "authextra cannot be sent"),
        (Identity("ann", "member", t.cast(t.Any, 7)), "authextra cannot be sent"),
    ],
)
def test_an_invalid_return_value_is_a_clear_error(app: Flask, answer: t.Any, says: str) -> None:
    FlaskWAMP(app).authenticator(lambda request: answer)
    with pytest.raises(TypeError, match=says):
        app.test_client().post("/wamp/session")


@pytest.mark.parametrize(
    ("refuse", "status"),
    [
        (lambda request: abort(403), 403),
        (lambda request: Response("log in", 401), 401),
        (lambda request: redirect("/login"), 401),
    ],
)
def test_an_authenticator_refuses(app: Flask, refuse: Answer, status: int) -> None:
    FlaskWAMP(app).authenticator(refuse)
    assert app.test_client().post("/wamp/session").status_code == status


def test_each_app_has_its_own(make_app: MakeApp) -> None:
    wamp = FlaskWAMP()
    answers = []
    for name in ("one", "two"):
        app = make_app(name, WAMP_ROUTER_URL="ws://127.0.0.1:1/ws")
        wamp.init_app(app)
        wamp.authenticator(lambda request, name=name: Identity(f"of {name}", "member"))
        answers.append(app.test_client().post("/wamp/session").json["authid"])
    assert answers == ["of one", "of two"]


@pytest.mark.parametrize("csrf_first", [True, False])
def test_no_csrf_token_is_required(app: Flask, csrf_first: bool) -> None:
    flask_wtf = pytest.importorskip("flask_wtf")
    if csrf_first:
        flask_wtf.CSRFProtect(app)
        FlaskWAMP(app)
    else:
        FlaskWAMP(app)
        flask_wtf.CSRFProtect(app)
    app.add_url_rule("/other", view_func=lambda: "other", methods=["POST"], endpoint="other")
    http = app.test_client()
    assert http.post("/wamp/session").status_code == 200
    assert http.post("/other").status_code == 400
    refused = http.post("/wamp/session", headers={"Origin": "https://evil.example"})
    assert refused.status_code == 403


@pytest.mark.parametrize(
    ("method", "provider"), [("unix", "embedded"), ("anonymous", "memory"), ("ticket", "static")]
)
def test_an_authenticator_cannot_return_the_identity_of_the_apps_processes(
    app: Flask, method: str, provider: str
) -> None:
    backend = Identity("backend", "backend", {}, method, provider)
    with app.test_request_context("/wamp"):
        found = Identifier(app, "shop", {None: lambda request: backend})()
    assert found is not None
    assert (found.authmethod, found.authprovider) == ("cookie", "dynamic")
    assert not is_backend(found)


@pytest.mark.parametrize("authid", ["", None, 7])
def test_sign_out_takes_an_authid(app: Flask, authid: t.Any) -> None:
    with pytest.raises(TypeError, match="takes an authid"):
        FlaskWAMP(app).sign_out(authid)
