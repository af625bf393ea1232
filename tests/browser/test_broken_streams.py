"""A generator that raises while a browser reads its stream, as docs/streaming.rst says."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from .conftest import EmbeddedRouter, Example, Page

pytestmark = [pytest.mark.browser]

APP = """
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config["WAMP_URI_PREFIX"] = "com.example"
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)

@app.get("/page")
def page() -> str:
    return "page"

@app.get("/late")
@wamp.callee
def late():
    yield 1
    yield 2
    raise ValueError("after two items")

@app.get("/early")
@wamp.callee
def early():
    raise ValueError("before the first item")
    yield 1
"""


@pytest.fixture
def served(embedded_router: EmbeddedRouter, tmp_path: Path) -> t.Iterator[Example]:
    (tmp_path / "app.py").write_text(APP)
    with Example(str(tmp_path / "app.py"), embedded_router, tmp_path / "app.log") as served:
        yield served


def test_fetch_rejects_if_the_generator_raises(
    window: t.Callable[[str], Page], served: Example
) -> None:
    page = window(f"{served.url}/page")
    read = """
        const answer = await fetch("/%s");
        return [answer.status, await answer.text().then(() => "read", () => "rejected")];
    """
    assert page.run(read % "late") == [200, "rejected"]
    assert page.run(read % "early") == [500, "read"]


def test_event_source_begins_again_if_the_generator_raises(
    window: t.Callable[[str], Page], served: Example
) -> None:
    page = window(f"{served.url}/page")
    got = page.run(
        """
        const got = [], source = new EventSource("/late");
        source.onmessage = (event) => got.push(event.data);
        source.onerror = () => got.push(source.readyState === EventSource.CONNECTING);
        while (got.length < 6) await new Promise((resolve) => setTimeout(resolve, 10));
        source.close();
        return got;
        """
    )
    assert got == ["1", "2", True, "1", "2", True]
