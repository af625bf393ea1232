"""The documents: what they link to is there, and the comparison says nothing without showing it."""

from __future__ import annotations

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


@pytest.mark.parametrize("name", DOCUMENTS)
def test_what_a_document_links_to_is_there(name: str) -> None:
    links = [link["refuri"] for link in read(name).findall(nodes.reference) if "refuri" in link]
    files = [link.partition("#")[0] for link in links if "://" not in link and "@" not in link]
    assert not [file for file in files if not (ROOT / name).parent.joinpath(file).exists()]


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
