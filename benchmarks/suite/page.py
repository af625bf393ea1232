"""docs/benchmarks.rst: parts that are measured alone replace only their own sections."""

from __future__ import annotations

import re
import typing as t

from .results import TARGETS_HEADER, table

Sections = t.Mapping[str, str]
"""Texts by title, in order."""

TARGETS = "Targets"
NOT_MEASURED = "Not measured"

_TITLE = re.compile(r"^(.+)\n-{3,}\n\n", re.MULTILINE)


def render(intro: str, sections: Sections) -> str:
    """The text of the page, without its title."""
    parts = [f"{title}\n{'-' * len(title)}\n\n{text}" for title, text in sections.items()]
    return "\n\n".join([intro, *parts]) + "\n"


def split(text: str) -> tuple[str, dict[str, str]]:
    """The opposite of :func:`render`."""
    intro, *rest = _TITLE.split(text)
    return intro.strip(), {
        title: body.strip() for title, body in zip(rest[::2], rest[1::2], strict=True)
    }


def merged(page: str, sections: Sections, titles: t.Sequence[str]) -> str:
    """Put the sections of some parts into a page.

    :param titles: Those of all parts, in order.
    """
    intro, others = split(page)
    found = {**others, **sections}
    if TARGETS in others and TARGETS in sections:
        found[TARGETS] = _newer_rows(others[TARGETS], sections[TARGETS])
    if NOT_MEASURED in others and NOT_MEASURED in sections:
        lines = [*others[NOT_MEASURED].splitlines(), *sections[NOT_MEASURED].splitlines()]
        found[NOT_MEASURED] = "\n".join(dict.fromkeys(lines))
    order = (TARGETS, *titles, NOT_MEASURED)
    return render(intro, {title: found[title] for title in order if title in found})


def _newer_rows(old: str, new: str) -> str:
    """Merge the rows of two tables of targets. New rows replace old ones."""
    rows = {tuple(row[:2]): row for row in (*_rows(old), *_rows(new))}
    return table(TARGETS_HEADER, list(rows.values()))


def _rows(text: str) -> list[list[str]]:
    rule, _, _, *lines, _ = text.splitlines()
    spans = [match.span() for match in re.finditer("=+", rule)]
    return [[line[start:stop].strip() for start, stop in spans] for line in lines]
