"""Threads: the only room that makes them. Under gevent's monkey-patching the same lines are greenlets.

Nothing here is created at import or in a constructor that runs before ``start()``: a lock made before
monkey-patching freezes the process (measured).
"""

from __future__ import annotations

import collections
import contextlib
import contextvars
import itertools
import logging
import sys
import threading
import time
import typing as t

Job = t.Callable[[], object]

logger = logging.getLogger("flask_wamp.execution")

MAX_SECONDS = 1e9
"""The longest wait: the system refuses those above ``threading.TIMEOUT_MAX``, infinity too."""

#: The worker this code runs on, in whatever thread or coroutine it has wandered to.
_current_worker: contextvars.ContextVar[_Worker | None] = contextvars.ContextVar(
    "flask_wamp_worker", default=None
)


def spawn(target: t.Callable[[], None], name: str) -> threading.Thread:
    """Start a named daemon thread. Daemon: the interpreter may leave, ``atexit`` stops us in order."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def poll(ready: t.Callable[[], bool], then: Job, *, name: str, interval: float = 0.02) -> None:
    """Look every ``interval`` seconds whether it is ready, then call a function, once."""

    def look() -> None:
        while not ready():
            time.sleep(interval)
        then()

    spawn(look, name)


def is_seconds(value: t.Any) -> bool:
    """Whether a value is a time to wait: a number above 0, and not more than can be waited for."""
    return isinstance(value, int | float) and value is not True and 0 < value <= MAX_SECONDS


def is_monkey_patched() -> bool:
    """Whether gevent has made greenlets of threads in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


@contextlib.contextmanager
def time_limit(deadline: float | None) -> t.Iterator[None]:
    """End what runs inside at a ``time.monotonic()``, where that can be done: in a greenlet.

    There ``gevent.Timeout`` is raised, a ``BaseException``; a thread cannot be ended from outside.
    """
    if deadline is None or not is_monkey_patched():
        yield
        return
    import gevent

    with gevent.Timeout(max(0.001, deadline - time.monotonic())):
        yield


def is_time_limit(error: BaseException | None) -> bool:
    """Whether an exception is that of :func:`time_limit`."""
    gevent = sys.modules.get("gevent")
    return gevent is not None and isinstance(error, gevent.Timeout)


def default_workers() -> int:
    """How many jobs run at once where nothing is configured: greenlets cost next to nothing."""
    return 1000 if is_monkey_patched() else 32


class Waiter:
    """Where one thread waits for one answer. Cheaper than an ``Event``: one lock, no condition."""

    __slots__ = ("_lock", "error", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.value: t.Any = None
        self.error: BaseException | None = None

    def resolve(self, value: t.Any) -> None:
        """Hand over the answer. The first one counts."""
        self.value = value
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Hand over an error instead."""
        self.error = error
        self._wake()

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds; False when nothing came."""
        return self._lock.acquire(timeout=max(0.0, timeout))

    def _wake(self) -> None:
        with contextlib.suppress(RuntimeError):  # woken already
            self._lock.release()


class Pool:
    """Workers with a fixed number of places, and a bounded line in front of them.

    A job that waits for another peer gives its place away (:meth:`yield_place`) and takes one back
    before it goes on. So at most ``size`` jobs run at once, and yet any number may wait inside each
    other without starving.

    :param size: How many jobs run at once.
    :param max_pending: How many may stand in line; more are refused.
    :param max_threads: How many threads there may be, waiting ones included.
    """

    def __init__(self, size: int, max_pending: int, *, max_threads: int | None = None) -> None:
        self.size = size
        self.max_pending = max_pending
        self.max_threads = max_threads or size + 2048
        self._lock = threading.Lock()
        self._free = size
        self._jobs: collections.deque[Job] = collections.deque()
        self._idle: list[_Worker] = []
        self._returning: collections.deque[threading.Lock] = collections.deque()
        self._workers: set[_Worker] = set()
        self._numbers = itertools.count(1)
        self._stopping = False
        self._all_idle: threading.Event | None = None
        self._drainer: _Worker | None = None

    @property
    def pending(self) -> int:
        """How many jobs stand in line."""
        return len(self._jobs)

    @property
    def running(self) -> int:
        """How many jobs have a place."""
        return self.size - self._free

    def submit(self, job: Job, *, force: bool = False) -> bool:
        """Run a job on a worker as soon as there is a place.

        :param force: Take it though the line is full.
        :returns: False when it was refused: the line is full, or the pool is stopping.
        """
        with self._lock:
            if self._stopping:
                return False
            if self._free and self._start(job):
                self._free -= 1
                return True
            if len(self._jobs) >= self.max_pending and not force:
                return False
            self._jobs.append(job)
            return True

    def yield_place(self) -> t.ContextManager[None]:
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
            worker.wake(None)
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
        busy = len(self._workers) - len(self._idle)
        return bool(self._jobs) or busy > (self._drainer in self._workers)

    # Called by workers and under the lock.

    def _start(self, job: Job) -> bool:
        """Give a job with a place to an idle worker, or to a new one."""
        if self._idle:
            self._idle.pop().wake(job)  # the last one to go idle: its stack is still in the cache
            return True
        if len(self._workers) >= self.max_threads:
            return False
        worker = _Worker(self, job)
        try:
            worker.thread = spawn(worker.run, f"wamp-worker-{next(self._numbers)}")
        except RuntimeError:
            logger.error(
                "cannot start another thread, %d are running: look at the limits of this process",
                len(self._workers),
            )
            return False
        self._workers.add(worker)
        return True

    def _pass_on(self) -> None:
        """Give a place that became free to whoever is next."""
        if self._returning:
            self._returning.popleft().release()
        elif self._jobs and self._start(self._jobs[0]):
            self._jobs.popleft()
        else:
            self._free += 1

    def _next(self, worker: _Worker) -> Job | None:
        """The worker's next job, or None: its place is given away and it is idle, or not needed."""
        with self._lock:
            if not self._returning and self._jobs:
                return self._jobs.popleft()
            self._pass_on()
            if self._stopping or len(self._idle) >= self.size:
                self._workers.discard(worker)
                worker.dismissed = True
            else:
                self._idle.append(worker)
            if self._all_idle is not None and not self._busy():
                self._all_idle.set()
            return None


class _Worker:
    """One thread, and the job it was woken for."""

    __slots__ = ("_bell", "_job", "away", "dismissed", "pool", "thread")

    thread: threading.Thread

    def __init__(self, pool: Pool, job: Job) -> None:
        self.pool = pool
        self.away = False
        self.dismissed = False
        self._job: Job | None = job
        self._bell = threading.Lock()
        self._bell.acquire()

    def wake(self, job: Job | None) -> None:
        """Give an idle worker a job and a place; None ends it."""
        self._job = job
        self._bell.release()

    def run(self) -> None:
        _current_worker.set(self)
        job = self._job
        while job is not None:
            try:
                job()
            except BaseException:  # a job answers for its own errors: this is a defect of ours
                logger.exception("a job failed")
            job = self.pool._next(self)
            if job is None and not self.dismissed:
                self._job = None
                self._bell.acquire()
                job = self._job
        with self.pool._lock:
            self.pool._workers.discard(self)


class _Away:
    """The job of a worker waits elsewhere: give the place away, take one back."""

    __slots__ = ("_gave", "_worker")

    def __init__(self, worker: _Worker) -> None:
        self._worker = worker

    def __enter__(self) -> None:
        pool = self._worker.pool
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


class Lane:
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
        self.pool.submit(self._turn, force=True)
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
        self.pool.submit(self._turn, force=True)
