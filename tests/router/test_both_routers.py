"""``--router`` itself: the tests run on the chosen router, and list skipped tests."""

from __future__ import annotations

import json
import typing as t

import pytest
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from tests.support.nodes import Node
from tests.support.scripts import run

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter


def agent_of(url: str) -> str:
    """The agent that a router announces."""
    with connect(url, subprotocols=[Subprotocol("wamp.2.json")]) as raw:
        raw.send(json.dumps([1, "realm1", {"roles": {"caller": {}}}]))
        code, _, details = json.loads(raw.recv())
    assert code == 2
    return str(details.get("agent") or details["x_cb_node"])


@pytest.mark.router
def test_the_tests_run_on_the_chosen_router(
    wamp_router: DevRouter, historian: DevRouter, node: Node, on_crossbar: bool
) -> None:
    for url in (wamp_router.url, historian.url, node.auth_url, node.pinging_url):
        assert (agent_of(url) == "Flask-WAMP") is not on_crossbar


def test_skipped_tests_give_a_reason() -> None:
    module = "tests/router/test_bridge.py"
    done = run("-m", "pytest", "-p", "no:cacheprovider", "--co", "--router=embedded", module)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED
    assert "what only Crossbar.io has" in done.stdout
    assert "tests: an HTTP bridge" in done.stdout
