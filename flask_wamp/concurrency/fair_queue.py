"""The queue of jobs that wait for a worker. It is fair, so a busy procedure does not delay others."""

from __future__ import annotations

import collections
import typing as t

Job = t.Callable[[], object]


class FairQueue:
    """Jobs by kind. The kinds take turns: one job of each kind, then the next job of each.

    Jobs of one kind keep their order. The queue has no lock. Its owner must hold a lock when it calls any
    method.

    :param limit: How many jobs may wait. If the queue is full, it still accepts jobs of a kind that has less
        than its share. So up to twice as many may wait. The same is true of ``max_bytes``.
    :param max_bytes: How many bytes the messages of waiting jobs may have together. An empty queue accepts a
        job of any size.
    """

    __slots__ = ("_kinds", "_turns", "bytes", "length", "limit", "max_bytes")

    def __init__(self, limit: int, max_bytes: float = float("inf")) -> None:
        self.limit = limit
        self.max_bytes = max_bytes
        self.length = 0
        """How many jobs wait. This is an attribute, because ``len()`` would cost a function call."""
        self.bytes = 0
        """How many bytes the messages of these jobs have."""
        self._kinds: dict[object, _Waiting] = {}
        self._turns: collections.deque[_Waiting] = collections.deque()

    def offer(
        self, job: Job, kind: object, *, spare: int = 0, size: int = 0, force: bool = False
    ) -> bool:
        """Append a job. Return False if the queue is full.

        :param spare: How many waiting jobs are about to be taken out. They are not counted.
        :param size: The bytes of the job's message.
        :param force: Append it even if the queue is full.
        """
        length = self.length - spare
        is_full = length >= self.limit or (self.bytes + size > self.max_bytes and length > 0)
        if is_full and not (force or self._has_share_left(kind, length, size)):
            return False
        waiting = self._kinds.get(kind)
        if waiting is None:
            self._kinds[kind] = waiting = _Waiting(kind)
            self._turns.append(waiting)
        waiting.jobs.append((job, size))
        waiting.bytes += size
        self.bytes += size
        self.length += 1
        return True

    def _has_share_left(self, kind: object, length: int, size: int) -> bool:
        waiting = self._kinds.get(kind, _NONE)
        kinds = len(self._kinds) + (waiting is _NONE)
        return (
            len(waiting.jobs) < self.limit // kinds
            and waiting.bytes + size <= self.max_bytes / kinds
            and length < 2 * self.limit
            and self.bytes + size <= 2 * self.max_bytes
        )

    def popleft(self) -> Job:
        """Remove the next job and return it.

        :raises IndexError: The queue is empty.
        """
        waiting = self._turns[0]
        job, size = waiting.jobs.popleft()
        waiting.bytes -= size
        self.bytes -= size
        self.length -= 1
        if waiting.jobs:
            self._turns.rotate(-1)
        else:
            self._turns.popleft()
            del self._kinds[waiting.kind]
        return job

    def clear(self) -> list[Job]:
        """Remove all jobs and return them."""
        return [self.popleft() for _ in range(self.length)]


class _Waiting:
    """The waiting jobs of one kind. Each has the size of its message. ``bytes`` is the sum."""

    __slots__ = ("bytes", "jobs", "kind")

    def __init__(self, kind: object) -> None:
        self.kind = kind
        self.jobs: collections.deque[tuple[Job, int]] = collections.deque()
        self.bytes = 0


_NONE = _Waiting(None)
