"""Locks on files, for processes of one user. The process that holds a lock may remove its file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
import typing as t

from ...concurrency.clock import monotonic

#: Seconds between two attempts.
CHECK_INTERVAL = 0.005


@contextlib.contextmanager
def locked(path: str, deadline: float) -> t.Iterator[None]:
    """Hold the lock of a file. Create the file if it does not exist.

    :param deadline: The ``time.monotonic()`` until which to try, at least once.
    :raises BlockingIOError: Another process holds the lock.
    """
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if _try(path, file):
                yield
                return
        finally:
            os.close(file)
        if monotonic() > deadline:
            raise BlockingIOError(f"another process holds the lock of {path}")
        time.sleep(CHECK_INTERVAL)


def _try(path: str, file: int) -> bool:
    """Lock an open file. Return whether it is locked, and still the file at the path."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The holder may have removed the file since this process opened it. Then the next process creates
        # another file, so the lock of this one would exclude no other process.
        return os.path.samestat(os.stat(path), os.fstat(file))
    except (BlockingIOError, FileNotFoundError):
        return False
