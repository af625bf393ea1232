"""``docs/interop.rst`` matches :mod:`.matrix`, which ``test_interop`` verifies."""

from __future__ import annotations

import collections
import re

from docutils import nodes
from docutils.core import publish_doctree

from .features import FEATURES
from .matrix import KNOWN, ROUTERS, TRANSPORTS, cells, known
from .names import BUILT_IN
from .table import DASH, PAGE, render, without_versions


def test_the_page_matches_the_data() -> None:
    page = render({cell: known(cell) for cell in cells()}, {})
    assert without_versions(PAGE.read_text()) == without_versions(page), (
        "run `tox -e interop -- --write-interop`"
    )


def test_the_tables_have_as_many_combinations_as_the_page_says() -> None:
    page = PAGE.read_text()
    works = total = 0
    for table in publish_doctree(page, str(PAGE)).findall(nodes.table):
        head, *rows = ([cell.astext() for cell in row] for row in table.findall(nodes.row))
        if head[1:] == list(TRANSPORTS):
            for row in rows:
                counts = [shown(*pair) for pair in zip(head[1:], row[1:], strict=True)]
                works += sum(works for works, _ in counts)
                total += sum(tried for _, tried in counts)
    assert f"{works} of {total} combinations work" in page


def test_most_features_work_on_the_built_in_router() -> None:
    works = collections.Counter(cell.router for cell in cells() if known(cell) is None)
    assert works.most_common(1)[0][0] == BUILT_IN


def shown(peer: str, text: str) -> tuple[int, int]:
    """Return the numbers of working and of tried combinations in a cell."""
    texts = re.split("|".join(rf"(?:; )?{re.escape(router)}: " for router in ROUTERS[peer]), text)
    if len(texts) == 1:
        texts *= len(ROUTERS[peer])
    counts = [shown_on_one(peer, text) for text in texts if text]
    assert len(counts) == len(ROUTERS[peer])
    return sum(works for works, _ in counts), sum(tried for _, tried in counts)


def shown_on_one(peer: str, text: str) -> tuple[int, int]:
    if text == DASH:
        return 0, 0
    over = re.search(r"\((.*)\)", text)
    tried = over.group(1).split(", ") if over else list(TRANSPORTS[peer])
    if text.startswith("no "):
        return 0, len(tried)
    fails = [name for part in re.findall(r"not ([^;]+?) \d+", text) for name in part.split(", ")]
    assert set(fails) <= set(tried) <= set(TRANSPORTS[peer])
    return len(tried) - len(fails), len(tried)


def test_the_data_belongs_to_the_matrix() -> None:
    for entry in KNOWN:
        assert set(entry.features) <= set(FEATURES), entry
        assert set(entry.transports) <= set(TRANSPORTS[entry.peer]), entry
        assert set(entry.routers) <= set(ROUTERS[entry.peer]), entry


def test_the_page_is_valid() -> None:
    settings = {"report_level": 2, "halt_level": 2}
    publish_doctree(PAGE.read_text(), str(PAGE), settings_overrides=settings)
