"""Each method of authentication, against a router that is configured for it."""

from __future__ import annotations

import importlib.util
import re
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from tests.support.nodes import Node
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
Config = dict[str, t.Any]

KEY = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
OTHER_KEY = "00" * 32

needs_argon2 = pytest.mark.skipif(not importlib.util.find_spec("argon2"), reason="no argon2-cffi")
needs_cryptography = pytest.mark.skipif(
    not importlib.util.find_spec("cryptography"), reason="no cryptography"
)


def _scram(authid: str, secret: str = "scram-secret") -> Config:
    return {"WAMP_AUTHMETHODS": ["scram"], "WAMP_AUTHID": authid, "WAMP_SECRET": secret}


GOOD = {
    "ticket": {"WAMP_AUTHID": "ticket-user", "WAMP_TICKET": "ticket-secret"},
    "wampcra": {"WAMP_AUTHID": "cra-user", "WAMP_SECRET": "cra-secret"},
    "wampcra salted": {"WAMP_AUTHID": "cra-salted", "WAMP_SECRET": "cra-secret"},
    "scram argon2": _scram("scram-argon2"),
    "scram pbkdf2": _scram("scram-pbkdf2"),
    "cryptosign": {"WAMP_AUTHID": "cryptosign-user", "WAMP_PRIVATE_KEY": KEY},
    "cryptosign by key": {"WAMP_PRIVATE_KEY": KEY},
}
BAD = {
    "ticket": {"WAMP_AUTHID": "ticket-user", "WAMP_TICKET": "not-the-secret"},
    "wampcra": {"WAMP_AUTHID": "cra-user", "WAMP_SECRET": "not-the-secret"},
    "wampcra salted": {"WAMP_AUTHID": "cra-salted", "WAMP_SECRET": "not-the-secret"},
    "scram argon2": _scram("scram-argon2", "not-the-secret"),
    "scram pbkdf2": _scram("scram-pbkdf2", "not-the-secret"),
    "cryptosign": {"WAMP_AUTHID": "cryptosign-user", "WAMP_PRIVATE_KEY": OTHER_KEY},
}


def _rows(table: dict[str, Config]) -> list[t.Any]:
    marks = {
        "scram argon2": [needs_argon2],
        "scram pbkdf2": [needs_argon2],
        "cryptosign": [needs_cryptography],
        "cryptosign by key": [needs_cryptography],
    }
    return [
        pytest.param(config, id=name, marks=marks.get(name, ())) for name, config in table.items()
    ]


@pytest.fixture(scope="module")
def guest_session(node: Node) -> t.Iterator[AutobahnPeer]:
    with AutobahnPeer(node.auth_url) as peer:
        yield peer


@pytest.fixture
def guest(guest_session: AutobahnPeer) -> t.Iterator[AutobahnPeer]:
    """An anonymous autobahn session on the router with authentication."""
    yield guest_session
    guest_session.reset()


@pytest.fixture(params=["auth_url", "auth_rawsocket_url"], ids=["websocket", "rawsocket"])
def url(request: pytest.FixtureRequest, node: Node) -> str:
    return str(getattr(node, request.param))


@pytest.mark.parametrize("config", _rows(GOOD))
def test_the_right_secret_joins_and_calls(
    join: Join, url: str, guest: AutobahnPeer, config: Config
) -> None:
    procedure = guest.register("com.shop.echo")
    _, wamp = join(url, **config)
    assert wamp.client.call("com.shop.echo", "hello") == "hello"
    details = procedure.next().details
    assert details["caller"] == wamp.client.session_id
    assert details["caller_authrole"] == "user"
    assert details["caller_authid"] == config.get("WAMP_AUTHID", "cryptosign-user")


@pytest.mark.parametrize("config", _rows(BAD))
def test_a_wrong_secret_does_not_join(
    make_app: t.Callable[..., Flask],
    url: str,
    config: Config,
    denied: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, **config))
    with pytest.raises(NotJoined, match=re.escape(denied)):
        wamp.client.call("com.shop.echo")
    with pytest.raises(NotJoined, match=re.escape(denied)):
        wamp.client.wait_until_joined(0.1)
    assert not wamp.client.joined
    assert denied in caplog.text
    secrets = {"not-the-secret", OTHER_KEY}
    assert not any(secret in caplog.text for secret in secrets)


def test_a_wrong_secret_is_logged_once(
    make_app: t.Callable[..., Flask], node: Node, denied: str, caplog: pytest.LogCaptureFixture
) -> None:
    config = {**BAD["ticket"], "WAMP_RECONNECT_MIN": 0.01, "WAMP_RECONNECT_MAX": 0.02}
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=node.auth_url, **config))
    with pytest.raises(NotJoined):
        wamp.client.wait_until_joined(0.5)
    assert caplog.text.count(denied) == 1


def test_a_method_the_router_does_not_have(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter, on_crossbar: bool
) -> None:
    # The last one is that of the specification.
    uris = ["no_auth_method", "not_authorized"] if on_crossbar else ["no_matching_auth_method"]
    config = {"WAMP_AUTHMETHODS": ["ticket"], "WAMP_AUTHID": "x", "WAMP_TICKET": "x"}
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=wamp_router.url, **config))
    with pytest.raises(NotJoined, match=rf"wamp\.error\.({'|'.join(uris)}):"):
        wamp.client.call("com.shop.echo")


def test_an_unknown_principal(make_app: t.Callable[..., Flask], node: Node) -> None:
    config = {"WAMP_AUTHID": "nobody", "WAMP_SECRET": "x"}
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=node.auth_url, **config))
    with pytest.raises(NotJoined, match=r"wamp\.error\.\w+"):
        wamp.client.call("com.shop.echo")


def test_a_client_without_credentials_is_anonymous(
    join: Join, node: Node, guest: AutobahnPeer
) -> None:
    procedure = guest.register("com.shop.echo")
    _, wamp = join(node.auth_url)
    wamp.client.call("com.shop.echo")
    assert procedure.next().details["caller_authrole"] == "anonymous"


def test_an_authenticated_session_serves(join: Join, node: Node, guest: AutobahnPeer) -> None:
    _, wamp = join(node.auth_url, **GOOD["wampcra"])
    wamp.callee("com.example.here")(lambda: "here")
    news = guest.subscribe("com.shop.news")
    assert guest.call("com.example.here").value == "here"
    wamp.client.publish("com.shop.news")
    details = news.next(PATIENCE).details
    assert (details["publisher_authid"], details["publisher_authrole"]) == ("cra-user", "user")
