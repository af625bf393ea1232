"""Refuses calls when no thread is left to run them."""

from __future__ import annotations

import threading

from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..concurrency.timer_thread import TimerThread

#: Seconds for which no thread must have been free before waiting calls are refused.
PATIENCE = 2.0

#: Seconds between two checks.
INTERVAL = 0.5


def watch(pool: Pool, timer: TimerThread, stopping: threading.Event) -> None:
    """Check a pool on the timer's thread while jobs wait and no thread is free.

    :param stopping: No check is started once this event is set.
    """
    pool.on_starving = _Starvation(pool, timer, stopping).check_soon


class _Starvation:
    """The checks of one pool."""

    def __init__(self, pool: Pool, timer: TimerThread, stopping: threading.Event) -> None:
        self._pool = pool
        self._timer = timer
        self._stopping = stopping
        self._scheduled = False

    def check_soon(self) -> None:
        if not self._scheduled and not self._stopping.is_set():
            self._scheduled = True
            self._timer.call_at(monotonic() + INTERVAL, self._check)

    def _check(self) -> None:
        self._scheduled = False
        self._pool.refuse_starving(PATIENCE)
        if self._pool.starving_since is not None:
            self.check_soon()
