"""Workers, which run the jobs of a pool. A worker has its own thread, or shares the thread that reads."""

from __future__ import annotations

import contextvars
import threading
import time
import typing as t

from .._text import get_logger
from .fair_queue import Job
from .guards import report
from .threads import is_monkey_patched

logger = get_logger("flask_wamp.execution")

#: The worker whose job runs this code, even if the job continues in another thread or in a coroutine.
current_worker: contextvars.ContextVar[Worker | None] = contextvars.ContextVar(
    "flask_wamp_worker", default=None
)


class JobSource(t.Protocol):
    """The part of the pool that a worker uses."""

    def next_job(self, worker: Worker, /) -> Job | None:
        """Return the worker's next job. If None, the worker has to wait, or is dismissed."""

    def discard(self, worker: Worker, /) -> None:
        """Forget a worker whose thread ends."""


class Worker:
    """One thread, the lock that wakes it, and a context. Each of its jobs runs in a copy of this context."""

    __slots__ = (
        "_wake_lock",
        "away",
        "before_waiting",
        "context",
        "dismissed",
        "is_inline",
        "pool",
        "thread",
    )

    #: How many jobs a greenlet runs in a row before it yields to other greenlets, such as the reader.
    TURN = 64

    thread: threading.Thread

    def __init__(self, pool: JobSource, is_inline: bool = False) -> None:
        self.pool = pool
        self.is_inline = is_inline
        self.before_waiting: t.Callable[[], None] | None = None
        self.away = False
        self.dismissed = False
        self.context = contextvars.Context()
        self.context.run(current_worker.set, self)
        self._wake_lock = threading.Lock()
        self._wake_lock.acquire()

    def wake(self) -> None:
        """Wake an idle worker, which has got a slot, to look for a job."""
        self._wake_lock.release()

    def run(self) -> None:
        next_job, context, yields = self.pool.next_job, self.context, is_monkey_patched()
        while not self.dismissed:
            in_a_row = 0
            while (job := next_job(self)) is not None:
                try:
                    context.copy().run(job)
                except BaseException:
                    # A job handles its own errors, so this is a bug in the library.
                    report(logger.exception, "a job failed")
                in_a_row += 1
                if yields and in_a_row % self.TURN == 0:
                    time.sleep(0)
            if not self.dismissed:
                self._wake_lock.acquire()
        self.pool.discard(self)


class InlineWorker:
    """A worker on a thread that also has another task, such as reading.

    :param before_waiting: Called when one of its jobs is about to wait for another peer, in any thread.
    """

    __slots__ = ("worker",)

    #: If more jobs than this are in the queue, the other workers run them.
    MOST = 100

    def __init__(self, pool: JobSource, before_waiting: t.Callable[[], None] | None = None) -> None:
        self.worker = Worker(pool, is_inline=True)
        self.worker.before_waiting = before_waiting

    def run(self, job: Job | None) -> int:
        """Run the job from :meth:`.Pool.gather` and the queued jobs. Return how many jobs were run."""
        worker, count = self.worker, 0
        next_job, context = worker.pool.next_job, worker.context
        while job is not None:
            try:
                context.copy().run(job)
            except BaseException:  # a job handles its own errors, so this is a bug in the library
                report(logger.exception, "a job failed")
            count += 1
            job = next_job(worker)
        return count
