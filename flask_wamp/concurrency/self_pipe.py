"""An event that a signal handler can set safely."""

from __future__ import annotations

import contextlib
import os
import select


class SelfPipe:
    """Like a ``threading.Event``, for signal handlers.

    A signal handler interrupts the main thread anywhere. ``Event.set`` would wait for the event's lock for
    ever if the handler has interrupted ``wait`` while that held the lock.
    """

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)

    def set(self) -> None:
        """Wake the thread that waits. Safe in signal handlers."""
        with contextlib.suppress(BlockingIOError):  # full: it is set already
            os.write(self._writer, b"!")

    def is_set(self) -> bool:
        """Whether it is set."""
        return self.wait(0.0)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set; return whether it is."""
        return bool(select.select([self._reader], [], [], timeout)[0])

    def clear(self) -> None:
        """Forget that it was set."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._reader, 4096)

    def close(self) -> None:
        """Close both ends."""
        os.close(self._reader)
        os.close(self._writer)
