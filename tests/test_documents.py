"""The documents: their links exist, and every claim of the comparison links to code."""

from __future__ import annotations

import ast
import functools
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from docutils import nodes
from docutils.core import publish_doctree

ROOT = Path(__file__).parents[1]

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("README.rst", "SECURITY.rst", "docs/*.rst", "examples/*/README.rst")
    for path in ROOT.glob(pattern)
)


def read(name: str) -> nodes.document:
    text = (ROOT / name).read_text(encoding="utf-8")
    settings = {"report_level": 2, "halt_level": 2, "file_insertion_enabled": False}
    return publish_doctree(text, source_path=str(ROOT / name), settings_overrides=settings)


@functools.cache
def functions(path: Path) -> set[str]:
    """The functions of a module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_the_targets_of_links_exist(name: str) -> None:
    links = [link["refuri"] for link in read(name).findall(nodes.reference) if "refuri" in link]
    here = [link.partition("#") for link in links if "://" not in link and "@" not in link]
    folder = (ROOT / name).parent
    assert not [file for file, _, _ in here if not (folder / file).exists()]
    tests = [(folder / file, test) for file, _, test in here if test.startswith("test_")]
    assert not [(file, test) for file, test in tests if test not in functions(file)]


def test_each_cell_of_the_comparison_shows_what_it_says() -> None:
    head, *rows = read("docs/comparison.rst").findall(nodes.row)
    us, *others = (cell.astext() for cell in head.children[1:])
    assert us == "Flask-WAMP"
    assert len(others) == 5
    assert len(rows) > 20
    for row in rows:
        feature, ours, *theirs = row.children
        targets = [[link["refuri"] for link in cell.findall(nodes.reference)] for cell in theirs]
        assert all(len(links) == 1 and links[0].startswith("https://") for links in targets), (
            feature
        )
        (test,) = (link["refuri"] for link in ours.findall(nodes.reference))
        assert test.startswith("../tests/"), feature


def test_each_promise_about_security_links_to_a_test() -> None:
    (section,) = (
        section
        for section in read("SECURITY.rst").findall(nodes.section)
        if section.children[0].astext() == "What the library promises"
    )
    promises = 0
    for points in section.findall(nodes.bullet_list):
        before = points.parent.children[points.parent.index(points) - 1].astext()
        if before.startswith("What this does not cover"):
            continue
        for point in points.children:
            links = [link["refuri"] for link in point.findall(nodes.reference)]
            assert any(link.startswith("tests/") and "#test_" in link for link in links), (
                point.astext()
            )
            promises += 1
    assert promises > 20


def test_only_tasks_use_pickle() -> None:
    package = ROOT / "flask_wamp"
    users = {
        path.relative_to(package).parts[0]
        for path in package.rglob("*.py")
        if {"pickle", "marshal", "shelve", "dill"} & imported(path)
    }
    assert users == {"tasks"}


def imported(path: Path) -> set[str]:
    """The modules that a file imports, by their first name."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def literals(name: str) -> set[str]:
    """Return the code blocks of a document."""
    return {literal.astext() for literal in read(name).findall(nodes.literal)}


def test_files_named_in_the_architecture_exist() -> None:
    files = {
        text for text in literals("docs/architecture.rst") if re.fullmatch(r"\w+/\w+\.py", text)
    }
    assert len(files) > 20
    package = ROOT / "flask_wamp"
    missing = [file for file in files if not ((package / file).exists() or (ROOT / file).exists())]
    assert not missing


def test_paths_have_the_lengths_given_in_the_architecture() -> None:
    """The tolerance is a tenth, because some steps depend on which thread is first."""
    text = (ROOT / "docs/architecture.rst").read_text(encoding="utf-8")
    steps = [int(number) for number in re.findall(r"^.*: (\d+) steps$", text, re.MULTILINE)]
    command = [sys.executable, "-m", "benchmarks.ways", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    counted = json.loads(done.stdout)
    said = dict(zip(("incoming", "outgoing", "start", "stop"), steps, strict=True))
    assert said["incoming"] <= 40
    assert {way: n for way, n in counted.items() if n > said[way] * 1.1} == {}
