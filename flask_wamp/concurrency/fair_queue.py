"""The line in front of the workers: fair, so that who asks for much does not make the others wait."""

from __future__ import annotations

import collections
import typing as t

Job = t.Callable[[], object]


class FairQueue:
    """Jobs by what they are for, taken in turns: one of each kind, then the next of each.

    Jobs of one kind keep their order. Not safe by itself: its owner has a lock.

    :param limit: How many jobs may stand in it. While it is full, a kind that has less than its share
        of it still gets in, so there may be up to twice as many.
    """

    __slots__ = ("_kinds", "_length", "_turns", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._kinds: dict[object, collections.deque[Job]] = {}
        self._turns: collections.deque[object] = collections.deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def has_room(self, kind: object, spare: int) -> bool:
        """Whether another job of a kind may come in.

        :param spare: How many jobs are about to be taken, and do not count.
        """
        length = self._length - spare
        if length < self.limit:
            return True
        waiting = self._kinds.get(kind, ())
        share = self.limit // (len(self._kinds) + (not waiting))
        return len(waiting) < share and length < 2 * self.limit

    def append(self, job: Job, kind: object) -> None:
        """Have a job wait for its turn."""
        waiting = self._kinds.get(kind)
        if waiting is None:
            self._kinds[kind] = waiting = collections.deque()
            self._turns.append(kind)
        waiting.append(job)
        self._length += 1

    def popleft(self) -> Job:
        """Take the next job out.

        :raises IndexError: There is none.
        """
        kind = self._turns[0]
        waiting = self._kinds[kind]
        job = waiting.popleft()
        self._length -= 1
        if waiting:
            self._turns.rotate(-1)
        else:
            self._turns.popleft()
            del self._kinds[kind]
        return job

    def clear(self) -> None:
        """Forget all jobs."""
        self._kinds.clear()
        self._turns.clear()
        self._length = 0
