"""A lane: jobs that run in order, at most so many at once, on the workers of a pool."""

from __future__ import annotations

import collections
import threading

from .._text import get_logger
from .fair_queue import Job
from .pool import Pool

logger = get_logger("flask_wamp.execution")


class SerialQueue:
    """Jobs that run in order, at most ``concurrency`` at once, on the workers of a pool.

    :param limit: How many may wait; more are refused.
    """

    #: Jobs one turn handles before the place is offered to others.
    TURN = 32

    def __init__(self, pool: Pool, concurrency: int, limit: int) -> None:
        self.pool = pool
        self._lock = threading.Lock()
        self._waiting: collections.deque[Job] = collections.deque()
        self._free = concurrency
        self._starting = 0
        """How many turns have a place and have not come to their first job yet."""
        self._limit = limit

    @property
    def pending(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def submit(self, job: Job) -> bool:
        """Append a job; False when too many wait."""
        with self._lock:
            # A job whose turn is on its way does not wait: a limit of 1 is one beside those that run.
            if len(self._waiting) - self._starting >= self._limit:
                return False
            self._waiting.append(job)
            if not self._free:
                return True
            self._free -= 1
            self._starting += 1
        self.pool.submit(self._turn, kind=self, force=True)
        return True

    def _turn(self) -> None:
        for number in range(self.TURN):
            with self._lock:
                if number == 0:
                    self._starting -= 1
                if not self._waiting:
                    self._free += 1
                    return
                job = self._waiting.popleft()
            try:
                job()
            except BaseException:
                logger.exception("a job failed")
        with self._lock:
            self._starting += 1
        self.pool.submit(self._turn, kind=self, force=True)
