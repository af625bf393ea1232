"""``flask wamp status``."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.cli import wamp as commands
from flask_wamp.crossbar import free_port
from tests.support.peers import AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

MakeApp = t.Callable[..., Flask]


def declare(app: Flask) -> FlaskWAMP:
    wamp = FlaskWAMP(app)
    wamp.callee("com.example.add")(lambda a, b: a + b)
    wamp.callee("com.example.files", match="prefix")(lambda name: name)
    return wamp


@pytest.fixture
def another(make_app: MakeApp, wamp_router: DevRouter) -> Flask:
    """The app in another process, which does not serve."""
    app = make_app(WAMP_ROUTER_URL=wamp_router.rawsocket_url)
    declare(app)
    return app


def test_status_shows_the_number_of_callees(
    joined: tuple[Flask, FlaskWAMP], another: Flask, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    joins = peer.subscribe("wamp.session.on_join")
    wamp = joined[1]
    wamp.callee("com.example.add")(lambda a, b: a + b)
    wamp.callee("com.example.files", match="prefix")(lambda name: name)
    peer.register("com.example.add", options={"invoke": "roundrobin"})
    result = another.test_cli_runner().invoke(commands, ["status"])
    assert result.output.splitlines() == [
        f"router {wamp_router.rawsocket_url}, realm realm1",
        "     2 callees  com.example.add",
        "     1 callee   com.example.files",
    ]
    assert result.exit_code == 0
    joins.next()
    assert joins.is_quiet()
    assert not another.extensions["wamp"].client.joined


def test_a_procedure_without_callees_is_an_error(another: Flask, peer: AutobahnPeer) -> None:
    peer.register("com.example.add", options={"invoke": "roundrobin"})
    result = another.test_cli_runner().invoke(commands, ["status"])
    assert "     1 callee   com.example.add\n" in result.output
    assert "     0 callees  com.example.files\n" in result.output
    assert "Error: com.example.files has no callee\n" in result.output
    assert result.exit_code == 1


def test_a_missing_router_is_a_one_line_error(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    url = f"tcp://joe:secret@127.0.0.1:{free_port()}"
    app = make_app(WAMP_ROUTER_URL=url)
    declare(app)
    result = app.test_cli_runner().invoke(commands, ["status"])
    router, error = result.output.splitlines()
    assert router.endswith("realm realm1")
    assert error.startswith("Error: not joined to realm realm1 at tcp://127.0.0.1:")
    assert "refused" in error
    assert "secret" not in result.output
    assert result.exit_code == 1
    assert not caplog.records


def test_an_app_without_the_extension_is_a_one_line_error() -> None:
    result = Flask("bare").test_cli_runner().invoke(commands, ["status"])
    assert result.output == (
        "Error: this app has no FlaskWAMP. Create one: wamp = FlaskWAMP(app)\n"
    )
    assert result.exit_code == 1


def test_a_missing_realm_is_a_one_line_error(make_app: MakeApp, wamp_router: DevRouter) -> None:
    app = make_app(WAMP_ROUTER_URL=wamp_router.rawsocket_url, WAMP_REALM="nowhere")
    declare(app)
    result = app.test_cli_runner().invoke(commands, ["status"])
    _, error = result.output.splitlines()
    assert error.startswith("Error: not joined to realm nowhere at tcp://127.0.0.1:")
    assert "wamp.error.no_such_realm" in error
    assert result.exit_code == 1


def test_one_uri_with_several_matches_needs_callees_of_each(
    make_app: MakeApp, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    app = make_app(WAMP_ROUTER_URL=wamp_router.rawsocket_url)
    wamp = FlaskWAMP(app)
    for match in ("prefix", "exact"):
        wamp.callee("com.example.same", match=match)(lambda: None)
    for count, match in enumerate(["exact", "prefix"]):
        peer.register("com.example.same", options={"invoke": "roundrobin", "match": match})
        result = app.test_cli_runner().invoke(commands, ["status"])
        assert f"     {count} callee" in result.output
        assert result.exit_code == (not count)
