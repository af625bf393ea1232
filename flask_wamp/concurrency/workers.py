"""Workers run the jobs of a pool, in threads of their own or in threads that have another task too."""

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

#: The worker that runs this code, in whatever thread or coroutine it goes on.
current_worker: contextvars.ContextVar[Worker | None] = contextvars.ContextVar(
    "flask_wamp_worker", default=None
)


class JobSource(t.Protocol):
    """Where a worker gets its jobs from: its pool."""

    def next_job(self, worker: Worker, /) -> Job | None:
        """Return the worker's next job; None: it is to wait, or it is dismissed."""

    def discard(self, worker: Worker, /) -> None:
        """Forget a worker whose thread ends."""


class Worker:
    """One thread, the lock that wakes it, and the context that each of its jobs gets a copy of."""

    __slots__ = (
        "_bell",
        "away",
        "before_waiting",
        "context",
        "dismissed",
        "is_inline",
        "pool",
        "thread",
    )

    #: Jobs in a row before a greenlet yields to the others, the reader's among them.
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
        self._bell = threading.Lock()
        self._bell.acquire()

    def wake(self) -> None:
        """Have an idle worker look for a job: it has a slot."""
        self._bell.release()

    def run(self) -> None:
        next_job, context, yields = self.pool.next_job, self.context, is_monkey_patched()
        while not self.dismissed:
            in_a_row = 0
            while (job := next_job(self)) is not None:
                try:
                    context.copy().run(job)
                except BaseException:
                    # A job handles its own errors: this is a defect of the library.
                    report(logger.exception, "a job failed")
                in_a_row += 1
                if yields and in_a_row % self.TURN == 0:
                    time.sleep(0)
            if not self.dismissed:
                self._bell.acquire()
        self.pool.discard(self)


class InlineWorker:
    """A thread that has another task, such as reading, and runs jobs between.

    :param before_waiting: Called when one of its jobs is about to wait for another peer, in whatever thread.
    """

    __slots__ = ("worker",)

    #: Jobs in the queue above which they are left to the workers.
    MOST = 100

    def __init__(self, pool: JobSource, before_waiting: t.Callable[[], None] | None = None) -> None:
        self.worker = Worker(pool, is_inline=True)
        self.worker.before_waiting = before_waiting

    def run(self, job: Job | None) -> int:
        """Run the job of :meth:`.Pool.gather`, and what is in the queue; return how many jobs that were."""
        worker, count = self.worker, 0
        next_job, context = worker.pool.next_job, worker.context
        while job is not None:
            try:
                context.copy().run(job)
            except BaseException:  # a job handles its own errors: this is a defect of the library
                report(logger.exception, "a job failed")
            count += 1
            job = next_job(worker)
        return count
