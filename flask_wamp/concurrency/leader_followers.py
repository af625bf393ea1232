"""Two threads that take turns at reading a connection, so that a few calls need not change threads.

Waking another thread costs more than most handlers do. So the thread that reads calls, and finds nothing
else to do, runs their handlers itself. The pool's workers run the others, and the second thread reads on
meanwhile. It is woken for that; or, where the last handlers were quick, it looks now and then, and takes over
only when a handler takes long or waits for an answer. When many calls come at once, the workers are awake
anyway, and get them.
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

#: Waits for what comes next and returns it; None at the end.
Read = t.Callable[[], "list[E] | None"]

#: Handles what came: submits jobs to the pool.
Handle = t.Callable[["list[E]"], None]
Flush = t.Callable[[], None]


def read_all(pool: Pool, read: Read[E], handle: Handle[E], flush: Flush) -> None:
    """Read until the end. Jobs that come are run by the pool, or by the thread that reads.

    :param read: What it raises is raised here.
    :param flush: Has answers sent that were kept back for those after them; must not wait.
    """
    if pool.in_greenlets:  # changing them costs next to nothing
        read_in_turn(pool, read, handle, flush)
    else:
        LeaderFollowers(pool, read, handle, flush).run()


def read_in_turn(pool: Pool, read: Read[E], handle: Handle[E], flush: Flush) -> None:
    """Do as :func:`read_all`, in this thread alone: the pool runs all jobs."""
    _read_on(pool, read, handle, lambda: None)


def _read_on(
    pool: Pool,
    read: Read[E],
    handle: Handle[E],
    inline: t.Callable[[], InlineWorker | None],
) -> Job | None:
    """Read until there is a job for an inline worker; None at the end."""
    while (events := read()) is not None:
        if events:
            job = pool.gather(inline(), handle, events)
            if job is not None:
                return job
    return None


class LeaderFollowers(t.Generic[E]):
    """The thread with the baton reads. While it runs quick jobs, the other one may take the baton.

    Locks: none is held while another is taken but the baton, which stands for the right to read and is
    held across everything that the leader does.
    """

    #: Seconds below which a job is quick; several jobs are if they take no longer on average.
    QUICK = 0.0001
    #: Quick jobs in a row after which the next ones are expected to be quick.
    TRUST = 8
    #: Seconds between two looks at jobs that were expected to be quick: they delay reading by two at most.
    WATCH = 0.001

    def __init__(self, pool: Pool, read: Read[E], handle: Handle[E], flush: Flush) -> None:
        self._pool = pool
        self._read = read
        self._handle = handle
        self._flush = flush
        self._baton = threading.Lock()
        """Held in the name of the thread that reads; free while that one runs quick jobs."""
        self._bells = (threading.Lock(), threading.Lock())
        """One for each thread: released to give it the baton."""
        for lock in (self._baton, *self._bells):
            lock.acquire()
        self._idle = [True, True]
        self._watching = False
        """Whether the idle thread looks now and then."""
        self._quick = 0
        """How many jobs in a row were quick."""
        self._between = 0
        """How often jobs were run between two reads."""
        self._runner: int | None = None
        """The thread that ran the last of those."""
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Have two threads read, and wait for the end; a handler may go on in one of them."""
        threads = []
        try:
            for me in (0, 1):
                take_turns = functools.partial(self._take_turns, me)
                threads.append(spawn(take_turns, f"wamp-worker-reader-{me + 1}"))
        except RuntimeError:  # the system gives no more threads
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
        inline = InlineWorker(self._pool, functools.partial(self._hurry, me))
        while self._await_turn(me):
            try:
                while self._read_and_run(me, inline):
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

    def _read_and_run(self, me: int, inline: InlineWorker) -> bool:
        """Read until there are jobs for this thread, and run them; return whether to read on then."""
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
            self._ring(1 - me)
        begun = monotonic()
        count = inline.run(job)
        quick = monotonic() - begun < self.QUICK * count
        self._quick = self._quick + count if quick else 0
        if between:
            self._share()
        return between and self._baton.acquire(blocking=False)

    def _inline_if_relieved(self, me: int, inline: InlineWorker) -> InlineWorker | None:
        """Run a job on this thread only if the other one is there to read on."""
        return inline if self._idle[1 - me] else None

    @property
    def _is_trusted(self) -> bool:
        """Whether the next jobs are expected to be quick."""
        return self._quick >= self.TRUST

    def _offer(self, me: int) -> bool:
        """Release the baton. False if the other thread does not look any more: then nothing has happened."""
        self._runner = me
        self._between += 1
        self._baton.release()
        return self._watching or not self._baton.acquire(blocking=False)

    def _hurry(self, me: int) -> None:
        """Let the other thread read now, because the job waits for something that has to be read."""
        if self._runner == me and self._baton.acquire(blocking=False):
            self._share()
            self._ring(1 - me)

    def _share(self) -> None:
        """Have others run what is in the queue, and send what was answered."""
        if self._pool.queue.length or self._pool.is_watched:
            self._pool.share()
        self._flush()

    def _end(self, me: int) -> None:
        self._idle[me] = True
        self._over.set()

    def _ring(self, other: int) -> None:
        self._idle[other] = False
        self._bells[other].release()
