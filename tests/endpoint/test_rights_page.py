"""The snippets of docs/rights.rst: an app, and the rights of its browsers."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.app_state import state_of
from flask_wamp.protocol.rights import Policy
from tests.conftest import eventually
from tests.support.browser import Browser, Refused

from .conftest import Serve

PAGE = Path(__file__).parents[2] / "docs" / "rights.rst"


def snippets() -> str:
    """The Python of the page."""
    tree = publish_doctree(PAGE.read_text(encoding="utf-8"))
    blocks = [b for b in tree.findall(nodes.literal_block) if "python" in b["classes"]]
    assert [name for block in blocks for name in block["names"]] == ["app.py", "allow.py"]
    return "\n".join(block.astext() for block in blocks)


@pytest.fixture
def policy(monkeypatch: pytest.MonkeyPatch) -> Policy:
    monkeypatch.setenv("FLASK_WAMP_ROUTER_URL", "memory:")
    module: dict[str, t.Any] = {"__name__": "page"}
    exec(compile(snippets(), PAGE.name, "exec"), module)
    with module["app"].app_context():
        return t.cast(Policy, state_of(module["app"]).rights())


@pytest.mark.parametrize(
    ("role", "action", "uri", "match", "allowed"),
    [
        ("anonymous", "call", "com.shop.price", "exact", True),
        ("user", "call", "com.shop.price", "exact", True),
        ("anonymous", "call", "com.shop.order", "exact", False),
        ("user", "call", "com.shop.order", "exact", True),
        ("admin", "call", "com.shop.restock", "exact", False),
        ("anonymous", "publish", "com.shop.typing", "exact", False),
        ("user", "publish", "com.shop.typing", "exact", True),
        ("admin", "call", "com.shop.reports.sales", "exact", True),
        ("user", "call", "com.shop.reports.sales", "exact", False),
        ("anonymous", "call", "com.shop.reports.opening_hours", "exact", True),
        ("anonymous", "subscribe", "com.shop.news", "exact", True),
        ("anonymous", "subscribe", "com.shop.news", "prefix", False),
        ("user", "subscribe", "com.shop.chat.", "prefix", True),
        ("user", "subscribe", "com.shop.user.7.inbox", "exact", True),
        ("user", "subscribe", "com.shop.user.8.inbox", "exact", False),
        ("user", "publish", "com.shop.chat.tea.said", "exact", True),
        ("user", "publish", "com.shop.chat.tea.green.said", "exact", False),
        ("admin", "call", "com.warehouse.count", "exact", True),
        ("admin", "register", "com.shop.printer.7", "exact", True),
        ("admin", "register", "com.shop.printer.8", "exact", False),
        ("admin", "call", "wamp.session.count", "exact", False),
    ],
)
def test_the_rights_of_the_page(
    policy: Policy, role: str, action: str, uri: str, match: str, allowed: bool
) -> None:
    assert (policy.find("7", role, action, uri, match) is not None) is allowed


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["0", "1"])
def test_browsers_have_these_rights_only(serve: Serve, tmp_path: Path, debug: str) -> None:
    path = tmp_path / "page.py"
    path.write_text(snippets())
    command = ("flask", "--app", str(path), "run", "--no-reload", "--port", "{port}")
    with serve(*command, FLASK_DEBUG=debug) as server:
        eventually(lambda: server.get("/wamp/session", "POST"), 30)
        with Browser(f"ws://127.0.0.1:{server.port}/wamp") as browser:

            def price() -> bool:
                try:
                    return bool(browser.call("com.shop.price", "tea") == 3)
                except Refused:  # the app has not joined yet
                    return False

            eventually(price, 30)
            browser.subscribe("com.shop.news")
            line = "Add wamp.allow('anonymous', call='com.shop.restock')"
            with pytest.raises(Refused, match="not_authorized") as refused:
                browser.call("com.shop.restock", "tea")
            assert (line in str(refused.value)) is (debug == "1")
            if debug == "0":
                with pytest.raises(Refused) as other:
                    browser.call("com.shop.nothing")
                assert str(other.value) == str(refused.value)
            for topic, options in (
                ("com.shop.typing", {}),
                ("com.shop.news", {"match": "prefix"}),
                ("", {"match": "prefix"}),
            ):
                with pytest.raises(Refused):
                    browser.subscribe(topic, **options)


def test_an_invalid_role_or_uri_is_an_error(make_app: t.Callable[..., Flask]) -> None:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL="memory:", WAMP_AUTOSTART=False))
    with pytest.raises(ValueError, match="a whole part between two dots"):
        wamp.allow("user", subscribe=".user-{authid}.inbox")
    with pytest.raises(ValueError, match="role"):
        wamp.allow([5], call=".a")  # type: ignore[list-item]
