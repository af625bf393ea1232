"""Threads. With gevent's monkey-patching, they are greenlets.

Threads are created only in this folder, with two exceptions: a process for tasks watches its parent in a
thread, and :mod:`flask_wamp.crossbar` reads Crossbar's log in one.

No lock is created at import, or in a constructor that runs before ``start()``. A lock that was created before
monkey-patching would freeze the process.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
import typing as t

from .cancellation import limit_coroutines
from .clock import monotonic
from .fair_queue import Job
from .interruption import TimeLimit


def spawn(target: t.Callable[[], None], name: str) -> threading.Thread:
    """Start a named daemon thread. The interpreter does not wait for it, so ``atexit`` has to stop it."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def poll(ready: t.Callable[[], bool], then: Job, *, name: str, interval: float = 0.02) -> None:
    """Call ``ready`` every ``interval`` seconds until it returns True, then call ``then`` once."""

    def look() -> None:
        while not ready():
            time.sleep(interval)
        then()

    spawn(look, name)


def is_ending() -> bool:
    """Return whether the interpreter is ending. From Python 3.12 on, it then starts no thread any more."""
    return not threading.main_thread().is_alive()


def is_monkey_patched() -> bool:
    """Return whether gevent has patched ``threading``, so that threads are greenlets."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


@contextlib.contextmanager
def time_limit(deadline: float | None) -> t.Iterator[None]:
    """End the code in this context when ``time.monotonic()`` reaches the deadline, if that is possible.

    In a greenlet, ``gevent.Timeout`` is raised, which is a ``BaseException``. Python cannot end a thread from
    outside, but a coroutine that runs in the thread is canceled.
    """
    if deadline is None:
        yield
        return
    if not is_monkey_patched():
        with limit_coroutines(deadline):
            yield
        return
    import gevent

    with gevent.Timeout(max(0.001, deadline - monotonic())):
        yield


def is_time_limit(error: BaseException | None) -> bool:
    """Return whether :func:`time_limit` has raised this exception."""
    gevent = sys.modules.get("gevent")
    return isinstance(error, TimeLimit) or (
        gevent is not None and isinstance(error, gevent.Timeout)
    )


class Waiter:
    """Lets one thread wait for one answer.

    It is cheaper than an ``Event``, because it needs only one lock.
    """

    __slots__ = ("_lock", "error", "value")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()
        self.value: t.Any = None
        self.error: BaseException | None = None

    def resolve(self, value: t.Any) -> None:
        """Set the answer and wake the thread that waits."""
        self.value = value
        self._wake()

    def fail(self, error: BaseException) -> None:
        """Set an error and wake the thread that waits."""
        self.error = error
        self._wake()

    @property
    def is_answered(self) -> bool:
        """Whether an answer or an error was set."""
        return self.value is not None or self.error is not None

    def wait(self, timeout: float) -> bool:
        """Wait at most ``timeout`` seconds. Return whether an answer or an error was set."""
        return self._lock.acquire(timeout=max(0.0, timeout))

    def _wake(self) -> None:
        try:
            self._lock.release()
        except RuntimeError:
            return  # it was woken already


def acquire_uninterrupted(turn: threading.Lock) -> None:
    """Acquire a lock, and raise an exception that interrupts the wait only afterwards.

    A time limit may end a greenlet while it waits for its slot. Its job still needs the slot until it has
    ended.
    """
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
