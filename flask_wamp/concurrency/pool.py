"""The workers that run handlers, and the slots that limit how many run at once."""

from __future__ import annotations

import collections
import itertools
import threading
import time
import typing as t

from .._text import get_logger
from .fair_queue import FairQueue, Job
from .guards import report
from .threads import Waiter, acquire_in_any_case, is_monkey_patched, spawn
from .workers import InlineWorker, Worker, current_worker

logger = get_logger("flask_wamp.execution")

#: How many threads a pool has for jobs that wait for other peers, besides those that run; the same for
#: greenlets, which cost less.
WAITING_THREADS, WAITING_GREENLETS = 512, 10_000


@t.runtime_checkable
class Refusable(t.Protocol):
    """A job whose caller gets an error if it can't be run."""

    def __call__(self) -> object:
        """Run it."""

    def refuse(self) -> object:
        """Answer that it is not run. Must not wait."""


class Pool:
    """Workers with a fixed number of slots, and a bounded queue in front of them.

    A job that waits for another peer releases its slot (:meth:`release_slot`) and takes one again before
    it goes on. So at most ``size`` jobs run at once, and jobs that wait for each other do not starve.

    Only one worker is woken at a time. It wakes the next one when it takes a job and sees more. So one
    worker that is awake runs jobs that never wait one after the other, at no more than the cost of a
    function call. As soon as one waits, the interpreter is free for the next worker.

    Each job runs in a fresh ``contextvars.Context``: a context variable that it sets ends with it.

    **Threads are bounded.** A job that waits keeps its thread. When all threads wait and jobs are left in
    the queue, these may be what the threads wait for. If no thread is free within a moment,
    :meth:`refuse_starving` refuses what is in the queue, so that its callers get an error instead
    of waiting until its time is over.

    Locks: ``_lock`` is taken last. Nothing but the pool's own state is touched under it: no logging, no job.

    :param size: How many jobs run at once.
    :param max_pending: How many may wait, see :class:`.fair_queue.FairQueue`; more are refused.
    :param max_threads: How many threads there may be, those of waiting jobs included.
    :param max_bytes: How many bytes the messages of jobs in the queue may have.
    """

    def __init__(
        self,
        size: int,
        max_pending: int,
        *,
        max_threads: int | None = None,
        max_bytes: float = float("inf"),
    ) -> None:
        self.size = size
        waiting = WAITING_GREENLETS if is_monkey_patched() else WAITING_THREADS
        self.max_threads = max_threads or size + waiting
        self._lock = threading.Lock()
        self._free = size
        self._waking: Worker | None = None
        """The worker that was woken, has a slot, and has not looked for a job yet."""
        self.queue = FairQueue(max_pending, max_bytes)
        """Jobs without a slot; ``queue.length`` may be read without the lock."""
        self._gathering = False
        self._watched: Worker | None = None
        """The inline worker that runs what is in the queue alone, as long as it is quick."""
        self.is_watched = False
        """Whether there is one; may be read without the lock."""
        self._idle: list[Worker] = []
        self._returning: collections.deque[threading.Lock] = collections.deque()
        self._workers: set[Worker] = set()
        self._away = 0
        """How many workers have released their slot, and wait."""
        self._numbers = itertools.count(1)
        self._stopping = False
        self._all_idle: threading.Event | None = None
        self._drainer: Worker | None = None
        self._cannot_start: int | None = None
        """How many threads there were when the system gave no more, until that was logged."""
        self.starving_since: float | None = None
        """The ``time.monotonic()`` since which jobs wait, and no thread is left to run them."""
        self.on_starving: t.Callable[[], None] = lambda: None
        """Called when that may have begun, perhaps often; has :meth:`refuse_starving` called later."""

    @property
    def pending(self) -> int:
        """How many jobs are in the queue and have no slot."""
        return max(0, self.queue.length - self._free - (self._waking is not None))

    @property
    def running(self) -> int:
        """How many jobs have a slot."""
        looking = self._waking is not None
        return min(self.size, self.size - self._free - looking + self.queue.length)

    @property
    def threads(self) -> int:
        """How many workers there are, those of waiting jobs included."""
        return len(self._workers)

    @property
    def idle(self) -> int:
        """How many workers wait for a job."""
        return len(self._idle)

    def reserve(self, count: int) -> int:
        """Start workers until so many are idle, as far as the system allows; return how many are."""
        with self._lock:
            idle = len(self._idle)
            while idle < count and self._free and len(self._workers) < self.max_threads:
                if self._start_worker() is None:
                    break
                self._free -= (
                    1  # it looks for a job first, and has a slot, like every worker that is woken
                )
                idle += 1
            return idle

    def submit(self, job: Job, *, kind: object = None, size: int = 0, force: bool = False) -> bool:
        """Run a job on a worker as soon as there is a slot.

        :param kind: What the job is for: kinds take turns.
        :param size: The bytes of the job's message.
        :param force: Accept the job even if the queue is full.
        :returns: False when the job was refused: the queue is full, or the pool is stopping.
        """
        with self._lock:
            if self._stopping:
                return False
            if force:
                self.queue.append(job, kind, size)
            else:
                spare = self._free + (self._waking is not None)
                if not self.queue.offer(job, kind, spare=spare, size=size):
                    return False
            if self._waking is None and self._free and not self._gathering:
                self._wake_another()
        if self._cannot_start is not None:
            self._report_threads()
        if self.starving_since is not None:
            self.on_starving()
        return True

    def gather(self) -> Gathering:
        """Return a context in which no worker is woken for what is submitted, but one for all at its end.

        For one thread at a time, the one that reads; it may be used again and again.
        """
        return Gathering(self)

    def watch(self, inline: InlineWorker) -> None:
        """Let this inline worker take jobs without waking another, until :meth:`share`."""
        self._watched, self.is_watched = inline.worker, True

    def share(self) -> None:
        """Wake a worker for what is in the queue: no inline worker runs it alone any more."""
        with self._lock:
            self._watched, self.is_watched = None, False
            self._wake_if_needed()

    def release_slot(self) -> t.ContextManager[None]:
        """Let another job have this one's slot while inside. Does nothing outside of a job."""
        worker = current_worker.get()
        return _NOTHING if worker is None or worker.pool is not self else _Released(self, worker)

    def wait(self, waiter: Waiter, timeout: float) -> bool:
        """Wait for an answer, at most ``timeout`` seconds, and let another job have the slot meanwhile.

        :returns: Whether it came.
        """
        worker = current_worker.get()
        if worker is None or worker.pool is not self:
            return waiter.wait(timeout)
        with _Released(self, worker):
            return waiter.wait(timeout)

    def refuse_starving(self, patience: float) -> int:
        """Refuse what is in the queue if no thread has been free for it for ``patience`` seconds.

        A job with a method ``refuse`` is refused by it; others stay. A timer calls this now and then.

        :returns: How many jobs were refused.
        """
        since = self.starving_since
        if since is None or time.monotonic() - since < patience:
            return 0
        refused: list[Refusable] = []
        with self._lock:
            # Workers that do not wait come to the queue by themselves.
            if self.starving_since is None or self._away < len(self._workers):
                return 0
            for job in self.queue.clear():
                if isinstance(job, Refusable):
                    refused.append(job)
                else:
                    self.queue.append(job, None)
            self.starving_since = time.monotonic() if self.queue.length else None
        report(
            logger.error,
            "all %d threads wait for answers; %d calls that wait for a thread are refused",
            self.threads,
            len(refused),
        )
        for job in refused:
            job.refuse()
        return len(refused)

    def stop(self, timeout: float) -> bool:
        """Let running and waiting jobs finish, at most ``timeout`` seconds, then end all workers.

        Starts no thread for it, but for jobs that are left in the queue. Call it from one thread only.

        :returns: Whether all finished in time.
        """
        finished = self._drain(timeout)
        with self._lock:
            self._stopping = True
            self.queue.clear()
            idle, self._idle = self._idle, []
            threads = [worker.thread for worker in idle]
        for worker in idle:
            worker.dismissed = True
            worker.wake()
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(1.0)
        return finished

    def _drain(self, timeout: float) -> bool:
        with self._lock:
            self._drainer = (
                current_worker.get()
            )  # a job that stops the pool does not wait for itself
            if not self._busy():
                return True
            self._all_idle = threading.Event()
            alone = not self._workers
        if (
            alone
        ):  # no thread could be started: at the end of the interpreter, or at the system's limit
            self._run_here(time.monotonic() + timeout)
        return self._all_idle.wait(timeout)

    def _run_here(self, deadline: float) -> None:
        """Run what is in the queue in this thread, for want of any other."""
        inline = InlineWorker(self)
        while time.monotonic() < deadline:
            with self._lock:
                if not self.queue.length or not self._free or self._workers:
                    break
                self._free -= 1
                self._workers.add(inline.worker)
                inline.worker.dismissed = False
                job = self.queue.popleft()
            inline.run(job)

    def _busy(self) -> bool:
        assert self._lock.locked()
        # A worker that was woken is busy with a job in the queue, or with nothing.
        busy = len(self._workers) - len(self._idle) - (self._waking is not None)
        return self.queue.length > 0 or busy > (self._drainer in self._workers)

    # Called under the lock.

    def _wake_another(self) -> bool:
        """Give a slot to an idle worker, or to a new one; False when there is none."""
        assert self._lock.locked()
        if self._idle:
            worker = self._idle.pop()  # the last one to go idle: its stack is still in the cache
            self._waking = worker
            worker.wake()
        elif len(self._workers) >= self.max_threads or not self._add_worker():
            if self.starving_since is None:
                self.starving_since = time.monotonic()
            return False
        self._free -= 1
        self.starving_since = None
        return True

    def _wake_if_needed(self) -> None:
        """Wake a worker if there is a job and a slot for it, and none was woken yet."""
        if self.queue.length and self._free and self._waking is None:
            self._wake_another()

    def _add_worker(self) -> bool:
        worker = self._start_worker()
        if worker is None:
            self._cannot_start = len(self._workers)
            return False
        self._waking = worker
        return True

    def _start_worker(self) -> Worker | None:
        assert self._lock.locked()
        worker = Worker(self)
        try:
            worker.thread = spawn(worker.run, f"wamp-worker-{next(self._numbers)}")
        except (
            RuntimeError,
            MemoryError,
        ):  # a limit of the system, or the interpreter is about to end
            return None
        self._workers.add(worker)
        return worker

    def _report_threads(self) -> None:
        """Log that no thread could be started. Not under the lock: log handlers may publish."""
        running, self._cannot_start = self._cannot_start, None
        if running is not None:
            report(
                logger.error,
                "cannot start another thread, %d are running: look at the limits of this process",
                running,
            )

    def _pass_on(self) -> None:
        """Give a slot that became free to the next one."""
        assert self._lock.locked()
        if self._returning:
            self._returning.popleft().release()
            return
        self._free += 1
        self._wake_if_needed()

    # Called by workers.

    def next_job(self, worker: Worker) -> Job | None:
        """Return the worker's next job. None: its slot is released, and it is idle or dismissed."""
        if self._cannot_start is not None:
            self._report_threads()
        with self._lock:
            if self._waking is worker:
                self._waking = None
            if self.queue.length and not self._returning:
                job = self.queue.popleft()
                if self.starving_since is not None:
                    self.starving_since = time.monotonic() if self.queue.length else None
                if self._watched is not worker:
                    self._wake_if_needed()
                return job
            self._pass_on()
            if worker.is_inline or self._stopping or len(self._idle) >= self.size:
                self._workers.discard(worker)
                worker.dismissed = True
            else:
                self._idle.append(worker)
            if self._all_idle is not None and not self._busy():
                self._all_idle.set()
            return None

    def discard(self, worker: Worker) -> None:
        """Forget a worker whose thread ends."""
        with self._lock:
            self._workers.discard(worker)


