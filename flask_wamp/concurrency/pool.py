"""The workers that run handlers, and their places."""

from __future__ import annotations

import collections
import contextvars
import itertools
import threading
import time
import typing as t

from .._text import get_logger
from .fair_queue import FairQueue, Job
from .threads import is_monkey_patched, spawn

logger = get_logger("flask_wamp.execution")

#: The worker this code runs on, in whatever thread or coroutine it has wandered to.
_current_worker: contextvars.ContextVar[_Worker | None] = contextvars.ContextVar(
    "flask_wamp_worker", default=None
)


class Pool:
    """Workers with a fixed number of places, and a bounded line in front of them.

    A job that waits for another peer gives its place away (:meth:`release_slot`) and takes one back
    before it goes on. So at most ``size`` jobs run at once, and yet any number may wait inside each
    other without starving.

    Only one worker is woken at a time, and wakes the next when it takes a job and sees more. Jobs that
    never wait are so run one after the other by a worker that is awake already, at no more than the cost
    of a function call; the moment one waits, the interpreter is free for the next worker.

    :param size: How many jobs run at once.
    :param max_pending: How many may stand in line, see :class:`.line.FairQueue`; more are refused.
    :param max_threads: How many threads there may be, waiting ones included.
    """

    def __init__(self, size: int, max_pending: int, *, max_threads: int | None = None) -> None:
        self.size = size
        self.max_threads = max_threads or size + 2048
        self._lock = threading.Lock()
        self._free = size
        self._waking: _Worker | None = None
        """The worker that was woken, has a place, and has not looked for a job yet."""
        self._jobs = FairQueue(max_pending)
        self._held = False
        self._watched: _Worker | None = None
        """The guest that runs what stands in line alone, as long as it is quick."""
        self._idle: list[_Worker] = []
        self._returning: collections.deque[threading.Lock] = collections.deque()
        self._workers: set[_Worker] = set()
        self._numbers = itertools.count(1)
        self._stopping = False
        self._all_idle: threading.Event | None = None
        self._drainer: _Worker | None = None

    @property
    def pending(self) -> int:
        """How many jobs stand in line, and have no place."""
        return max(0, len(self._jobs) - self._free - (self._waking is not None))

    @property
    def running(self) -> int:
        """How many jobs have a place."""
        looking = self._waking is not None
        return min(self.size, self.size - self._free - looking + len(self._jobs))

    def has_more(self) -> bool:
        """Whether a worker that is done with its job finds another one."""
        return bool(self._jobs)

    def submit(self, job: Job, *, kind: object = None, force: bool = False) -> bool:
        """Run a job on a worker as soon as there is a place.

        :param kind: What it is for: kinds take turns.
        :param force: Take it though the line is full.
        :returns: False when it was refused: the line is full, or the pool is stopping.
        """
        with self._lock:
            if self._stopping:
                return False
            places = self._free + (self._waking is not None)
            if not (force or self._jobs.has_room(kind, places)):
                return False
            self._jobs.append(job, kind)
            if self._waking is None and self._free and not self._held:
                self._wake_another()
            return True

    def hold(self) -> None:
        """Wake nobody for what is submitted from now on; :meth:`let_go` does. For one thread only."""
        self._held = True

    def let_go(self, guest: InlineWorker | None = None) -> Job | None:
        """Have a worker woken for what was submitted since :meth:`hold`.

        :param guest: Who runs it if it is not much.
        :returns: The first job, which has a place and must be given to :meth:`InlineWorker.run`. For others
            a worker is woken by :meth:`share`, or they are the guest's: see :meth:`watch`.
        """
        if not self._held:
            return None
        with self._lock:
            self._held = False
            if not self._jobs or not self._free or self._waking is not None:
                return None
            if guest is None or len(self._jobs) > guest.MOST:
                self._wake_another()
                return None
            self._free -= 1
            self._workers.add(guest.worker)
            return self._jobs.popleft()

    def watch(self, guest: InlineWorker) -> None:
        """Wake nobody when this guest takes a job and sees more: who watches it calls :meth:`share`."""
        self._watched = guest.worker

    def is_watched(self) -> bool:
        """Whether a guest runs what stands in line alone."""
        return self._watched is not None

    def share(self) -> None:
        """Have a worker woken for what stands in line: no guest runs that alone any more."""
        with self._lock:
            self._watched = None
            self._wake_if_needed()

    def release_slot(self) -> t.ContextManager[None]:
        """While inside, another job may have this one's place. Does nothing outside of a job."""
        worker = _current_worker.get()
        return _NOTHING if worker is None or worker.pool is not self else _Away(worker)

    def stop(self, timeout: float) -> bool:
        """Let what is in hand finish, at most ``timeout`` seconds, then end all workers.

        :returns: Whether all finished in time.
        """
        finished = self._drain(timeout)
        with self._lock:
            self._stopping = True
            self._jobs.clear()
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
            self._drainer = _current_worker.get()  # a job that stops the pool: not waited for
            if not self._busy():
                return True
            self._all_idle = threading.Event()
        return self._all_idle.wait(timeout)

    def _busy(self) -> bool:
        # A worker that was woken is busy with a job in line, or with nothing.
        busy = len(self._workers) - len(self._idle) - (self._waking is not None)
        return bool(self._jobs) or busy > (self._drainer in self._workers)

    # Called by workers and under the lock.

    def _wake_another(self) -> bool:
        """Give a place to an idle worker, or to a new one; False when there can be none."""
        if self._idle:
            worker = self._idle.pop()  # the last one to go idle: its stack is still in the cache
            self._waking = worker
            worker.wake()
        elif len(self._workers) >= self.max_threads or not self._add_worker():
            return False
        self._free -= 1
        return True

    def _wake_if_needed(self) -> None:
        """Wake a worker if there is a job and a place for it, and none is on its way."""
        if self._jobs and self._free and self._waking is None:
            self._wake_another()

    def _add_worker(self) -> bool:
        worker = _Worker(self)
        try:
            worker.thread = spawn(worker.run, f"wamp-worker-{next(self._numbers)}")
        except RuntimeError:
            logger.error(
                "cannot start another thread, %d are running: look at the limits of this process",
                len(self._workers),
            )
            return False
        self._workers.add(worker)
        self._waking = worker
        return True

    def _pass_on(self) -> None:
        """Give a place that became free to whoever is next."""
        if self._returning:
            self._returning.popleft().release()
            return
        self._free += 1
        self._wake_if_needed()

    def _next(self, worker: _Worker) -> Job | None:
        """The worker's next job, or None: its place is given away and it is idle, or not needed."""
        with self._lock:
            if self._waking is worker:
                self._waking = None
            if self._jobs and not self._returning:
                job = self._jobs.popleft()
                if self._watched is not worker:
                    self._wake_if_needed()
                return job
            self._pass_on()
            if worker.is_guest or self._stopping or len(self._idle) >= self.size:
                self._workers.discard(worker)
                worker.dismissed = True
            else:
                self._idle.append(worker)
            if self._all_idle is not None and not self._busy():
                self._all_idle.set()
            return None


