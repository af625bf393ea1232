"""``docs/interop.rst`` says what :mod:`.matrix` declares, which ``test_interop`` verifies."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.core import publish_doctree

from .features import FEATURES
from .matrix import KNOWN, TRANSPORTS, cells, known
from .table import DASH, PAGE, render, without_versions


def test_the_page_is_what_is_known() -> None:
    page = render({cell: known(cell) for cell in cells()}, {})
    assert without_versions(PAGE.read_text()) == without_versions(page), (
        "run `tox -e interop -- --write-interop`"
    )


def test_the_tables_show_as_many_combinations_as_the_page_says() -> None:
    page = PAGE.read_text()
    works = total = 0
    for table in publish_doctree(page, str(PAGE)).findall(nodes.table):
        head, *rows = ([cell.astext() for cell in row] for row in table.findall(nodes.row))
        if len(head) == 1 + len(TRANSPORTS):
            for row in rows:
                counts = [shown(*pair) for pair in zip(head[1:], row[1:], strict=True)]
                works += sum(works for works, _ in counts)
                total += sum(tried for _, tried in counts)
    assert f"{works} of {total} combinations work" in page


def shown(peer: str, text: str) -> tuple[int, int]:
    """How many combinations a cell shows to work, and how many to have been tried."""
    if text == DASH:
        return 0, 0
    over = re.search(r"\((.*)\)", text)
    tried = over.group(1).split(", ") if over else list(TRANSPORTS[peer])
    if text.startswith("no "):
        return 0, len(tried)
    fails = [name for part in re.findall(r"not ([^;]+?) \d+", text) for name in part.split(", ")]
    assert set(fails) <= set(tried) <= set(TRANSPORTS[peer])
    return len(tried) - len(fails), len(tried)


def test_what_is_known_is_of_the_matrix() -> None:
    for entry in KNOWN:
        assert set(entry.features) <= set(FEATURES), entry
        assert set(entry.transports) <= set(TRANSPORTS[entry.peer]), entry


def test_the_page_is_valid() -> None:
    settings = {"report_level": 2, "halt_level": 2}
    publish_doctree(PAGE.read_text(), str(PAGE), settings_overrides=settings)
