"""Timers without a clock. The driver passes the time."""

from __future__ import annotations

import heapq
import itertools
import typing as t


class Timer:
    """A callback for a certain time, unless it is canceled before."""

    __slots__ = ("callback", "postponed_to")

    def __init__(self, callback: t.Callable[[], object]) -> None:
        self.callback: t.Callable[[], object] | None = callback
        self.postponed_to = 0.0
        """A later deadline. Setting it is cheap, because the timer is moved only when it would be due."""


class Timers:
    """Timers, the earliest first."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._order = itertools.count()
        self._canceled = 0

    def __len__(self) -> int:
        return len(self._heap) - self._canceled

    def add(self, deadline: float, callback: t.Callable[[], object]) -> Timer:
        """Let the first :meth:`run_due` at or after the deadline call a callback."""
        timer = Timer(callback)
        heapq.heappush(self._heap, (deadline, next(self._order), timer))
        return timer

    def cancel(self, timer: Timer) -> None:
        """Forget a timer. Does nothing if it has run."""
        if timer.callback is None:
            return
        timer.callback = None
        self._canceled += 1
        # Nearly every call is answered long before its timeout, so canceled timers must not pile up.
        if self._canceled > 1000 and self._canceled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].callback is not None]
            heapq.heapify(self._heap)
            self._canceled = 0

    @property
    def next_deadline(self) -> float | None:
        """The time at which to call :meth:`run_due` next. None if there is no timer."""
        heap = self._heap
        while heap and heap[0][2].callback is None:
            heapq.heappop(heap)
            self._canceled -= 1
        return heap[0][0] if heap else None

    def run_due(self, now: float) -> None:
        """Call the callbacks that are due."""
        while (deadline := self.next_deadline) is not None and deadline <= now:
            _, _, timer = heapq.heappop(self._heap)
            if timer.postponed_to > now:
                heapq.heappush(self._heap, (timer.postponed_to, next(self._order), timer))
                continue
            callback, timer.callback = timer.callback, None
            assert callback is not None  # next_deadline has dropped those that were canceled
            callback()
