"""An event that a signal handler can set safely."""

from __future__ import annotations

import contextlib
import os
import select


class SelfPipe:
    """Like a ``threading.Event``, but safe to set in a signal handler.

    A signal handler may interrupt the main thread anywhere, even in ``Event.wait`` while that holds the
    event's lock. ``Event.set`` would then wait for the lock forever.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """Set the event and wake the thread that waits for it. Safe in signal handlers."""
        with contextlib.suppress(BlockingIOError):  # the pipe is full, so the event is set already
            os.write(self._writer, b"!")

    def is_set(self) -> bool:
        """Return whether the event is set."""
        return self.wait(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the event is set, at most ``timeout`` seconds. Return whether it is set."""
        return bool(select.select([self._reader], [], [], timeout)[0])

    def clear(self) -> None:
        """Reset the event."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def close(self) -> None:
        """Close both ends of the pipe."""
        os.close(self._reader)
        os.close(self._writer)
