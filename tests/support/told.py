"""What other threads tell a test."""

from __future__ import annotations

import queue
import typing as t

from .memory import TIMEOUT


class Told(queue.SimpleQueue[t.Any]):
    """What threads tell the test, in order."""

    def next(self) -> t.Any:
        """Wait for the next thing."""
        return self.get(timeout=TIMEOUT)
