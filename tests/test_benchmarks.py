"""The page of benchmarks: measuring one part does not change the others. And the benchmark of rights."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import rights
from benchmarks.suite.page import merged, render, split
from benchmarks.suite.results import HEADER, TARGETS_HEADER, table

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.rst"


def page_of(**ours: str) -> str:
    """A page with two parts, and a row of targets for each."""
    rows = [[name, "others", "at most 1 x", value, "met"] for name, value in ours.items()]
    parts = {
        name: table(HEADER, [[name, "", "ours", value, "-", "-"]]) for name, value in ours.items()
    }
    return render("About.", {"Targets": table(TARGETS_HEADER, rows), **parts})


def test_splitting_and_joining_the_page_changes_nothing() -> None:
    text = PAGE.read_text().partition("==\n\n")[2]
    intro, sections = split(text)
    assert render(intro, sections) == text
    assert list(sections)[0] == "Targets"


def test_a_part_replaces_its_section_and_its_targets() -> None:
    _, new = split(page_of(calls="0.5 x"))
    assert merged(page_of(calls="0.9 x", events="0.8 x"), new, ["calls", "events"]) == page_of(
        calls="0.5 x", events="0.8 x"
    )


def test_a_new_part_is_inserted_at_its_place() -> None:
    _, new = split(page_of(events="0.5 x"))
    found = merged(page_of(calls="0.9 x", more="0.8 x"), new, ["calls", "events", "more"])
    assert list(split(found)[1]) == ["Targets", "calls", "events", "more"]


def test_a_missing_measurement_is_mentioned_once() -> None:
    old, new = {"Not measured": "-   a\n-   b"}, {"Not measured": "-   b\n-   c"}
    assert split(merged(render("", old), new, []))[1] == {"Not measured": "-   a\n-   b\n-   c"}


def test_the_cost_of_rights_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    rights.in_the_core(5)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(rights.POLICIES)
    assert all(line.endswith(" us") for line in lines)
