"""``client.js`` in a real browser, against the endpoint of an app."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.support.served import APPS

from .conftest import EmbeddedRouter, Example, Page

pytestmark = [pytest.mark.browser]

Window = t.Callable[[str], Page]


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
