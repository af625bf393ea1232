"""Two threads that take turns at reading a connection, so that a few calls need not change threads.

Waking another thread costs more than most handlers do. So who reads calls while nothing else is to be
done runs their handlers itself. Workers of the pool run the others, and the second thread reads on meanwhile:
woken for it, or, where the last handlers were quick, only when this one takes long or waits for an answer;
until then it sleeps, and looks now and then. Many calls at once go to the workers, who are awake then.
"""

from __future__ import annotations

import functools
import threading
import time
import typing as t

from .fair_queue import Job
from .pool import InlineWorker, Pool
from .threads import is_monkey_patched, spawn

Read = t.Callable[[], bool]
Flush = t.Callable[[], None]


def read_all(pool: Pool, read: Read, flush: Flush) -> None:
    """Read until the end; what comes goes to a pool, which is held while it is put there.

    :param read: Takes in what has come; False at the end. What it raises is raised here.
    :param flush: Has answers sent that were left in line for those after them; must not wait.
    """
    if is_monkey_patched():  # changing greenlets costs next to nothing
        _read_on(pool, read, lambda: None)
    else:
        LeaderFollowers(pool, read, flush).run()


def _read_on(pool: Pool, read: Read, guest: t.Callable[[], InlineWorker | None]) -> Job | None:
    """Read until there is a job for a guest; None at the end."""
    try:
        while read():
            job = pool.let_go(guest())
            if job is not None:
                return job
    finally:
        pool.let_go()
    return None


class LeaderFollowers:
    """Who has the baton reads, or runs quick jobs before it reads on: then the other may take it."""

    #: Seconds below which a job is quick; several are that take no longer on average.
    QUICK = 0.0001
    #: Quick jobs in a row after which the next ones are taken for quick.
    TRUST = 8
    #: Seconds between two looks at jobs that were taken for quick: they hold up reading for two at most.
    WATCH = 0.001

    def __init__(self, pool: Pool, read: Read, flush: Flush) -> None:
        self._pool = pool
        self._read = read
        self._flush = flush
        self._baton = threading.Lock()
        """Held in the name of who reads; free while that one runs quick jobs."""
        self._bells = (threading.Lock(), threading.Lock())
        """Of those who do not read: rung to give them the baton."""
        for lock in (self._baton, *self._bells):
            lock.acquire()
        self._idle = [True, True]
        self._watching = False
        """Whether who is idle looks now and then."""
        self._quick = 0
        """How many jobs in a row were quick."""
        self._between = 0
        """How often jobs were run between two reads."""
        self._runner: int | None = None
        """Who ran the last of those."""
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Have two threads read, and wait until it is over; a handler may go on in one of them."""
        threads = []
        try:
            for me in (0, 1):
                take_turns = functools.partial(self._take_turns, me)
                threads.append(spawn(take_turns, f"wamp-worker-reader-{me + 1}"))
        except RuntimeError:  # no more threads
            self._over.set()
            self._bells[0].release()
            raise
        self._ring(0)
        self._over.wait()
        for thread, idle in zip(threads, self._idle, strict=True):
            if idle:  # else a handler goes on in it
                thread.join(1.0)
        if self._error is not None:
            raise self._error

    def _take_turns(self, me: int) -> None:
        guest = InlineWorker(self._pool, functools.partial(self._hurry, me))
        while self._await_turn(me):
            try:
                while self._read_and_run(me, guest):
                    pass
            except BaseException as error:
                self._error = error
                self._end(me)
            if self._over.is_set():
                self._bells[1 - me].release()
                return

    def _await_turn(self, me: int) -> bool:
        """Wait for the baton, or take it; False at the end."""
        seen = None
        self._watching = self._is_trusted
        self._idle[me] = True
        while not self._bells[me].acquire(timeout=self.WATCH if self._watching else -1):
            if self._between != seen:
                seen = self._between
                continue
            self._watching = False  # before the look at the baton: see _offer
            if self._baton.acquire(blocking=False):
                self._share()
                break
        self._idle[me] = False
        return not self._over.is_set()

    def _read_and_run(self, me: int, guest: InlineWorker) -> bool:
        """Read until there are jobs for this thread, and run them; whether to read on then."""
        job = _read_on(self._pool, self._read, lambda: guest if self._idle[1 - me] else None)
        if job is None:
            self._end(me)
            return False
        between = self._is_trusted and self._watching
        if between:
            self._pool.watch(guest)
            between = self._offer(me)
        if not between:
            self._share()
            self._ring(1 - me)
        begun = time.monotonic()
        count = guest.run(job)
        quick = time.monotonic() - begun < self.QUICK * count
        self._quick = self._quick + count if quick else 0
        if between:
            self._share()
        return between and self._baton.acquire(blocking=False)

    @property
    def _is_trusted(self) -> bool:
        """Whether the next jobs are taken for quick ones."""
        return self._quick >= self.TRUST

    def _offer(self, me: int) -> bool:
        """Let go of the baton; False, and nothing has happened, where nobody looks any more."""
        self._runner = me
        self._between += 1
        self._baton.release()
        return self._watching or not self._baton.acquire(blocking=False)

    def _hurry(self, me: int) -> None:
        """The job waits for something that has to be read: the other one takes the baton now."""
        if self._runner == me and self._baton.acquire(blocking=False):
            self._share()
            self._ring(1 - me)

    def _share(self) -> None:
        """Have others run what stands in line, and send what was answered."""
        self._pool.share()
        self._flush()

    def _end(self, me: int) -> None:
        self._idle[me] = True
        self._over.set()

    def _ring(self, other: int) -> None:
        self._idle[other] = False
        self._bells[other].release()
