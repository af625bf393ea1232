"""The responses of the endpoint's routes, without a server."""

from __future__ import annotations

import re
import textwrap
import types
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, SessionLost
from flask_wamp.endpoint.origins import is_allowed
from flask_wamp.endpoint.own_router import OwnRouter
from flask_wamp.protocol.identity import BrowserIdentity

MakeApp = t.Callable[..., Flask]
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app(WAMP_ROUTER_URL="embedded:", WAMP_ORIGINS=["https://partner.example"])
    FlaskWAMP(app)
    return app


def test_the_module_and_its_types(app: Flask) -> None:
    http = app.test_client()
    module = http.get("/wamp/client.js")
    assert module.content_type == "text/javascript; charset=utf-8"
    assert "export function connect" in module.text
    assert len(module.data) < 10_000
    assert "//" not in re.sub(r'"[^"]*"|`[^`]*`', "", module.text)  # no comments are served
    again = http.get("/wamp/client.js", headers={"If-None-Match": module.headers["ETag"]})
    assert again.status_code == 304
    types = http.get("/wamp/client.d.ts")
    assert "export function connect" in types.text


def test_the_documented_exemption_from_a_login(app: Flask) -> None:
    text = (Path(__file__).parents[2] / "docs" / "browsers.rst").read_text(encoding="utf-8")
    (snippet,) = re.findall(r":name: login\.py\n\n((?:    .*\n|\n)+)", text)
    exec(textwrap.dedent(snippet), {"app": app})
    names = {rule.endpoint for rule in app.url_map.iter_rules() if rule.rule.startswith("/wamp")}
    assert names == set(re.findall(r"``(wamp_\w+)``\n", text))
    http = app.test_client()
    assert http.get("/wamp/client.js").status_code == 200
    assert http.post("/wamp/session").json["authid"] is None
    assert http.get("/wamp", headers=UPGRADE).status_code == 501  # the test client has no socket
    redirected = http.get("/wamp/client.d.ts")
    assert (redirected.status_code, redirected.location) == (302, "/login")


def test_session_of_an_unknown_user(app: Flask) -> None:
    answer = app.test_client().post("/wamp/session")
    assert answer.json == {"url": "/wamp", "realm": "realm1", "authid": None, "ticket": None}


def test_session_at_another_router(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL="ws://127.0.0.1:8080/ws", WAMP_REALM="shop")
    FlaskWAMP(app)
    http = app.test_client()
    answer = http.post("/wamp/session", base_url="http://shop.example:5000")
    assert answer.json == {
        "url": "ws://shop.example:8080/ws",
        "realm": "shop",
        "authid": None,
        "ticket": None,
    }
    refused = http.get("/wamp", headers=UPGRADE)
    assert refused.status_code == 501
    assert "ws://localhost:8080/ws" in refused.text


def test_another_router_without_a_url_for_browsers(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL="tcp://127.0.0.1:8081")
    FlaskWAMP(app)
    refused = app.test_client().get("/wamp", headers=UPGRADE)
    assert refused.status_code == 501
    assert "set WAMP_ROUTER_LISTEN to its URL for browsers" in refused.text


def test_a_port_of_the_router_s_own(make_app: MakeApp) -> None:
    listen = ["tcp://0.0.0.0:8081", "ws://0.0.0.0:8080/ws"]
    app = make_app(WAMP_ROUTER_URL="embedded:", WAMP_ROUTER_LISTEN=listen)
    FlaskWAMP(app)
    answer = app.test_client().post("/wamp/session", base_url="http://[::1]:5000")
    assert answer.json["url"] == "ws://[::1]:8080/ws"


@pytest.mark.parametrize("url", ["wss://0.0.0.0:8443/ws", "tls://0.0.0.0:8443"])
def test_the_embedded_router_has_no_tls(make_app: MakeApp, url: str) -> None:
    app = make_app(WAMP_ROUTER_URL="embedded:", WAMP_ROUTER_LISTEN=[url])
    with pytest.raises(ValueError, match="WAMP_ROUTER_LISTEN.* does not support TLS"):
        FlaskWAMP(app)


