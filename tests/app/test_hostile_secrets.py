"""Secrets of the configuration appear in no error, ``repr`` or log, whatever is wrong with them."""

from __future__ import annotations

import logging
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from flask_wamp.router.principals import Principals
from flask_wamp.transports import parse_router_url
from tests.support.sockets import Impostor

MakeApp = t.Callable[..., Flask]

SECRET = "hush-hush"

URLS = [
    f"ws://joe:{SECRET}@127.0.0.1:PORT/ws",
    f"ws://127.0.0.1:PORT/ws?access_token={SECRET}",
    f"ws://joe:p@{SECRET}@127.0.0.1:PORT/ws",
    f"ws://joe:@{SECRET}@127.0.0.1:PORT/ws",
]
BAD_URLS = [
    f"http://joe:{SECRET}@localhost/ws",
    f"ws://joe:{SECRET}/x@localhost:port",
    f"ws://joe:{SECRET}@localhost:99999/ws",
    f"tcp://joe:{SECRET}@localhost",
]


@pytest.mark.parametrize("url", BAD_URLS)
def test_a_bad_url_is_shown_without_its_password(make_app: MakeApp, url: str) -> None:
    with pytest.raises(ValueError, match="WAMP_ROUTER_URL") as info:
        FlaskWAMP(make_app(WAMP_ROUTER_URL=url))
    assert SECRET not in str(info.value)
    with pytest.raises(ValueError, match="is not a router URL") as info:
        parse_router_url(url)
    assert SECRET not in str(info.value)
    assert info.value.__cause__ is None


def test_the_query_of_the_url_is_not_shown() -> None:
    url = parse_router_url(f"ws://joe:{SECRET}@localhost/ws?access_token={SECRET}")
    assert SECRET not in url.shown + repr(url)
    assert url.shown == "ws://localhost/ws?..."


@pytest.mark.parametrize(
    "value",
    [
        f"joe:{SECRET}@host",
        f"ws://joe:{SECRET}@host".encode(),
        [f"http://joe:{SECRET}@host"],
        {"url": SECRET},
        f"ws://localhost:port/?token={SECRET}",
    ],
)
@pytest.mark.parametrize(
    "name", ["WAMP_ROUTER_URL", "WAMP_URL", "WAMP_ROUTER_LISTEN", "WAMP_ORIGINS"]
)
def test_a_value_that_may_be_a_url_is_shown_without_its_password(
    make_app: MakeApp, name: str, value: t.Any
) -> None:
    with pytest.raises(ValueError, match=name) as info:
        FlaskWAMP(make_app(**{name: value}))
    assert SECRET not in f"{info.value!r}{info.value.__cause__!r}{info.value.__context__!r}"


@pytest.mark.parametrize(
    "name", ["WAMP_PASSWORD", "WAMP_SECRT", "WAMP_TCKET", "WAMP_ROUTER_ULR", "WAMP_PRINCIPLES"]
)
@pytest.mark.parametrize("value", [SECRET, [SECRET], {"printer": {"secret": SECRET}}, 483920117])
def test_an_unknown_key_may_hold_a_secret(make_app: MakeApp, name: str, value: t.Any) -> None:
    with pytest.raises(ValueError, match=f"unknown configuration key {name};") as info:
        FlaskWAMP(make_app(**{name: value}))
    assert SECRET not in str(info.value)
    assert "483920117" not in str(info.value)


def test_a_secret_in_place_of_a_public_key_is_not_shown(make_app: MakeApp) -> None:
    entry = {"role": "device", "public_key": SECRET}
    with pytest.raises(ValueError, match="64 hex digits.*, not text of 9 characters") as info:
        FlaskWAMP(make_app(WAMP_PRINCIPALS={"door": entry}))
    assert SECRET not in str(info.value)


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"wampcra": [{"joe": {"secret": SECRET}}]}, "wampcra: must be a dictionary of principals"),
        (
            {"cryptosign": {"door": {"role": "device", "authorized_keys": [SECRET]}}},
            "cryptosign.door.authorized_keys: a public key must be 64 hex digits, not text of 9 char",
        ),
    ],
)
def test_an_error_in_the_principals_of_the_router_shows_no_secret(
    table: dict[str, t.Any], text: str
) -> None:
    with pytest.raises(ValueError, match=text) as info:
        Principals(table)
    assert SECRET not in str(info.value)


