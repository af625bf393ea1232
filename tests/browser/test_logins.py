"""A page of a user who logs in and out, with ``client.js``, on both routers."""

from __future__ import annotations

import tempfile
import typing as t
from pathlib import Path

import pytest

from flask_wamp.testing import MakeRouter
from tests.endpoint.crossbar_node import AskingNode
from tests.support.served import Served

from .conftest import EmbeddedRouter, Page

pytest.importorskip("flask_login")

pytestmark = [pytest.mark.browser]

Window = t.Callable[[str], Page]

COMMAND = ["flask", "--app", "club", "run", "-p", "{port}"]


def embedded(request: pytest.FixtureRequest) -> dict[str, str]:
    router: EmbeddedRouter = request.getfixturevalue("embedded_router")
    return {"FLASK_WAMP_ROUTER_URL": router.url}


def crossbar(request: pytest.FixtureRequest) -> dict[str, str]:
    make: MakeRouter = request.getfixturevalue("make_wamp_router")
    folder = tempfile.TemporaryDirectory(prefix="wamp-")
    request.addfinalizer(folder.cleanup)
    node = AskingNode(Path(folder.name, "backend.sock"), ["member", "anonymous"])
    node.auth["anonymous"] = {"type": "static", "role": "anonymous"}
    node.origins[:] = ["*"]
    make([node.app_url, node.browsers_url], config=node.config)
    return node.environ


@pytest.fixture(params=[embedded, crossbar], ids=["embedded", "crossbar"])
def club(request: pytest.FixtureRequest, tmp_path: Path) -> t.Iterator[Served]:
    environ = request.param(request)
    with Served(COMMAND, "", tmp_path / "server.log", **environ) as server:
        server.get("/ready")
        yield server


def test_a_page_follows_the_login(window: Window, club: Served) -> None:
    page = window(f"http://127.0.0.1:{club.port}/ready")
    seen = page.run(
        """
        const { connect } = await import("/wamp/client.js");
        const joined = (wamp) => new Promise((resolve) =>
          wamp.onState((state) => state === "joined" && resolve(wamp.authrole)));
        const seen = {};
        await fetch("/login/ann");
        const wamp = await connect("/wamp");
        seen.first = [wamp.authid, wamp.authrole];
        seen.order = await wamp.call("com.club.order", ["tea"]);
        await wamp.subscribe("com.club.user.ann.inbox", (args) => (seen.told = args[0]));
        await fetch("/tell/ann/hello");
        seen.secret = await wamp.call("com.club.secret").catch((error) => error.uri);
        await wamp.subscribe("com.club.user.bob.inbox", () => {}).catch((error) => (seen.other = error.uri));
        const again = joined(wamp);
        await fetch("/logout");
        seen.then = await again;
        seen.after = await wamp.call("com.club.order", ["tea"]).catch((error) => error.uri);
        await fetch("/login/bob");
        wamp.close();
        const other = await connect("/wamp");
        seen.last = [other.authid, await other.call("com.club.order", ["tea"])];
        return seen;
        """
    )
    assert seen == {
        "first": ["ann", "member"],
        "order": "tea",
        "told": "hello",
        "secret": "wamp.error.not_authorized",
        "other": "wamp.error.not_authorized",
        "then": "anonymous",
        "after": "wamp.error.not_authorized",
        "last": ["bob", "tea"],
    }
