"""The features that are tried with each peer: one function for each row of the table.

Each gets a :class:`.scene.Scene`: our app, the peer, and an unused URI prefix. It raises an exception if the
feature does not work.
"""

from __future__ import annotations

from . import called, calls, published, publishes, sessions
from .scene import Feature

_SECTIONS = (calls, called, publishes, published, sessions)  # in the order of the table

FEATURES: dict[str, Feature] = {
    row.name: row
    for section in _SECTIONS
    for row in vars(section).values()
    if isinstance(row, Feature)
}
