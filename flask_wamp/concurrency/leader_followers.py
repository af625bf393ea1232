"""Two threads that take turns at reading a connection, so that most calls run on the thread that read them.

To wake another thread costs more than most handlers do. So if the pool has no other work, the thread that has
read a call runs its handler. Meanwhile the second thread reads.

Usually the second thread is woken for that. If the last handlers were quick, it is not woken. It checks
periodically instead, and takes over only if a handler takes long or waits for an answer. If many calls arrive
at once, the pool's workers are awake already and run them.
"""

from __future__ import annotations

import functools
import threading
import typing as t

from .clock import monotonic
from .fair_queue import Job
from .pool import Pool
from .threads import spawn
from .workers import InlineWorker

E = t.TypeVar("E")

#: Waits for the next events and returns them. Returns None at the end.
Read = t.Callable[[], "list[E] | None"]

#: Handles events by submitting jobs to the pool.
Handle = t.Callable[["list[E]"], None]
Flush = t.Callable[[], None]


def read_all(pool: Pool, read: Read[E], handle: Handle[E], flush: Flush) -> None:
    """Read until the end. The pool or the thread that reads runs the jobs.

    :param read: Exceptions of this function are raised here.
    :param flush: Sends the answers that were held back so that one system call sends several. Must not wait.
    """
    if pool.in_greenlets:  # to switch greenlets costs almost nothing
        read_in_turn(pool, read, handle, flush)
    else:
        LeaderFollowers(pool, read, handle, flush).run()


def read_in_turn(pool: Pool, read: Read[E], handle: Handle[E], flush: Flush) -> None:
    """Read until the end in this thread only. The pool runs all jobs."""
    _read_on(pool, read, handle, lambda: None)


def _read_on(
    pool: Pool,
    read: Read[E],
    handle: Handle[E],
    inline: t.Callable[[], InlineWorker | None],
) -> Job | None:
    """Read until there is a job for the inline worker, and return it. Return None at the end."""
    while (events := read()) is not None:
        if events:
            job = pool.gather(inline(), handle, events)
            if job is not None:
                return job
    return None


class LeaderFollowers(t.Generic[E]):
    """Two threads and a baton. The thread with the baton reads.

    The thread releases the baton while it runs quick jobs, and the other thread may then take it.

    Locks: a thread holds at most one lock besides the baton. The baton stands for the right to read. A thread
    holds it across everything it does while it reads.
    """

    #: Seconds below which a job is quick. Several jobs are quick if their average is below it.
    QUICK = 0.0001
    #: Quick jobs in a row after which the next ones are expected to be quick.
    TRUST = 8
    #: Seconds between two checks of jobs that are expected to be quick. They delay reading by two checks at
    #: most.
    WATCH = 0.001

    def __init__(self, pool: Pool, read: Read[E], handle: Handle[E], flush: Flush) -> None:
        self._pool = pool
        self._read = read
        self._handle = handle
        self._flush = flush
        self._baton = threading.Lock()
        """Held by the thread that reads. It is free while that thread runs quick jobs."""
        self._wake_locks = (threading.Lock(), threading.Lock())
        """One lock for each thread. Releasing it wakes the thread and gives it the baton."""
        for lock in (self._baton, *self._wake_locks):
            lock.acquire()
        self._idle = [True, True]
        self._watching = False
        """Whether the idle thread checks periodically if it should take the baton."""
        self._quick = 0
        """How many jobs in a row were quick."""
        self._between = 0
        """How often jobs were run between two reads."""
        self._runner: int | None = None
        """The thread that ran the last of these jobs."""
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Let two threads read, and wait for the end. A handler may still run in one of them."""
        threads = []
        try:
            for me in (0, 1):
                take_turns = functools.partial(self._take_turns, me)
                threads.append(spawn(take_turns, f"wamp-worker-reader-{me + 1}"))
        except RuntimeError:  # the system cannot start another thread
            self._over.set()
            self._wake_locks[0].release()
            raise
        self._give_baton(0)
        self._over.wait()
        for thread, idle in zip(threads, self._idle, strict=True):
            if idle:  # otherwise a handler still runs in it
                thread.join(1.0)
        if self._error is not None:
            raise self._error

    def _take_turns(self, me: int) -> None:
        inline = InlineWorker(self._pool, functools.partial(self._before_waiting, me))
        while self._await_turn(me):
            try:
                while self._read_and_run(me, inline):
                    pass
            except BaseException as error:
                self._error = error
                self._end(me)
            if self._over.is_set():
                self._wake_locks[1 - me].release()
                return

    def _await_turn(self, me: int) -> bool:
        """Wait for the baton, or take it. Return False at the end."""
        seen = None
        self._watching = self._is_trusted
        self._idle[me] = True
        while not self._wake_locks[me].acquire(timeout=self.WATCH if self._watching else -1):
            if self._between != seen:
                seen = self._between
                continue
            self._watching = False  # set before the baton is tried, see _offer
            if self._baton.acquire(blocking=False):
                self._share()
                break
        self._idle[me] = False
        return not self._over.is_set()

    def _read_and_run(self, me: int, inline: InlineWorker) -> bool:
        """Read until there are jobs for this thread, and run them.

        Return whether this thread should read again.
        """
        assert self._baton.locked()
        get_inline = functools.partial(self._inline_if_relieved, me, inline)
        job = _read_on(self._pool, self._read, self._handle, get_inline)
        if job is None:
            self._end(me)
            return False
        between = self._is_trusted and self._watching
        if between:
            self._pool.watch(inline)
            between = self._offer(me)
        if not between:
            self._share()
            self._give_baton(1 - me)
        begun = monotonic()
        count = inline.run(job)
        quick = monotonic() - begun < self.QUICK * count
        self._quick = self._quick + count if quick else 0
        if between:
            self._share()
        return between and self._baton.acquire(blocking=False)

    def _inline_if_relieved(self, me: int, inline: InlineWorker) -> InlineWorker | None:
        """Return the inline worker if the other thread is free to read. Return None otherwise."""
        return inline if self._idle[1 - me] else None

    @property
    def _is_trusted(self) -> bool:
        """Whether the next jobs are expected to be quick."""
        return self._quick >= self.TRUST

    def _offer(self, me: int) -> bool:
        """Release the baton.

        If the other thread does not check for it any more, take it back and return False.
        """
        self._runner = me
        self._between += 1
        self._baton.release()
        return self._watching or not self._baton.acquire(blocking=False)

    def _before_waiting(self, me: int) -> None:
        """Let the other thread read now, because the job waits for a message."""
        if self._runner == me and self._baton.acquire(blocking=False):
            self._share()
            self._give_baton(1 - me)

    def _share(self) -> None:
        """Let other workers run the queued jobs, and send the answers that were held back."""
        if self._pool.queue.length or self._pool.is_watched:
            self._pool.share()
        self._flush()

    def _end(self, me: int) -> None:
        self._idle[me] = True
        self._over.set()

    def _give_baton(self, other: int) -> None:
        self._idle[other] = False
        self._wake_locks[other].release()