def test_browsers_join_another_router_at_its_public_url(make_app: MakeApp) -> None:
    public = "wss://router.example/ws"
    app = make_app(WAMP_ROUTER_URL="unix:///run/router.sock", WAMP_ROUTER_LISTEN=[public])
    FlaskWAMP(app)
    assert app.test_client().post("/wamp/session").json["url"] == public


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        (None, True),
        ("http://localhost", True),
        ("https://partner.example", True),
        ("https://PARTNER.example", True),
        ("https://partner.example.evil.example", False),
        ("https://evil.example", False),
        ("http://localhost:8000", False),
        ("http://localhost.evil.example", False),
        ("null", False),
        ("", False),
        ("file://", False),
    ],
)
def test_only_allowed_origins_may_join(app: Flask, origin: str | None, allowed: bool) -> None:
    http = app.test_client()
    headers = {} if origin is None else {"Origin": origin}
    answer = http.post("/wamp/session", headers=headers)
    assert answer.status_code == (200 if allowed else 403)
    upgrade = http.get("/wamp", headers={**UPGRADE, **headers})
    assert upgrade.status_code == (501 if allowed else 403)  # the test client has no socket


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("https://shop.example", "shop.example", True),
        ("http://shop.example:80", "shop.example", True),
        ("https://shop.example:443", "shop.example", True),
        ("https://shop.example", "shop.example:443", True),
        ("https://shop.example", "shop.example:8443", False),
        ("http://[::1]:5000", "[::1]:5000", True),
        ("https://shop.example:99999", "shop.example", False),
        ("https://user@shop.example", "shop.example", True),
        ("javascript:alert(1)", "shop.example", False),
        ("https://", "", False),
    ],
)
def test_the_own_origin(origin: str, host: str, allowed: bool) -> None:
    assert is_allowed(origin, host, ()) is allowed


def test_all_origins(app: Flask) -> None:
    assert is_allowed("https://evil.example", "shop.example", ["*"])


def test_a_plain_request_gets_an_explanation(app: Flask) -> None:
    answer = app.test_client().get("/wamp")
    assert (answer.status_code, "connect('/wamp')" in answer.text) == (426, True)


def test_the_test_client_has_no_socket(app: Flask) -> None:
    answer = app.test_client().get("/wamp", headers=UPGRADE)
    assert answer.status_code == 501
    assert "WAMP_ROUTER_LISTEN" in answer.text


@pytest.mark.parametrize("path", ["/", "/shop/ws"])
def test_another_path(make_app: MakeApp, path: str) -> None:
    app = make_app(WAMP_ROUTER_URL="embedded:", WAMP_ENDPOINT=path)
    FlaskWAMP(app)
    http = app.test_client()
    assert http.post(f"{path.rstrip('/')}/session").json["url"] == (path.rstrip("/") or "/")
    assert http.get("/wamp/session").status_code in (404, 405)


def test_an_app_below_a_prefix(app: Flask) -> None:
    http = app.test_client()
    base = "http://localhost/shop/"
    answer = http.post("/wamp/session", base_url=base)
    assert answer.json is not None and answer.json["url"] == "/shop/wamp"
    assert "connect('/shop/wamp')" in http.get("/wamp", base_url=base).text


def test_no_endpoint(make_app: MakeApp) -> None:
    app = make_app(WAMP_ENDPOINT=None)
    FlaskWAMP(app)
    http = app.test_client()
    assert {http.get("/wamp").status_code, http.post("/wamp/session").status_code} == {404}


def test_a_logged_in_user_gets_a_ticket(make_app: MakeApp) -> None:
    flask_login = pytest.importorskip("flask_login")
    app = make_app(WAMP_ROUTER_URL="ws://127.0.0.1:1/ws", SECRET_KEY="x")
    FlaskWAMP(app)
    manager = flask_login.LoginManager(app)

    class User(flask_login.UserMixin):  # type: ignore[misc, name-defined]
        id = "7"

    manager.user_loader(lambda user_id: User())

    @app.post("/login")
    def login() -> str:
        flask_login.login_user(User())
        return "hello"

    http = app.test_client()
    assert http.post("/wamp/session").json["authid"] is None
    http.post("/login")
    assert http.post("/wamp/session").json["authid"] == "7"


def test_a_ticket_is_asked_for_again_if_the_router_is_killed() -> None:
    answers = [SessionLost("the router was killed"), "a ticket"]

    def call(*args: object) -> object:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    router, client = types.SimpleNamespace(own="com.example."), types.SimpleNamespace(call=call)
    ticket = OwnRouter.ticket(
        t.cast(t.Any, router), t.cast(t.Any, client), BrowserIdentity("", ""), 1.0
    )
    assert (ticket, answers) == ("a ticket", [])