class Gathering:
    """The context of :meth:`Pool.gather`."""

    __slots__ = ("_pool", "inline", "job")

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self.inline: InlineWorker | None = None
        """Who runs the first job if there are not many; set it before."""
        self.job: Job | None = None
        """After the end: a job that has a slot, for the inline worker's ``run``. A worker is woken for the
        others by :meth:`Pool.share`, unless the inline worker runs them alone, see :meth:`Pool.watch`."""

    def __enter__(self) -> Gathering:
        self._pool._gathering = True
        return self

    def __exit__(self, *exc_info: object) -> None:
        pool, inline = self._pool, self.inline
        with pool._lock:
            pool._gathering = False
            if not pool.queue.length or not pool._free or pool._waking is not None:
                return
            if inline is None or pool.queue.length > inline.MOST:
                pool._wake_another()
                return
            pool._free -= 1
            pool._workers.add(inline.worker)
            self.job = pool.queue.popleft()


class _Released:
    """The context of :meth:`Pool.release_slot`."""

    __slots__ = ("_pool", "_released", "_worker")

    def __init__(self, pool: Pool, worker: Worker) -> None:
        self._pool = pool
        self._worker = worker

    def __enter__(self) -> None:
        pool, worker = self._pool, self._worker
        if worker.before_waiting is not None:
            worker.before_waiting()
        with pool._lock:
            self._released = not worker.away  # a second wait of the same job has none to release
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
        acquire_in_any_case(turn)  # not under the lock: the thread that passes the slot on takes it


class _Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc_info: object) -> None:
        pass


_NOTHING = _Nothing()
