"""What is tried with each peer: one function for each row of the table.

Each gets a :class:`.scene.Scene`: our app, the peer, and a URI prefix below which nothing is yet. It raises
where the feature does not work.
"""

from __future__ import annotations

from . import called, calls, published, publishes, sessions
from .scene import Feature

_SECTIONS = (calls, called, publishes, published, sessions)  # as they follow in the table

FEATURES: dict[str, Feature] = {
    row.name: row
    for section in _SECTIONS
    for row in vars(section).values()
    if isinstance(row, Feature)
}
