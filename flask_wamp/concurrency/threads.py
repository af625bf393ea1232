"""Threads: the only room that makes them. Under gevent's monkey-patching the same lines are greenlets.

Nothing here is created at import or in a constructor that runs before ``start()``: a lock made before
monkey-patching freezes the process (measured).
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
    """Start a named daemon thread: the interpreter does not wait for it, ``atexit`` stops it in order."""
    thread = threading.Thread(target=target, name=name, daemon=True)
    thread.start()
    return thread


def poll(ready: t.Callable[[], bool], then: Job, *, name: str, interval: float = 0.02) -> None:
    """Check every ``interval`` seconds whether something is ready, then call a function, once."""

    def look() -> None:
        while not ready():
            time.sleep(interval)
        then()

    spawn(look, name)


def is_monkey_patched() -> bool:
    """Whether gevent has made greenlets of threads in this process."""
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading"))


@contextlib.contextmanager
def time_limit(deadline: float | None) -> t.Iterator[None]:
    """End what runs inside at a ``time.monotonic()``, where that can be done.

    In a greenlet ``gevent.Timeout`` is raised, a ``BaseException``. A thread cannot be ended from outside,
    but a coroutine that runs in it is canceled.
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
    """Whether an exception is that of :func:`time_limit`."""
    gevent = sys.modules.get("gevent")
    return isinstance(error, TimeLimit) or (
        gevent is not None and isinstance(error, gevent.Timeout)
    )


class Waiter:
    """A place where one thread waits for one answer. Cheaper than an ``Event``: one lock, no condition."""

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


def acquire_in_any_case(turn: threading.Lock) -> None:
    """Wait even if a greenlet's time limit ends here: its job goes on until its end, and needs its slot."""
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
