"""The page of the README, in a real browser."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from .conftest import ROOT, EmbeddedRouter, Example, Page

pytestmark = [pytest.mark.browser]


def snippet(name: str) -> str:
    readme = (ROOT / "README.rst").read_text(encoding="utf-8")
    found = re.search(rf"    :name: {re.escape(name)}\n\n((?:    .*\n|\n)+)", readme)
    assert found is not None
    return re.sub(r"^    ", "", found.group(1), flags=re.M)


def test_the_page(
    window: t.Callable[[str], Page], embedded_router: EmbeddedRouter, tmp_path: Path
) -> None:
    (tmp_path / "static").mkdir()
    for name in ("app.py", "static/index.html"):
        (tmp_path / name).write_text(snippet(name))
    with Example(str(tmp_path / "app.py"), embedded_router, tmp_path / "app.log") as served:
        page = window(f"{served.url}/static/index.html")

        def shown() -> str:
            return str(page.run("return document.getElementById('news').innerText;"))

        lines = ["1 + 2 = 3", "Ada says hello"]
        page.wait(lambda: shown().splitlines() == lines, "the page does not show what it should")
