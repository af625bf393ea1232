"""``client.js`` in a real browser, against the endpoint of an app."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.support.served import APPS

from .conftest import EmbeddedRouter, Example, Page

pytestmark = [pytest.mark.browser]

Window = t.Callable[[str], Page]


@pytest.mark.parametrize(
    ("login", "where"),
    [("/page/login?next=secret", "/page/login"), ("http://localhost:9/login", "another site")],
    ids=["here", "elsewhere"],
)
def test_an_app_that_redirects_to_a_login(
    window: Window, embedded_router: EmbeddedRouter, tmp_path: Path, login: str, where: str
) -> None:
    app, log = str(APPS / "pages.py"), tmp_path / "app.log"
    with Example(app, embedded_router, log, FLASK_LOGIN=login) as served:
        page = window(f"{served.url}/page/one")
        page.run(
            """
            const { connect } = await import("/wamp/client.js");
            connect("/wamp").catch((error) => (window.error = error));
            """
        )
        page.wait(lambda: page.run("return Boolean(window.error);"), "connect did not reject")
        assert page.run("return error.message;") == f"POST /wamp/session was redirected to {where}"
        assert page.run("return error.uri;") == "wamp.error.not_authorized"


def test_all_cases(window: Window, embedded_router: EmbeddedRouter, tmp_path: Path) -> None:
    app = str(APPS / "clientjs.py")
    with Example(app, embedded_router, tmp_path / "app.log") as served:
        page = window(served.url)
        outcome: dict[str, str] = {}

        def is_done() -> bool:
            outcome.update(page.run("return window.outcome;") or {})
            return bool(outcome)

        page.wait(is_done, "the cases did not end")
    assert len(outcome) >= 18
    assert {name: why for name, why in outcome.items() if why != "ok"} == {}
