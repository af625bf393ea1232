"""The snippets of docs/browsers.rst, in a real browser."""

from __future__ import annotations

import re
import typing as t
from pathlib import Path

import pytest

from .conftest import ROOT, EmbeddedRouter, Example, Page

pytestmark = [pytest.mark.browser]

PAGE = ROOT / "docs" / "browsers.rst"


def snippets(language: str) -> list[str]:
    """The snippets of the page in one language."""
    found = re.findall(
        rf"\.\. code-block:: {language}\n(?:    :name: \S+\n)?\n((?:    .*\n|\n)+)",
        PAGE.read_text(encoding="utf-8"),
    )
    return [re.sub(r"^    ", "", text, flags=re.M) for text in found]


def test_the_snippets_of_the_page(
    window: t.Callable[[str], Page], embedded_router: EmbeddedRouter, tmp_path: Path
) -> None:
    app, *others = snippets("python")
    for each in others:
        compile(each, str(PAGE), "exec")
    (tmp_path / "app.py").write_text(app)
    script = "\n".join(snippets("javascript"))
    # A function cannot contain import statements.
    script = re.sub(r"import (\{.*?\}) from (\S+);", r"const \1 = await import(\2);", script)
    with Example(str(tmp_path / "app.py"), embedded_router, tmp_path / "app.log") as served:
        page = window(f"{served.url}/wamp/client.d.ts")  # any address of this origin
        page.wait(
            lambda: (
                page.run(
                    'const { connect } = await import("/wamp/client.js");'
                    'const wamp = await connect("/wamp");'
                    'const ok = await wamp.call("com.shop.add", [0, 0]).catch(() => null);'
                    "wamp.close(); return ok;"
                )
                == 0
            ),
            "the app does not serve",
        )
        got = page.run(
            f"""{script}
            while (other.state !== "joined" || !received.length)
              await new Promise((resolve) => setTimeout(resolve, 10));
            await stop();
            await unregister();
            wamp.close();
            other.close();
            return {{ sum, same, three, left, message, numbers, received, answer,
                      reversed: [...reversed], states, state: wamp.state }};"""
        )
    message = got.pop("message")
    assert message.startswith("com.shop.add: wamp.error.invalid_argument (1: Input should be ")
    assert got == {
        "sum": 3,
        "same": 3,
        "three": 3,
        "left": 0,
        "numbers": [0, 1, 2],
        "received": [["com.shop.news", "tea"]],
        "answer": True,
        "reversed": [3, 2, 1],
        "states": ["joining", "joined", "closed"],
        "state": "closed",
    }
