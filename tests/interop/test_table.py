"""``docs/interop.rst``: what it says is what is declared, and that is verified by ``test_interop``."""

from __future__ import annotations

from docutils.core import publish_doctree

from .features import FEATURES
from .matrix import KNOWN, TRANSPORTS, cells, known
from .table import PAGE, render, without_versions


def test_the_page_is_what_is_known() -> None:
    page = render({cell: known(cell) for cell in cells()}, {})
    assert without_versions(PAGE.read_text()) == without_versions(page), (
        "run `tox -e interop -- --write-interop`"
    )


def test_what_is_known_is_of_the_matrix() -> None:
    for entry in KNOWN:
        assert set(entry.features) <= set(FEATURES), entry
        assert set(entry.transports) <= set(TRANSPORTS[entry.peer]), entry


def test_the_page_is_valid() -> None:
    settings = {"report_level": 2, "halt_level": 2}
    publish_doctree(PAGE.read_text(), str(PAGE), settings_overrides=settings)
