"""Values that other threads send to a test."""

from __future__ import annotations

import queue
import typing as t

from .memory import TIMEOUT


class Told(queue.SimpleQueue[t.Any]):
    """The values of other threads, in order."""

    def next(self) -> t.Any:
        """Wait for the next value."""
        return self.get(timeout=TIMEOUT)
