"""The pool of workers that runs handlers, and the bounded queue in front of it."""

from __future__ import annotations

import threading
import typing as t

from .._text import get_logger
from .clock import monotonic
from .fair_queue import FairQueue, Job
from .guards import report
from .slots import Slots
from .workers import InlineWorker, Worker, current_worker

logger = get_logger("flask_wamp.execution")


T = t.TypeVar("T")


@t.runtime_checkable
class Refusable(t.Protocol):
    """A job whose caller gets an error if it cannot be run."""

    def __call__(self) -> object:
        """Run the job."""

    def refuse(self) -> object:
        """Answer the caller with an error. Must not wait."""


class Pool(Slots):
    """Workers with a fixed number of slots, and a bounded queue of jobs.

    A job that waits for another peer releases its slot (:meth:`.Slots.release_slot`) and takes one again
    before it continues. So at most ``size`` jobs run at once, and jobs that wait for each other do not
    deadlock.

    Only one worker is woken at a time. When it takes a job and there are more, it wakes the next worker. If
    jobs do not wait, the first worker usually runs them all before the next worker gets the interpreter, and
    each costs only a function call. As soon as a job waits, the next worker continues.

    Each job runs in a new ``contextvars.Context``, so context variables that it sets end with the job.

    **Threads are bounded.** A job that waits keeps its thread. If all threads wait, they may be waiting for
    jobs that are still in the queue. If no thread becomes free for some time, :meth:`refuse_starving` refuses
    the jobs in the queue. Their callers then get an error at once, instead of waiting for their timeout.

    :param size: How many jobs run at once. None means a default that suits threads or greenlets.
    :param max_pending: How many jobs may wait in the queue, see :class:`.FairQueue`. Further jobs are
        refused.
    :param max_threads: The maximum number of threads, including those of waiting jobs.
    :param max_bytes: The maximum size of the messages of all jobs in the queue together.
    """

    def __init__(
        self,
        size: int | None,
        max_pending: int,
        *,
        max_threads: int | None = None,
        max_bytes: float = float("inf"),
    ) -> None:
        super().__init__(size, FairQueue(max_pending, max_bytes), max_threads)
        self._gathering = False
        self._watched: Worker | None = None
        """The inline worker that runs the queued jobs alone, as long as it is quick."""
        self.is_watched = False
        """Whether there is such a worker. You may read this without the lock."""
        self._stopping = False
        self._all_idle: threading.Event | None = None
        self._drainer: Worker | None = None

    def submit(self, job: Job, *, kind: object = None, size: int = 0, force: bool = False) -> bool:
        """Run a job on a worker as soon as there is a slot.

        :param kind: The queue that the job waits in. The kinds take turns.
        :param size: The size of the job's message in bytes.
        :param force: Accept the job even if the queue is full.
        :returns: False if the job was refused because the queue is full or the pool is stopping.
        """
        with self._lock:
            if self._stopping:
                return False
            spare = self._free if self._waking is None else self._free + 1
            if not self.queue.offer(job, kind, spare=spare, size=size, force=force):
                return False
            if self._waking is None and self._free and not self._gathering:
                self._wake_another()
        if self._cannot_start is not None:
            self._report_threads()
        if self.starving_since is not None:
            self.on_starving()
        return True

    def gather(
        self, inline: InlineWorker | None, handle: t.Callable[[T], object], batch: T
    ) -> Job | None:
        """Call ``handle(batch)``, which submits jobs. Afterwards, wake one worker for all of them.

        Only one thread may call this at a time, the one that reads.

        :param inline: The worker that runs the first job, unless there are too many.
        :returns: A job for the inline worker's ``run``. It has a slot already. :meth:`share` wakes a worker
            for the other jobs, unless the inline worker runs them alone, see :meth:`watch`.
        """
        self._gathering = True
        try:
            handle(batch)
        except BaseException:
            self._end_gathering(None)
            raise
        return self._end_gathering(inline)

    def _end_gathering(self, inline: InlineWorker | None) -> Job | None:
        with self._lock:
            self._gathering = False
            if not self.queue.length or not self._free or self._waking is not None:
                return None
            if inline is None or self.queue.length > inline.MOST:
                self._wake_another()
                return None
            self._free -= 1
            self._workers.add(inline.worker)
            return self.queue.popleft()

    def watch(self, inline: InlineWorker) -> None:
        """Let this inline worker take jobs without waking other workers, until :meth:`share` is called."""
        self._watched, self.is_watched = inline.worker, True

    def share(self) -> None:
        """Wake a worker for the queued jobs. The inline worker does not run them alone any more."""
        with self._lock:
            self._watched, self.is_watched = None, False
            self._wake_if_needed()

    def refuse_starving(self, patience: float) -> int:
        """Refuse the queued jobs if no thread has been free for ``patience`` seconds.

        Jobs that are :class:`Refusable` are refused. Others stay in the queue. A timer calls this
        periodically.

        :returns: How many jobs were refused.
        """
        since = self.starving_since
        if since is None or monotonic() - since < patience:
            return 0
        refused: list[Refusable] = []
        with self._lock:
            # A worker that does not wait takes a job from the queue as soon as it has finished its own.
            if self.starving_since is None or self._away < len(self._workers):
                return 0
            for job in self.queue.clear():
                if isinstance(job, Refusable):
                    refused.append(job)
                else:
                    self.queue.offer(job, None, force=True)
            self.starving_since = monotonic() if self.queue.length else None
        report(
            logger.error,
            "all %d threads are waiting for answers; refused %d queued calls",
            self.threads,
            len(refused),
        )
        for job in refused:
            job.refuse()
        return len(refused)

    def stop(self, timeout: float) -> bool:
        """Let running and waiting jobs finish for at most ``timeout`` seconds, then end all workers.

        Call it from one thread only. It starts threads only if there are jobs in the queue.

        :returns: Whether all jobs finished in time.
        """
        finished = self._drain(timeout)
        with self._lock:
            self._stopping = True
            if self.queue.length:
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
            # A job that stops the pool must not wait for itself.
            self._drainer = current_worker.get()
            if not self._busy():
                return True
            self._all_idle = threading.Event()
            alone = not self._workers
        # No thread could be started, because the interpreter is ending or the system's limit is reached.
        if alone:
            self._run_here(monotonic() + timeout)
        return self._all_idle.wait(timeout)

    def _run_here(self, deadline: float) -> None:
        """Run the queued jobs in this thread, because there are no workers."""
        inline = InlineWorker(self)
        while monotonic() < deadline:
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
        # The worker that is just waking is not counted: its job is still in the queue, if there is one.
        busy = len(self._workers) - len(self._idle) - (self._waking is not None)
        return self.queue.length > 0 or busy > (self._drainer in self._workers)

    # Called by workers.

    def next_job(self, worker: Worker) -> Job | None:
        """Return the worker's next job.

        If None, the worker has no slot any more, and is idle or dismissed.
        """
        if self._cannot_start is not None:
            self._report_threads()
        with self._lock:
            if self._waking is worker:
                self._waking = None
            if self.queue.length and not self._returning:
                job = self.queue.popleft()
                if self.starving_since is not None:
                    self.starving_since = monotonic() if self.queue.length else None
                if self._waking is None and self._watched is not worker:
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
