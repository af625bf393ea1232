"""The tutorial in ``docs/testing.rst``: every test in it is run."""

from __future__ import annotations

import os
import subprocess
import sys
import types
import unittest
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "testing.rst"
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

#: The snippets that a reader writes into each file, and the packages that the page says to install for it.
FILES = {
    "test_votes.py": ([name for name in TUTORIAL[1:] if name not in DATABASE], []),
    "test_database.py": (DATABASE, ["flask_sqlalchemy"]),
    "test_report.py": (["test_report"], ["time_machine"]),
    "test_shop.py": (["test_shop.py"], []),
}


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """All snippets run in one module, with the name ``shop``."""
    module = types.ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", module)
    monkeypatch.setitem(sys.modules, "test_votes", module)
    return module


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_the_files_of_a_reader(name: str, tmp_path: Path) -> None:
    """Each file, written as the page says, passes without the packages of the other files."""
    found = snippets()
    for file, (names, packages) in FILES.items():
        (tmp_path / file).write_text("\n".join(found[each] for each in names))
        if file == name:
            for package in packages:
                pytest.importorskip(package)
                assert f"pip install {package.replace('_', '-')}" in PAGE.read_text()
    (tmp_path / "shop.py").write_text(found["shop.py"])
    # As in setup.cfg: wampy's plugin does not import, and pytest-asyncio warns.
    without = ["-p", "no:pytest_wampy", "-p", "no:asyncio", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", "-q", *without, name]
    environ = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed in " in done.stdout


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
