"""``docs/interop.rst``, generated from the outcomes of the cells."""

from __future__ import annotations

import itertools
import typing as t
from pathlib import Path

from .features import FEATURES
from .features.scene import Feature
from .matrix import MIXED, ROUTERS, SOURCES, TRANSPORTS, Cell, Known, Results, is_tried
from .names import AUTOBAHN, XCONN_ROUTER

DASH = "–"

CLIENTS = [peer for peer in TRANSPORTS if peer != XCONN_ROUTER]

PAGE = Path(__file__).parents[2] / "docs" / "interop.rst"

HEAD = """\
Interoperability
================

This page shows which features work between a Flask-WAMP application and other WAMP clients, which the
tables call peers. Each feature is tried on real routers, over the transports that both sides have.

{works} of {all} combinations work. ``yes`` means that the feature works over all transports of the peer.
If it fails over some, the cell names these, and a note says why. If it was not tried over all transports,
the cell names in parentheses the transports that it was tried over. A dash means that it was not tried.
If the routers differ, the cell says what works on which.

``tox -e interop`` runs all combinations. A combination that is known to fail is run too, and has to fail
in the way that its note describes. ``tox -e interop -- --write-interop`` writes this page.

Peers
-----

{peers}

Both sides use the same transport and serializer, with one exception. In {mixed}, the
peer uses the first and the application the second, as browsers and servers do. autobahn-python runs on
asyncio. On Twisted it uses the same protocol code.

Routers
-------

Each client is tried on the `built-in router <router.rst>`_, which ``flask wamp router`` runs, and on
Crossbar.io. The last column of the tables below is about the router of xconn, with autobahn-python as
the client. This table shows how many combinations work on each router:

{routers}

The built-in router and Crossbar.io differ in one option that no cell shows. The built-in router reads
``options.timeout`` of a call in milliseconds, as the specification says, and Crossbar.io in seconds.

{versions}
"""

VERSIONS = "Run with "
"""The beginning of the sentence that tests do not compare."""

NOTES = """\
Notes
-----

*lacks*: the peer does not claim to have the feature. *fault*: it claims to, but the feature does not work.
"""


def render(results: Results, versions: dict[str, str]) -> str:
    """Return the page."""
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
        routers=_table(["", *CLIENTS, "all"], _routers(results)),
        mixed=f"``{MIXED}``",
        versions=f"{VERSIONS}{named}.",
    )
    return "\n".join([head, *sections, NOTES, *map(_note, notes, notes.values())])


def without_versions(page: str) -> list[str]:
    """Return the lines that do not depend on installed versions."""
    return [line for line in page.splitlines() if not line.startswith(VERSIONS)]


def _peers() -> list[list[str]]:
    return [
        [f"`{peer} <{SOURCES[peer]}>`_" if peer in SOURCES else peer, ", ".join(transports)]
        for peer, transports in TRANSPORTS.items()
    ]


def _routers(results: Results) -> list[list[str]]:
    """Return the number of working combinations, by router and client."""
    return [
        [
            router,
            *(_count(results, router, (client,)) for client in CLIENTS),
            _count(results, router, CLIENTS),
        ]
        for router in dict.fromkeys(itertools.chain(*ROUTERS.values()))
    ]


def _count(results: Results, router: str, clients: t.Collection[str]) -> str:
    if router == XCONN_ROUTER:
        clients = [XCONN_ROUTER] if AUTOBAHN in clients else []
    found = [results[cell] for cell in results if cell.router == router and cell.peer in clients]
    return f"{sum(known is None for known in found)} of {len(found)}" if found else DASH


def _section(title: str, features: list[Feature], results: Results, notes: dict[Known, int]) -> str:
    rows = [
        [feature.title, *(_cell(feature.name, peer, results, notes) for peer in TRANSPORTS)]
        for feature in features
    ]
    return f"{title}\n{'-' * len(title)}\n\n{_table(['', *TRANSPORTS], rows)}\n"


def _cell(name: str, peer: str, results: Results, notes: dict[Known, int]) -> str:
    """Return what works, on all routers of the peer or on each."""
    texts = {router: _text(name, peer, router, results, notes) for router in ROUTERS[peer]}
    first, *rest = texts.values()
    if all(text == first for text in rest):
        return first
    return "; ".join(f"{router}: {text}" for router, text in texts.items())


def _text(name: str, peer: str, router: str, results: Results, notes: dict[Known, int]) -> str:
    cells = (Cell(name, peer, router, transport) for transport in TRANSPORTS[peer])
    tried = [cell for cell in cells if is_tried(cell)]
    fails = {cell.transport: known for cell in tried if (known := results[cell])}
    if not tried:
        return DASH
    over = (
        "" if len(tried) == len(TRANSPORTS[peer]) else f" ({', '.join(c.transport for c in tried)})"
    )
    if not fails:
        return f"yes{over}"
    parts = []
    for known in dict.fromkeys(fails.values()):
        number = notes.setdefault(known, len(notes) + 1)
        where = [transport for transport, other in fails.items() if other is known]
        what = f"no{over}" if len(where) == len(tried) else f"not {', '.join(where)}"
        parts.append(f"{what} [{number}]_")
    return "; ".join(parts)


def _note(known: Known, number: int) -> str:
    return f".. [{number}] {known.peer} *{'lacks' if known.lacks else 'fault'}*: {known.reason}"


def _table(head: t.Sequence[str], rows: t.Sequence[t.Sequence[str]]) -> str:
    """Return a simple table, whose first column is the row's name."""
    widths = [max(2, *map(len, column)) for column in zip(head, *rows, strict=True)]
    rule = "  ".join("=" * width for width in widths)
    # In a simple table an empty first cell would join the row to the one above.
    lines = [[head[0] or "\\", *head[1:]], *rows]
    text = [
        "  ".join(c.ljust(max(w, 2)) for c, w in zip(line, widths, strict=True)).rstrip()
        for line in lines
    ]
    return "\n".join([rule, text[0], rule, *text[1:], rule])
