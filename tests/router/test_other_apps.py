"""Two applications that share a procedure."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.coordination.other_apps import OtherApps
from flask_wamp.crossbar import free_port
from flask_wamp.protocol.uris import GET_SESSION
from tests.conftest import eventually
from tests.endpoint.test_router_command import run

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

URI = "com.example.add"
MakeApp = t.Callable[..., Flask]


@pytest.fixture
def url(wamp_router: DevRouter) -> str:
    return wamp_router.rawsocket_url


def join_as(make_app: MakeApp, name: str, url: str, **config: t.Any) -> FlaskWAMP:
    wamp = FlaskWAMP(make_app(name, WAMP_ROUTER_URL=url, **config))
    wamp.callee(URI)(lambda: name)
    wamp.start()
    wamp.client.wait_until_joined(10)
    return wamp


def look_of(wamp: FlaskWAMP) -> OtherApps:
    assert wamp.client.peer is not None
    return t.cast(OtherApps, wamp.client.peer.listener(OtherApps))


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if "is registered by" in each.getMessage()]


def test_only_another_app_logs_a_warning(
    url: str, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    join_as(make_app, "shop", url)
    second = join_as(make_app, "shop", url)
    eventually(lambda: len(look_of(second)._seen) == 2)  # its own session and the first one
    assert warnings(caplog) == []
    join_as(make_app, "orders", url)
    [warning] = eventually(lambda: warnings(caplog))
    assert f"{URI} is registered by this application ('orders')" in warning
    assert "another one ('shop')" in warning


def test_the_meta_api_names_the_app(url: str, make_app: MakeApp) -> None:
    wamp = join_as(make_app, "shop", url)
    assert wamp.client.peer is not None
    details = wamp.client.call(GET_SESSION, wamp.client.peer.session_id)
    assert details["authextra"]["flask_wamp"] == {"app": "shop"}


def test_there_is_no_warning_without_permission(
    historian: DevRouter, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    url = historian.rawsocket_url
    apps = [join_as(make_app, name, url, WAMP_REALM="strict") for name in ("shop", "orders")]
    eventually(lambda: not any(look_of(wamp)._permitted for wamp in apps))
    assert caplog.messages == []


ACCESS = {
    "principals": {"ticket": {"joe": {"ticket": "secret", "role": "device"}}},
    "roles": {
        "device": [{"uri": "com.example.", "match": "prefix", "allow": ["call", "register"]}]
    },
}


def test_there_is_no_warning_without_permission_with_principals(
    tmp_path: Path, make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "access.json").write_text(json.dumps(ACCESS))
    url = f"ws://127.0.0.1:{free_port()}/ws"
    with run(url, cwd=tmp_path, principals="access.json"):
        credentials = {"WAMP_AUTHID": "joe", "WAMP_TICKET": "secret"}
        apps = [join_as(make_app, name, url, **credentials) for name in ("shop", "orders")]
        eventually(lambda: not any(look_of(wamp)._permitted for wamp in apps))
        for wamp in apps:
            wamp.stop()
    assert caplog.messages == []
