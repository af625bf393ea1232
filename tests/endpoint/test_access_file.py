"""The file of principals in ``docs/router.rst``: what an app needs works with it, and nothing more."""

from __future__ import annotations

import json
import queue
import re
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, SessionInfo
from flask_wamp.cli import wamp as commands
from flask_wamp.coordination.leases import ON_UNREGISTER
from flask_wamp.crossbar import free_port
from flask_wamp.protocol.uris import LIST_CALLEES, LOOKUP

from .test_router_command import run

pytestmark = pytest.mark.slow

MakeApp = t.Callable[..., Flask]
PAGE = Path(__file__).parents[2] / "docs" / "router.rst"

SHOP = {"WAMP_AUTHID": "shop", "WAMP_SECRET": "change this"}
TILL = {"WAMP_AUTHID": "till-1", "WAMP_TICKET": "change this too"}


@pytest.fixture
def url(tmp_path: Path) -> t.Iterator[str]:
    """The URL of a router with the file."""
    pytest.importorskip("argon2")
    (source,) = re.findall(r"^\.\. code-block:: json\n\n((?:    .*\n|\n)*)", PAGE.read_text(), re.M)
    (tmp_path / "access.json").write_text(source)
    assert json.loads(source)["roles"].keys() == {"app", "till"}
    url = f"ws://127.0.0.1:{free_port()}/ws"
    with run(url, cwd=tmp_path, principals="access.json") as router:
        assert router.said.startswith("router ready")
        yield url


@pytest.fixture
def make(make_app: MakeApp, url: str) -> t.Callable[..., FlaskWAMP]:
    """Make apps for the router."""

    def make(**config: str) -> FlaskWAMP:
        return FlaskWAMP(make_app(WAMP_ROUTER_URL=url, SECRET_KEY="x", **config))

    return make


def join(wamp: FlaskWAMP) -> FlaskWAMP:
    wamp.start()
    wamp.client.wait_until_joined(20)
    return wamp


def test_status(make: t.Callable[..., FlaskWAMP]) -> None:
    wamp = make(**SHOP)
    wamp.callee(".add")(lambda: None)
    join(wamp)
    found = wamp._state().app.test_cli_runner().invoke(commands, ["status"])
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[1].split() == ["1", "callee", "com.example.add"]


def test_presence(make: t.Callable[..., FlaskWAMP]) -> None:
    wamp = make(**SHOP)
    seen: queue.SimpleQueue[tuple[str, str | None]] = queue.SimpleQueue()

    @wamp.on_session_join
    def joined(session: SessionInfo) -> None:
        seen.put(("joined", session.authid))

    @wamp.on_session_leave
    def left(session: SessionInfo) -> None:
        seen.put(("left", session.authid))

    join(wamp)
    till = join(make(**TILL))
    assert seen.get(timeout=20) == ("joined", "till-1")
    assert {each.authid for each in wamp.client.meta.sessions.all()} == {"shop", "till-1"}
    till.stop()
    assert seen.get(timeout=20) == ("left", "till-1")


def test_one_process_handles_each_event(
    make: t.Callable[..., FlaskWAMP], caplog: pytest.LogCaptureFixture
) -> None:
    handled: queue.SimpleQueue[int] = queue.SimpleQueue()
    processes = [make(**SHOP), make(**SHOP)]
    for wamp in processes:
        wamp.subscriber(".bought", delivery="one")(handled.put)
        join(wamp)
    client = processes[1].client
    for number in range(20):
        client.publish("com.example.bought", number)
    assert sorted(handled.get(timeout=20) for _ in range(20)) == list(range(20))
    # The next one takes over at once, because it learns that the first has left.
    gone: queue.SimpleQueue[int] = queue.SimpleQueue()
    client.subscribe(lambda session_id, registration_id: gone.put(session_id), ON_UNREGISTER)
    assert processes[0].client.peer is not None
    session_id = processes[0].client.peer.session_id
    processes[0].stop()
    assert gone.get(timeout=20) == session_id
    client.publish("com.example.bought", 20)
    assert handled.get(timeout=20) == 20
    assert not [line for line in caplog.messages if "not_authorized" in line]


def test_nothing_more(make: t.Callable[..., FlaskWAMP]) -> None:
    app, till = join(make(**SHOP)), join(make(**TILL))
    for wamp, uri in (
        (app, "wamp.session.kill_all"),
        (app, "wamp.registration.remove_callee"),
        (till, LOOKUP),
        (till, LIST_CALLEES),
    ):
        with pytest.raises(ApplicationError, match="not_authorized"):
            wamp.client.call(uri, "com.example.add")
