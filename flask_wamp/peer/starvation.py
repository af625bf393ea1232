"""Refuses calls when no thread is left to run them."""

from __future__ import annotations

import functools
import threading

from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..concurrency.timer_thread import TimerThread

#: Seconds for which no thread must have been free before waiting calls are refused.
PATIENCE = 2.0

#: Seconds between two checks.
INTERVAL = 0.5


def check_soon(pool: Pool, timer: TimerThread, stopping: threading.Event) -> None:
    """Check a pool on the timer's thread, and repeat that while jobs wait and no thread is free.

    This is the pool's ``on_starving``, so it is called often.

    :param stopping: No check is scheduled once this event is set.
    """
    if not pool.is_check_scheduled and not stopping.is_set():
        pool.is_check_scheduled = True
        check = functools.partial(_check, pool, timer, stopping)
        timer.call_at(monotonic() + INTERVAL, check)


def _check(pool: Pool, timer: TimerThread, stopping: threading.Event) -> None:
    pool.is_check_scheduled = False
    pool.refuse_starving(PATIENCE)
    if pool.starving_since is not None:
        check_soon(pool, timer, stopping)
