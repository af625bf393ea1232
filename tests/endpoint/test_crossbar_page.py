"""The configuration of Crossbar.io in docs/logins.rst: it works as the page says."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

from flask_wamp.crossbar import free_port
from flask_wamp.testing import MakeRouter
from tests.support.browser import Refused
from tests.support.served import Served

from .conftest import ready
from .visitor import Visitor

pytest.importorskip("flask_login")

pytestmark = [pytest.mark.slow, pytest.mark.router]

PAGE = Path(__file__).parents[2] / "docs" / "logins.rst"
COMMAND = ["flask", "--app", "club", "run", "-p", "{port}"]


def block(name: str) -> str:
    tree = publish_doctree(PAGE.read_text(encoding="utf-8"))
    (found,) = (b for b in tree.findall(nodes.literal_block) if name in b["names"])
    return found.astext()


class Config(t.NamedTuple):
    """Stands in for ``app``, whose configuration the page sets."""

    config: dict[str, t.Any]


@pytest.fixture
def club(make_wamp_router: MakeRouter, tmp_path: Path, socket: Path) -> t.Iterator[Served]:
    """The club, with the page's configuration of its router except for the addresses."""
    config = json.loads(block("config.json").replace("com.shop", "com.club"))
    app, browsers = config["workers"][0]["transports"]
    app["endpoint"]["path"] = str(socket)
    port = browsers["endpoint"]["port"] = free_port()
    browsers["endpoint"]["interface"] = "127.0.0.1"
    url = f"ws://127.0.0.1:{port}/ws"
    make_wamp_router([f"unix://{socket}", url], config=config)
    configured: dict[str, t.Any] = {}
    exec(block("app.py"), {"app": Config(configured)})
    configured |= {
        "WAMP_ROUTER_URL": f"unix://{socket}",
        "WAMP_ROUTER_LISTEN": [url],
        "WAMP_URI_PREFIX": "com.club",
        "ROLE": "user",
    }
    environ = {
        f"FLASK_{key}": value if isinstance(value, str) else json.dumps(value)
        for key, value in configured.items()
    }
    with Served(COMMAND, "", tmp_path / "server.log", **environ) as server:
        ready(server)
        yield server


def test_members_and_others(club: Served) -> None:
    ann, visitor = Visitor(club.port, "ann"), Visitor(club.port)
    with ann.join_router() as member, visitor.join_router() as unknown:
        assert (member.authid, member.authrole) == ("ann", "user")
        assert unknown.authrole == "anonymous"
        assert member.call("com.club.order", "tea") == "tea"
        assert member.call("com.club.whoami")["authid"] == "ann"
        assert unknown.call("com.club.whoami")["authid"] == unknown.authid
        with pytest.raises(Refused, match="not_authorized"):
            unknown.call("com.club.order", "tea")
        ann.get("/logout")
        assert member.ends() == "wamp.close.logout"
