"""Two threads that take turns at reading a connection, so that a lone call need not change threads.

Waking another thread costs more than most handlers do. So who reads a call while nothing else is to be
done has the other one read on, and runs the handler itself: the answer leaves before that other thread
has got hold of the interpreter. More calls than one go to the workers of the pool, who are awake then.
"""

from __future__ import annotations

import functools
import threading
import typing as t

from .execution import is_monkey_patched, spawn
from .line import Job
from .pool import Guest, Pool

Read = t.Callable[[], bool]


def read_all(pool: Pool, read: Read) -> None:
    """Read until the end; what comes goes to a pool, which is held while it is put there.

    :param read: Takes in what has come; False at the end. What it raises is raised here.
    """
    if is_monkey_patched():  # changing greenlets costs next to nothing
        _read_on(pool, read, lambda: None)
    else:
        _Readers(pool, read).run()


def _read_on(pool: Pool, read: Read, guest: t.Callable[[], Guest | None]) -> Job | None:
    """Read until there is a job for a guest; None at the end."""
    try:
        while read():
            job = pool.let_go(guest())
            if job is not None:
                return job
    finally:
        pool.let_go()
    return None


class _Readers:
    def __init__(self, pool: Pool, read: Read) -> None:
        self._pool = pool
        self._read = read
        self._bells = [threading.Lock(), threading.Lock()]
        """Of those who do not read: rung when it is their turn."""
        for bell in self._bells:
            bell.acquire()
        self._standby = False
        """Whether the other one has nothing to do."""
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Have two threads read, and wait until it is over; a handler may go on in one of them."""
        try:
            for number in (0, 1):
                spawn(
                    functools.partial(self._take_turns, number), f"wamp-worker-reader-{number + 1}"
                )
        except RuntimeError:  # no more threads
            self._end(self._bells[0])
            raise
        self._standby = True
        self._bells[0].release()
        self._over.wait()
        if self._error is not None:
            raise self._error

    def _take_turns(self, number: int) -> None:
        guest, bell, other = Guest(self._pool), self._bells[number], self._bells[1 - number]
        while True:
            bell.acquire()
            if self._over.is_set() or not self._take_turn(guest, other):
                return

    def _take_turn(self, guest: Guest, other: threading.Lock) -> bool:
        """Read until there is a job for this thread, and run it; False at the end."""
        try:
            job = _read_on(self._pool, self._read, lambda: guest if self._standby else None)
        except BaseException as error:
            self._error = error
            job = None
        if job is None:
            self._end(other)
            return False
        self._standby = False
        other.release()
        guest.run(job)
        self._standby = True
        return True

    def _end(self, other: threading.Lock) -> None:
        self._over.set()
        other.release()