@pytest.mark.parametrize("name", ["WAMP_TLS_CA", "WAMP_TLS_CERT", "WAMP_TLS_KEY"])
def test_the_text_of_a_pem_file_in_place_of_its_path_is_not_shown(
    make_app: MakeApp, name: str
) -> None:
    text = f"-----BEGIN PRIVATE KEY-----\n{SECRET}\n-----END PRIVATE KEY-----\n"
    config: dict[str, t.Any] = {"WAMP_ROUTER_URL": "wss://localhost/ws", "WAMP_TLS_CERT": __file__}
    with pytest.raises(ValueError, match=f"{name} takes the path of a PEM file") as info:
        FlaskWAMP(make_app(**{**config, name: text}))
    assert SECRET not in f"{info.value!r}{info.value.__cause__!r}{info.value.__context__!r}"


@pytest.mark.parametrize("url", URLS)
def test_the_password_is_never_shown(
    make_app: MakeApp, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("websockets").setLevel(logging.DEBUG)
    with Impostor(b"HTTP/1.1 403 Forbidden\r\n\r\n") as server:
        url = url.replace("PORT", str(server.port))
        wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_SECRET=SECRET, WAMP_AUTHID="joe"))
        with pytest.raises(NotJoined) as info:
            wamp.client.call("com.shop.echo")
        shown = [str(info.value), repr(wamp.client.settings), str(wamp.health()), caplog.text]
        wamp.stop()
    assert "403" in str(info.value)
    assert SECRET not in "\n".join(shown)


def test_disabled_verification_is_logged_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    FlaskWAMP(make_app(WAMP_ROUTER_URL="wss://localhost/ws", WAMP_TLS_VERIFY=False))
    assert caplog.text.count("WAMP_TLS_VERIFY is False") == 1


@pytest.mark.parametrize(
    ("config", "warns_of"),
    [
        ({"WAMP_ROUTER_URL": "ws://example.org/ws", "WAMP_TICKET": SECRET}, "WAMP_TICKET"),
        ({"WAMP_ROUTER_URL": "tcp://192.0.2.1:8080", "WAMP_TICKET": SECRET}, "WAMP_TICKET"),
        ({"WAMP_ROUTER_URL": f"ws://joe:{SECRET}@example.org/ws"}, "WAMP_ROUTER_URL"),
        ({"WAMP_ROUTER_URL": "ws://localhost/ws", "WAMP_TICKET": SECRET}, None),
        ({"WAMP_ROUTER_URL": "ws://127.0.0.5/ws", "WAMP_TICKET": SECRET}, None),
        ({"WAMP_ROUTER_URL": "tcp://[::1]:8080", "WAMP_TICKET": SECRET}, None),
        ({"WAMP_ROUTER_URL": "unix:///tmp/x", "WAMP_TICKET": SECRET}, None),
        ({"WAMP_ROUTER_URL": "wss://example.org/ws", "WAMP_TICKET": SECRET}, None),
        (
            {"WAMP_ROUTER_URL": "ws://example.org/ws", "WAMP_AUTHID": "joe", "WAMP_SECRET": SECRET},
            None,
        ),
        ({"WAMP_ROUTER_URL": "tcp://localhost:80", "WAMP_TLS_CA": "/no/such"}, "WAMP_TLS_"),
        ({"WAMP_ROUTER_URL": "ws://localhost/ws", "WAMP_TLS_VERIFY": False}, "WAMP_TLS_"),
    ],
)
def test_sending_secrets_without_tls_is_logged(
    make_app: MakeApp,
    config: dict[str, t.Any],
    warns_of: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    FlaskWAMP(make_app(**config))
    text = "\n".join(r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING)
    assert SECRET not in text
    assert (warns_of in text) if warns_of else not text
