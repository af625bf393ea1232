"""Each feature, with each peer, over each transport."""

from __future__ import annotations

import re

import pytest

from tests.support import peers

from .features import FEATURES
from .features.scene import Scene
from .matrix import SILENCE, Cell, Known, Results, cells, known
from .names import CROSSBAR
from .sides import Stage

pytestmark = [pytest.mark.interop, pytest.mark.router]

BRIEFLY = 0.4
"""Seconds to wait for an answer that is known not to arrive."""


def attempt(stage: Stage, cell: Cell, seconds: float, breaks: bool) -> str | None:
    """Run a cell. Return its error, or None if it works."""
    ours = stage.ours(cell.router, cell.transport)
    peer = stage.peer(cell.peer, cell.router, cell.transport)
    # "CALL.Options.timeout|integer in milliseconds"; Crossbar uses seconds.
    second = 1 if cell.router == CROSSBAR else 1000
    try:
        with peers.impatient(seconds):
            FEATURES[cell.feature].run(Scene(ours, peer, stage.prefix(), second))
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    else:
        return None
    finally:
        ours.reset()
        if breaks or not is_reset(peer):
            stage.drop_peer()


def is_reset(peer: peers.AutobahnPeer) -> bool:
    """Return whether the peer still works, with nothing declared."""
    try:
        peer.reset()
    except (OSError, RuntimeError, AssertionError):
        return False
    return peer.is_alive


def patience(cell: Cell, expected: Known | None) -> float:
    """Seconds to wait for anything."""
    if expected is None or not re.search(SILENCE, expected.symptom):
        return peers.PATIENCE
    return 2.5 if FEATURES[cell.feature].once else BRIEFLY


@pytest.mark.parametrize("cell", cells(), ids="-".join)
def test_feature(stage: Stage, results: Results, cell: Cell) -> None:
    expected = known(cell)
    breaks = FEATURES[cell.feature].kills or (expected is not None and expected.breaks)
    failure = attempt(stage, cell, patience(cell, expected), breaks)
    if expected is None:
        assert failure is None, failure
    else:
        assert failure is not None, f"works, and is declared not to: {expected.reason}"
        assert re.search(expected.symptom, failure), failure
    results[cell] = expected
