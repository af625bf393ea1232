"""Resources of a process: threads, file descriptors, memory."""

from __future__ import annotations

import collections
import contextlib
import ctypes
import gc
import os
import re
import threading
import typing as t

_M_ARENA_MAX = -8

_ROOMS = frozenset(
    f"flask_wamp.{name}"
    for name in (
        "concurrency.pool",
        "concurrency.threads",
        "concurrency.timer_thread",
        "peer.calls",
        "peer.connection",
        "peer.invocations",
        "peer.peer",
        "peer.present_session",
        "peer.registrar",
        "peer.serving",
        "protocol.session",
        "protocol.session_requests",
    )
)

_CLASSES = frozenset(
    (
        *("Peer", "Pool", "Connection", "Session", "Pending", "Restoring", "Acknowledgement"),
        *("ActiveInvocation", "ActiveEvent", "CallTicket", "CallFuture", "Waiter"),
    )
)


class Held(t.NamedTuple):
    """The resources of this process after a garbage collection."""

    workers: int
    """Threads of pools, which keep their threads."""
    threads: dict[str, int]
    """The others, by name."""
    files: int
    megabytes: float
    """Resident memory."""

    objects: dict[str, int]
    """Instances of the library's classes that represent one session, call or event."""

    def __str__(self) -> str:
        count = sum(self.threads.values())
        return (
            f"{count} threads and {self.workers} workers, {self.files} file descriptors, "
            f"{self.megabytes:.1f} MB, {self.objects}"
        )


def keep_one_heap() -> None:
    """Make the C library use one heap for all threads. With several, the memory size means little."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def held() -> Held:
    """Measure the resources now."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    names = [re.sub(r"[-_ (]*\d+\)?.*$", "", thread.name) for thread in threading.enumerate()]
    threads = collections.Counter(names)
    workers = threads.pop("wamp-worker", 0)
    return Held(workers, dict(threads), _files(), _megabytes(), _objects())


def counted_as(thing: object) -> str | None:
    """Return the name under which an object is counted, or None if it is not counted."""
    kind = type(thing)
    counts = kind.__module__ in _ROOMS and kind.__qualname__ in _CLASSES
    return kind.__qualname__ if counts else None


def _objects() -> dict[str, int]:
    names = (name for each in gc.get_objects() if (name := counted_as(each)) is not None)
    return dict(collections.Counter(names))


def _files() -> int:
    return len(os.listdir("/proc/self/fd"))


def _megabytes() -> float:
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
