"""The tutorial in ``docs/testing.rst``: every test in it is run."""

from __future__ import annotations

import sys
import types
import unittest
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

PAGE = Path(__file__).parents[2] / "docs" / "testing.rst"
TUTORIAL = (
    "shop.py",
    "test_total",
    "test_votes",
    "test_average",
    "test_buy",
    "test_names",
    "test_rolled_back",
    "test_rights",
)


def snippets() -> dict[str, str]:
    tree = publish_doctree(PAGE.read_text(), str(PAGE), settings_overrides={"report_level": 2})
    found = (block for block in tree.findall(nodes.literal_block) if "python" in block["classes"])
    return {block["names"][0]: block.astext() for block in found}


#: Snippets of the page that separate tests run.
OTHERS = ("test_shop.py", "test_report")
DATABASE = ("test_names", "test_rolled_back")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """All snippets run in one module, with the name ``shop``."""
    module = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    return module


@pytest.mark.parametrize("name", TUTORIAL[1:])
def test_the_tutorial(name: str, module: types.ModuleType) -> None:
    if name in DATABASE:
        pytest.importorskip("flask_sqlalchemy")
    found = snippets()
    assert tuple(found)[: len(TUTORIAL)] == TUTORIAL
    for each in TUTORIAL[: TUTORIAL.index(name) + 1]:
        if name in DATABASE or each not in DATABASE:
            exec(compile(found[each], f"{PAGE}:{each}", "exec"), vars(module))
    getattr(module, name)()


def test_the_tests_of_unittest(module: types.ModuleType) -> None:
    found = snippets()
    for each in ("shop.py", "test_shop.py"):
        exec(compile(found[each], f"{PAGE}:{each}", "exec"), vars(module))
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(module.ShopTest)
    result = unittest.TestResult()
    tests.run(result)
    assert (result.testsRun, result.failures, result.errors) == (2, [], [])


def test_the_report_of_frozen_time(module: types.ModuleType) -> None:
    pytest.importorskip("time_machine")
    pytest.importorskip("schedule")
    found = snippets()
    for each in ("shop.py", "test_total", "test_report"):
        exec(compile(found[each], f"{PAGE}:{each}", "exec"), vars(module))
    module.test_report()


def test_the_texts_of_errors_are_those_in_the_tutorial(module: types.ModuleType) -> None:
    found = snippets()
    for each in ("shop.py", "test_total"):
        exec(compile(found[each], f"{PAGE}:{each}", "exec"), vars(module))
    app = module.make_app()
    with app.app_context(), module.wamp.test_client() as peer:
        inbox = peer.subscribe("com.shop.vote")
        app.test_client().post("/vote/tea")
        with pytest.raises(AssertionError) as caught:
            inbox.get(timeout=0)
    quoted = " ".join(PAGE.read_text().split())
    assert str(caught.value).replace("0 s", "1 s") in quoted
