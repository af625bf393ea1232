"""Values that each process has one of, and makes again after a fork."""

from __future__ import annotations

import os
import typing as t

T = t.TypeVar("T")


class PerProcess(t.Generic[T]):
    """Makes a value when a process first uses it. Later uses in the same process return the same value.

    A child process must not use the value of its parent: a lock in it may be held by a thread that does not
    exist in the child. And the value must not be made too early: a server may patch ``threading`` after it
    has imported the app, and a lock that was made before would block the process.

    It is safe to use in any thread, and takes no lock. If two threads make a value at once, both get the
    first.

    :param make: Makes the value.
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
