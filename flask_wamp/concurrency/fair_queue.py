"""The queue in front of the workers. It is fair: a busy procedure does not make the others wait."""

from __future__ import annotations

import collections
import typing as t

Job = t.Callable[[], object]


class FairQueue:
    """Jobs by kind, which take turns: one job of each kind, then the next one of each.

    Jobs of one kind keep their order. The queue has no lock: its owner calls it under a lock of its own.

    :param limit: How many jobs may wait. While the queue is full, a kind with less than its share still
        gets in, so up to twice as many may wait. The same holds for ``max_bytes``.
    :param max_bytes: How many bytes the messages of waiting jobs may have. A job that finds the queue
        empty gets in, whatever its size.
    """

    __slots__ = ("_kinds", "_turns", "bytes", "length", "limit", "max_bytes")

    def __init__(self, limit: int, max_bytes: float = float("inf")) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.length = 0
        """How many jobs wait; an attribute, because ``len()`` would cost a call per look."""
        self.bytes = 0
        """How many bytes their messages have."""
        self._kinds: dict[object, _Waiting] = {}
        self._turns: collections.deque[object] = collections.deque()

    def offer(self, job: Job, kind: object, *, spare: int = 0, size: int = 0) -> bool:
        """Append a job, or return False if there is no room for it.

        :param spare: How many jobs are about to be taken out, and do not count.
        :param size: The bytes of the job's message.
        """
        length = self.length - spare
        if length < self.limit and (self.bytes + size <= self.max_bytes or length <= 0):
            self.append(job, kind, size)
            return True
        waiting = self._kinds.get(kind, _NONE)
        kinds = len(self._kinds) + (waiting is _NONE)
        has_share_left = (
            len(waiting.jobs) < self.limit // kinds
            and waiting.bytes + size <= self.max_bytes / kinds
            and length < 2 * self.limit
            and self.bytes + size <= 2 * self.max_bytes
        )
        if has_share_left:
            self.append(job, kind, size)
        return has_share_left

    def append(self, job: Job, kind: object, size: int = 0) -> None:
        """Append a job, even if the queue is full."""
        waiting = self._kinds.get(kind)
        if waiting is None:
            self._kinds[kind] = waiting = _Waiting()
            self._turns.append(kind)
        waiting.jobs.append((job, size))
        waiting.bytes += size
        self.bytes += size
        self.length += 1

    def popleft(self) -> Job:
        """Take the next job out.

        :raises IndexError: There is none.
        """
        kind = self._turns[0]
        waiting = self._kinds[kind]
        job, size = waiting.jobs.popleft()
        waiting.bytes -= size
        self.bytes -= size
        self.length -= 1
        if waiting.jobs:
            self._turns.rotate(-1)
        else:
            self._turns.popleft()
            del self._kinds[kind]
        return job

    def clear(self) -> list[Job]:
        """Take all jobs out, and return them."""
        return [self.popleft() for _ in range(self.length)]


class _Waiting:
    """The waiting jobs of one kind, each with the bytes of its message, and their sum."""

    __slots__ = ("bytes", "jobs")

    def __init__(self) -> None:
        self.jobs: collections.deque[tuple[Job, int]] = collections.deque()
        self.bytes = 0


_NONE = _Waiting()
