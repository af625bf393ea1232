"""``docs/interop.rst``, made of what the cells came to."""

from __future__ import annotations

import itertools
import typing as t
from pathlib import Path

from .features import FEATURES
from .features.scene import Feature
from .matrix import MIXED, SOURCES, TRANSPORTS, Cell, Known, Results, is_tried

PAGE = Path(__file__).parents[2] / "docs" / "interop.rst"

HEAD = """\
Interoperability
================

The app on one side, a client that others wrote on the other: what works between them, over each transport
that both have. ``tox -e interop`` runs every cell on a real router, and ``tox -e interop -- --write-interop``
makes this page of what it finds. A cell that says no is run as well, and has to fail as its note says.

{works} cells of {all} work. ``yes`` means over all transports of the peer; where some fail, they are named.
A dash stands for what was not tried.

Peers
-----

{peers}

Between the app and the first four stands Crossbar.io; in the last column, the router of xconn stands between
the app and autobahn-python. Both sides use the same transport and serializer, but for {mixed}: there
the peer uses the one and the app the other, as browsers and servers do. autobahn-python runs on asyncio; its
protocol code is the same on Twisted.

{versions}
"""

VERSIONS = "Run with "
"""How the sentence begins that no test compares."""

NOTES = """\
Notes
-----

What a peer *lacks* it does not claim to have; the rest are its *faults*.
"""


def render(results: Results, versions: dict[str, str]) -> str:
    """The page."""
    notes: dict[Known, int] = {}
    sections = [
        _section(section, list(features), results, notes)
        for section, features in itertools.groupby(FEATURES.values(), lambda f: f.section)
    ]
    named = ", ".join(f"{name} {version}" for name, version in versions.items())
    head = HEAD.format(
        works=sum(known is None for known in results.values()),
        all=len(results),
        peers=_table(["", "transports and serializers"], _peers()),
        mixed=f"``{MIXED}``",
        versions=f"{VERSIONS}{named}.",
    )
    return "\n".join([head, *sections, NOTES, *map(_note, notes, notes.values())])


def without_versions(page: str) -> list[str]:
    """The lines that do not depend on what is installed."""
    return [line for line in page.splitlines() if not line.startswith(VERSIONS)]


def _peers() -> list[list[str]]:
    return [
        [f"`{peer} <{SOURCES[peer]}>`_" if peer in SOURCES else peer, ", ".join(transports)]
        for peer, transports in TRANSPORTS.items()
    ]


def _section(title: str, features: list[Feature], results: Results, notes: dict[Known, int]) -> str:
    rows = [
        [feature.title, *(_cell(feature.name, peer, results, notes) for peer in TRANSPORTS)]
        for feature in features
    ]
    return f"{title}\n{'-' * len(title)}\n\n{_table(['', *TRANSPORTS], rows)}\n"


def _cell(name: str, peer: str, results: Results, notes: dict[Known, int]) -> str:
    tried = [
        cell for transport in TRANSPORTS[peer] if is_tried(cell := Cell(name, peer, transport))
    ]
    fails = {cell.transport: known for cell in tried if (known := results[cell])}
    if not fails:
        return "yes" if tried else "–"
    parts = []
    for known in dict.fromkeys(fails.values()):
        number = notes.setdefault(known, len(notes) + 1)
        where = [transport for transport, other in fails.items() if other is known]
        what = "no" if len(where) == len(tried) else f"not {', '.join(where)}"
        parts.append(f"{what} [{number}]_")
    return "; ".join(parts)


def _note(known: Known, number: int) -> str:
    return f".. [{number}] {known.peer} *{'lacks' if known.lacks else 'fault'}*: {known.reason}"


def _table(head: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    """A simple table; the first column is the row's name."""
    widths = [max(2, *map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    # In a simple table an empty first cell would join the row to the one above.
    lines = [[head[0] or "\\", *head[1:]], *rows]
    text = [
        "  ".join(c.ljust(max(w, 2)) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([rule, text[0], rule, *text[1:], rule])