class _Worker:
    """One thread, and the bell that wakes it."""

    __slots__ = ("_bell", "away", "before_waiting", "dismissed", "is_guest", "pool", "thread")

    #: Jobs in a row before greenlets give way to the others, the reader's among them.
    TURN = 64

    thread: threading.Thread

    def __init__(self, pool: Pool, is_guest: bool = False) -> None:
        self.pool = pool
        self.is_guest = is_guest
        self.before_waiting: t.Callable[[], None] | None = None
        self.away = False
        self.dismissed = False
        self._bell = threading.Lock()
        self._bell.acquire()

    def wake(self) -> None:
        """Have an idle worker look for a job: it has a place."""
        self._bell.release()

    def run(self) -> None:
        _current_worker.set(self)
        next_job, give_way = self.pool._next, is_monkey_patched()
        while not self.dismissed:
            in_a_row = 0
            while (job := next_job(self)) is not None:
                try:
                    job()
                except BaseException:  # a job answers for its own errors: this is a defect of ours
                    logger.exception("a job failed")
                in_a_row += 1
                if give_way and in_a_row % self.TURN == 0:
                    time.sleep(0)
            if not self.dismissed:
                self._bell.acquire()
        with self.pool._lock:
            self.pool._workers.discard(self)


class InlineWorker:
    """A thread that has something else to do, and works now and then.

    :param before_waiting: Called when a job of it is about to wait for another peer, on whatever thread.
    """

    __slots__ = ("worker",)

    #: Jobs in line above which they are left to the workers.
    MOST = 100

    def __init__(self, pool: Pool, before_waiting: t.Callable[[], None] | None = None) -> None:
        self.worker = _Worker(pool, is_guest=True)
        self.worker.before_waiting = before_waiting

    def run(self, job: Job | None) -> int:
        """Run the job of :meth:`Pool.let_go`, and what stands in line; return how many that were."""
        _current_worker.set(self.worker)
        next_job, count = self.worker.pool._next, 0
        while job is not None:
            _run(job)
            count += 1
            job = next_job(self.worker)
        _current_worker.set(None)
        return count


def _run(job: Job) -> None:
    try:
        job()
    except BaseException:  # a job answers for its own errors: this is a defect of ours
        logger.exception("a job failed")


class _Away:
    """The job of a worker waits elsewhere: give the place away, take one back."""

    __slots__ = ("_gave", "_worker")

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        pool, before_waiting = self._worker.pool, self._worker.before_waiting
        if before_waiting is not None:
            before_waiting()
        with pool._lock:
            self._gave = not self._worker.away  # a second wait of the same job has none to give
            if self._gave:
                self._worker.away = True
                pool._pass_on()

    def __exit__(self, *exc_info: object) -> None:
        if not self._gave:
            return
        pool = self._worker.pool
        with pool._lock:
            self._worker.away = False
            if pool._free:
                pool._free -= 1
                return
            turn = threading.Lock()
            turn.acquire()
            pool._returning.append(turn)
        _acquire_in_any_case(turn)


def _acquire_in_any_case(turn: threading.Lock) -> None:
    """Wait though a greenlet's time limit ends here: its job goes on to end, and needs its place."""
    ended: BaseException | None = None
    while True:
        try:
            turn.acquire()
        except BaseException as error:
            ended = error
        else:
            break
    if ended is not None:
        raise ended


class _Nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc_info: object) -> None:
        pass


_NOTHING = _Nothing()
