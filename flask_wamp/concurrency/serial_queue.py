"""A queue of jobs that run in order, a limited number at once, on the workers of a pool."""

from __future__ import annotations

import collections
import contextvars
import threading

from .._text import get_logger
from .fair_queue import Job
from .guards import report
from .pool import Pool, Refusable

logger = get_logger("flask_wamp.execution")


class SerialQueue:
    """Jobs that run in order, at most ``concurrency`` at once, on the workers of a pool.

    :param limit: How many jobs may wait. Further jobs are refused.
    :param max_bytes: How many bytes the messages of waiting jobs may have together. An empty queue accepts a
        job of any size.
    """

    #: How many jobs a worker runs in a row before other kinds of jobs get their turn.
    TURN = 32

    def __init__(
        self, pool: Pool, concurrency: int, limit: int, max_bytes: float = float("inf")
    ) -> None:
        self.pool = pool
        self._lock = threading.Lock()
        self._waiting: collections.deque[tuple[Job, int]] = collections.deque()
        self._bytes = 0
        self._free = concurrency
        self._starting = 0
        """How many turns the pool has accepted, but not started yet."""
        self._limit = limit
        self._max_bytes = max_bytes

    @property
    def pending(self) -> int:
        """How many jobs wait."""
        return len(self._waiting)

    def submit(self, job: Job, *, size: int = 0) -> bool:
        """Append a job. Return False if too many jobs or bytes are waiting.

        :param size: The size of the job's message in bytes.
        """
        with self._lock:
            # A job whose turn is about to start is not counted as waiting. So a limit of 1 allows one job in
            # addition to those that run.
            waiting = len(self._waiting) - self._starting
            if waiting >= self._limit or (waiting > 0 and self._bytes + size > self._max_bytes):
                return False
            self._waiting.append((job, size))
            self._bytes += size
            if not self._free:
                return True
            self._free -= 1
            self._starting += 1
        self.pool.submit(self, kind=self, force=True)
        return True

    def refuse(self) -> None:
        """Refuse the waiting calls, because the pool has no thread to run them. Events continue to wait."""
        with self._lock:
            waiting, self._waiting = self._waiting, collections.deque()
            refused = [job for job, _ in waiting if isinstance(job, Refusable)]
            self._waiting.extend(each for each in waiting if not isinstance(each[0], Refusable))
            self._bytes = sum(size for _, size in self._waiting)
        # This replaces the turn that the pool has just refused.
        self.pool.submit(self, kind=self, force=True)
        for job in refused:
            job.refuse()

    def __call__(self) -> None:
        """Run the jobs of one turn. The pool calls this."""
        for number in range(self.TURN):
            with self._lock:
                if number == 0:
                    self._starting -= 1
                if not self._waiting:
                    self._free += 1
                    return
                job, size = self._waiting.popleft()
                self._bytes -= size
            try:
                # The pool runs the whole turn in one new context. Each job gets its own copy of it.
                contextvars.copy_context().run(job)
            except BaseException:  # a job handles its own errors, so this is a bug in the library
                report(logger.exception, "a job failed")
        with self._lock:
            self._starting += 1
        self.pool.submit(self, kind=self, force=True)
