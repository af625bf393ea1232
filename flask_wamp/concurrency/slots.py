"""Workers, and the slots that limit how many of them run at once.

A worker that waits for another peer releases its slot, and takes one again before it continues.
"""

from __future__ import annotations

import abc
import collections
import contextlib
import itertools
import threading
import typing as t

from .._text import get_logger
from .clock import monotonic
from .fair_queue import FairQueue, Job
from .guards import report
from .threads import Waiter, acquire_uninterrupted, is_ending, is_monkey_patched, spawn
from .workers import Worker, current_worker

logger = get_logger("flask_wamp.execution")

#: How many threads a pool may have for jobs that wait for other peers, in addition to those that run.
#: Greenlets cost almost nothing.
WAITING_THREADS, WAITING_GREENLETS = 512, 10_000

#: How many jobs run at once by default.
THREADS, GREENLETS = 32, 1000


class Slots(abc.ABC):
    """The workers of a pool, and their slots. :class:`.Pool` adds the jobs.

    Locks: ``_lock`` is taken last. It guards the state of the pool only. It is released before anything is
    logged and before a job runs.

    :param size: How many workers run at once. None means a default that suits threads or greenlets.
    :param queue: The jobs that have no slot yet.
    :param max_threads: The maximum number of threads, including those of waiting jobs.
    """

    def __init__(self, size: int | None, queue: FairQueue, max_threads: int | None) -> None:
        self.in_greenlets = is_monkey_patched()
        """Whether workers are greenlets. Greenlets can be killed, and a switch costs almost nothing."""
        self.size = size or (GREENLETS if self.in_greenlets else THREADS)
        waiting = WAITING_GREENLETS if self.in_greenlets else WAITING_THREADS
        self.max_threads = max_threads or self.size + waiting
        self.queue = queue
        """Jobs without a slot. You may read ``queue.length`` without the lock."""
        self._lock = threading.Lock()
        self._free = self.size
        self._waking: Worker | None = None
        """The worker that was woken and has a slot, but has not taken a job yet."""
        self._idle: list[Worker] = []
        self._returning: collections.deque[threading.Lock] = collections.deque()
        """Locks of workers that have waited and need a slot again. Releasing one passes a slot on."""
        self._workers: set[Worker] = set()
        self._away = 0
        """How many workers have released their slot while they wait."""
        self._awaiting: dict[Worker, Waiter] = {}
        """The answers that workers wait for."""
        self._numbers = itertools.count(1)
        self._cannot_start: int | None = None
        """How many threads were running when the system could not start another. None after it is logged."""
        self.starving_since: float | None = None
        """The ``time.monotonic()`` since which jobs have been waiting without any free thread."""
        self.on_starving: t.Callable[[], None] = lambda: None
        """Called, perhaps often, when the pool may be starving. It must schedule ``refuse_starving``."""
        self.is_check_scheduled = False
        """Whether ``refuse_starving`` is scheduled."""

    @property
    def pending(self) -> int:
        """How many jobs wait in the queue without a slot."""
        return max(0, self.queue.length - self._free - (self._waking is not None))

    @property
    def running(self) -> int:
        """How many jobs have a slot."""
        looking = self._waking is not None
        return min(self.size, self.size - self._free - looking + self.queue.length)

    @property
    def threads(self) -> int:
        """How many workers there are, including those of waiting jobs."""
        return len(self._workers)

    @property
    def resuming(self) -> int:
        """The number of jobs whose answer has arrived, but whose thread has not taken a slot again."""
        return sum(waiter.is_answered for waiter in list(self._awaiting.values()))

    @property
    def idle(self) -> int:
        """How many workers wait for a job."""
        return len(self._idle)

    def reserve(self, count: int) -> int:
        """Start workers until ``count`` are idle or no more can be started. Return how many are idle."""
        with self._lock:
            idle = len(self._idle)
            while idle < count and self._free and len(self._workers) < self.max_threads:
                if self._start_worker() is None:
                    break
                # A new worker has a slot and looks for a job, like every worker that is woken.
                self._free -= 1
                idle += 1
            return idle

    @abc.abstractmethod
    def next_job(self, worker: Worker) -> Job | None:
        """Return the worker's next job.

        If None, the worker has no slot any more, and is idle or dismissed.
        """

    def discard(self, worker: Worker) -> None:
        """Forget a worker whose thread ends."""
        with self._lock:
            self._workers.discard(worker)

    def release_slot(self) -> t.ContextManager[None]:
        """Return a context in which another job may use this job's slot.

        Outside of a job, it does nothing.
        """
        worker = current_worker.get()
        return (
            contextlib.nullcontext()
            if worker is None or worker.pool is not self
            else _Released(self, worker)
        )

    def wait(self, waiter: Waiter, timeout: float) -> bool:
        """Wait for an answer, at most ``timeout`` seconds. Meanwhile, another job may use the slot.

        :returns: Whether the answer arrived in time.
        """
        worker = current_worker.get()
        if worker is None or worker.pool is not self:
            return waiter.wait(timeout)
        self._awaiting[worker] = waiter
        try:
            with _Released(self, worker):
                return waiter.wait(timeout)
        finally:
            self._awaiting.pop(worker, None)

    # Called under the lock.

    def _wake_another(self) -> bool:
        """Give a slot to an idle worker or a new one. Return False if there is neither."""
        assert self._lock.locked()
        if self._idle:
            # Take the worker that became idle last, because its stack is still in the CPU's cache.
            worker = self._idle.pop()
            self._waking = worker
            worker.wake()
        elif len(self._workers) >= self.max_threads or not self._add_worker():
            if self.starving_since is None:
                self.starving_since = monotonic()
            return False
        self._free -= 1
        self.starving_since = None
        return True

    def _wake_if_needed(self) -> None:
        """Wake a worker if there is a job and a slot for it, and no other worker is waking."""
        assert self._lock.locked()
        if self.queue.length and self._free and self._waking is None:
            self._wake_another()

    def _add_worker(self) -> bool:
        assert self._lock.locked()
        worker = self._start_worker()
        if worker is None:
            if not is_ending():
                self._cannot_start = len(self._workers)
            return False
        self._waking = worker
        return True

    def _start_worker(self) -> Worker | None:
        assert self._lock.locked()
        worker = Worker(self)
        try:
            worker.thread = spawn(worker.run, f"wamp-worker-{next(self._numbers)}")
        except (RuntimeError, MemoryError):  # a limit of the system, or the interpreter is ending
            return None
        self._workers.add(worker)
        return worker

    def _report_threads(self) -> None:
        """Log that no thread could be started. Call it without the lock, because log handlers may publish."""
        running, self._cannot_start = self._cannot_start, None
        if running is not None:
            report(
                logger.error,
                "cannot start another thread while %d are running: check the limits of this process",
                running,
            )

    def _pass_on(self) -> None:
        """Pass a free slot on to the next worker."""
        assert self._lock.locked()
        if self._returning:
            self._returning.popleft().release()
            return
        self._free += 1
        self._wake_if_needed()


class _Released:
    """The context that :meth:`Slots.release_slot` returns."""

    __slots__ = ("_pool", "_released", "_worker")

    def __init__(self, pool: Slots, worker: Worker) -> None:
        self._pool = pool
        self._worker = worker

    def __enter__(self) -> None:
        pool, worker = self._pool, self._worker
        if worker.before_waiting is not None:
            worker.before_waiting()
        with pool._lock:
            self._released = not worker.away  # a nested wait of the same job has no slot to release
            if self._released:
                worker.away = True
                pool._away += 1
                pool._pass_on()
        if pool.starving_since is not None:
            pool.on_starving()

    def __exit__(self, *exc_info: object) -> None:
        if not self._released:
            return
        pool = self._pool
        with pool._lock:
            self._worker.away = False
            pool._away -= 1
            if pool._free:
                pool._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            pool._returning.append(turn)
        # The lock is released here, because the thread that passes a slot on needs it.
        acquire_uninterrupted(turn)
