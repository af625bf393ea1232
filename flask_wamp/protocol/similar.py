"""Hints for error messages: names that resemble one that does not exist, and short lists."""

from __future__ import annotations

import typing as t

SHOWN = 8
"""The number of items that a message lists."""


def did_you_mean(name: str, known: t.Iterable[str], *, least: float = 0.7, most: int = 3) -> str:
    """Return ``"; did you mean x?"``, or ``""`` if nothing resembles the name.

    :param least: How similar a known name must be, from 0 to 1.
    :param most: The number of names to show.
    """
    ratios = {each: _resemblance(name, each) for each in set(known) - {name}}
    close = sorted(
        (each for each in ratios if ratios[each] >= least), key=lambda each: -ratios[each]
    )
    return f"; did you mean {' or '.join(close[:most])}?" if close else ""


def _resemblance(one: str, other: str) -> float:
    """Compare two URIs without their common prefix, because most URIs of an app begin alike."""
    import difflib  # only errors need it

    parts, others = one.split("."), other.split(".")
    while len(parts) > 1 and len(others) > 1 and parts[0] == others[0]:
        del parts[0], others[0]
    return difflib.SequenceMatcher(None, ".".join(parts), ".".join(others)).ratio()


def listed(items: t.Sequence[object], nothing: str = "nothing") -> str:
    """Return the last :data:`SHOWN` items of a list as text."""
    if not items:
        return nothing
    shown = ", ".join(str(item) for item in items[-SHOWN:])
    more = len(items) - SHOWN
    return f"{shown} (and {more} before)" if more > 0 else shown
