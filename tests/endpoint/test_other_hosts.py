"""``flask wamp router`` for programs of other hosts: a second network namespace, behind a virtual cable."""

from __future__ import annotations

import json
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask
from websockets.exceptions import WebSocketException

from flask_wamp import FlaskWAMP
from flask_wamp.crossbar import free_port
from tests.support import netns
from tests.support.browser import Browser
from tests.support.certificates import Authority
from tests.support.served import PACKAGE

from .test_router_command import Command, run

pytestmark = pytest.mark.slow

MakeApp = t.Callable[..., Flask]

#: An app that calls one procedure, and prints the outcome.
CALL = """
import json, sys
from flask import Flask
from flask_wamp import FlaskWAMP
app = Flask("far")
app.config.update(WAMP_ENDPOINT=None, WAMP_CONNECT_TIMEOUT=2, **json.loads(sys.argv[1]))
wamp = FlaskWAMP(app)
wamp.start()
try:
    wamp.client.wait_until_joined(float(sys.argv[2]))
    print(wamp.client.call("com.example.add", 1, 2))
except Exception as error:
    print(type(error).__name__, error)
wamp.stop()
"""

ACCESS = {
    "principals": {
        "wampcra": {
            "shop": {"secret": "hush", "role": "app"},
            "till": {"secret": "hush too", "role": "till"},
        }
    },
    "roles": {
        "app": [{"uri": "com.example.", "match": "prefix", "allow": ["register", "call"]}],
        "till": [{"uri": "com.example.add", "allow": ["call"]}],
    },
}


@pytest.fixture(scope="module")
def host() -> t.Iterator[netns.Host]:
    """The other host."""
    reason = netns.why_not()
    if reason is not None:
        pytest.skip(reason)
    with netns.Host() as host:
        yield host


def call_from(host: netns.Host, timeout: float = 20, **config: t.Any) -> str:
    """Call from a program on the other host. Return its output."""
    code = [sys.executable, "-c", CALL, json.dumps(config), str(timeout)]
    done = subprocess.run(
        host.command(*code), capture_output=True, text=True, cwd=PACKAGE, timeout=60, check=True
    )
    return done.stdout.strip()


def serve_add(make_app: MakeApp, **config: t.Any) -> None:
    """Register the procedure, from this host."""
    wamp = FlaskWAMP(make_app(WAMP_AUTOSTART=False, **config))
    wamp.callee("com.example.add")(lambda a, b: a + b)
    wamp.start()
    wamp.client.wait_until_joined(20)


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
def test_without_principals_other_hosts_are_refused(
    host: netns.Host, tmp_path: Path, make_app: MakeApp, scheme: str
) -> None:
    port, path = free_port(), "/ws" if scheme == "ws" else ""
    with run(f"{scheme}://0.0.0.0:{port}{path}", cwd=tmp_path) as router:
        assert router.read_line() == "open to every program on this machine, and to no web pages"
        serve_add(make_app, WAMP_ROUTER_URL=f"{scheme}://127.0.0.1:{port}{path}")
        far = f"{scheme}://{host.near}:{port}{path}"
        assert call_from(host, 2, WAMP_ROUTER_URL=far).startswith("NotJoined")
        router.process.terminate()
        log = router.rest()
        assert f"refused a connection: {host.address} is another machine" in log
        assert "--principals" in log


def test_a_program_on_this_machine_must_use_the_loopback_address(
    host: netns.Host, tmp_path: Path
) -> None:
    port = free_port()
    with run(f"ws://0.0.0.0:{port}/ws", cwd=tmp_path):
        with Browser(f"ws://127.0.0.1:{port}/ws") as browser:
            assert browser.authrole == "anonymous"
        # The address does not identify the program.
        with pytest.raises((OSError, EOFError, WebSocketException)):
            Browser(f"ws://{host.near}:{port}/ws")


@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_with_principals_and_tls_other_hosts_join(
    host: netns.Host, tmp_path: Path, make_app: MakeApp, scheme: str
) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("router", host=host.near)
    (tmp_path / "access.json").write_text(json.dumps(ACCESS))
    path = "/ws" if scheme == "wss" else ""
    url = f"{scheme}://{host.near}:{free_port()}{path}"
    options = ["--principals=access.json", f"--tls-cert={cert}", f"--tls-key={key}"]
    with Command("flask_wamp.router", f"--url={url}", *options, cwd=tmp_path) as router:
        assert router.read_line() == "open to its principals, and to no web pages"
        common = {"WAMP_ROUTER_URL": url, "WAMP_TLS_CA": str(authority.path)}
        common["WAMP_AUTHMETHODS"] = ["wampcra"]  # type: ignore[assignment]
        serve_add(make_app, **common, WAMP_AUTHID="shop", WAMP_SECRET="hush")
        till = {**common, "WAMP_AUTHID": "till"}
        assert call_from(host, **till, WAMP_SECRET="hush too") == "3"
        denied = call_from(host, 3, **till, WAMP_SECRET="wrong")
        assert denied != "3" and "authentication" in denied, denied
        untrusted = call_from(host, 3, **{**till, "WAMP_TLS_CA": None}, WAMP_SECRET="hush too")
        assert "certificate" in untrusted.lower(), untrusted


@pytest.mark.parametrize(
    "url",
    [
        "embedded://router.example/ws",
        "embedded://router.example:8080",
        "embedded:ws://router.example:8080/ws",
        "embedded://user:hush@192.0.2.1/run/wamp.sock",
    ],
)
def test_embedded_is_for_one_host(make_app: MakeApp, url: str) -> None:
    with pytest.raises(ValueError, match="for the processes of one host") as error:
        FlaskWAMP(make_app(WAMP_ROUTER_URL=url))
    assert "WAMP_ROUTER_URL" in str(error.value)
    assert "Crossbar.io" in str(error.value) and "wss://" in str(error.value)
    assert "hush" not in str(error.value)
