"""A value of its own for each process."""

from __future__ import annotations

import os
import typing as t

T = t.TypeVar("T")


class PerProcess(t.Generic[T]):
    """Makes a value when a process first uses it, and returns the same one to this process from then on.

    After a fork a child must not use its parent's value: a thread that does not exist there may hold a lock.
    A value is not made before it is used: a server may patch ``threading`` after the app has been imported,
    and a lock that was made before would block the process.

    It is safe to use in any thread, and takes no lock. If two threads make a value, one is kept for both.

    :param make: Makes the value of a process.
    """

    def __init__(self, make: t.Callable[[], T]) -> None:
        self._make = make
        self._values: dict[int, T] = {}

    def __call__(self) -> T:
        """Return the value of this process."""
        pid = os.getpid()
        try:
            return self._values[pid]
        except KeyError:
            return self._values.setdefault(pid, self._make())
