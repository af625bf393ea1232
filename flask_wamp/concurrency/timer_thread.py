"""A thread that calls functions at certain times."""

from __future__ import annotations

import heapq
import itertools
import threading

from .._text import get_logger
from .clock import monotonic
from .fair_queue import Job
from .guards import report
from .threads import spawn

logger = get_logger("flask_wamp.execution")


class TimerThread:
    """Calls functions at certain times, all on one thread. The functions must be short and must not wait."""

    #: How many canceled handles stay in the heap, in addition to half of its length, before they are removed.
    #: The longer the heap, the more handles share the cost of a removal.
    SLACK = 64

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._numbers = itertools.count()
        self._canceled = 0
        self._stopping = False
        self._start()

    def _start(self) -> None:
        self._thread = spawn(self._run, "wamp-timer")

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    def __len__(self) -> int:
        return len(self._heap)

    def call_at(self, deadline: float, function: Job) -> TimerHandle:
        """Call a function when ``time.monotonic()`` reaches the deadline.

        The returned handle can cancel it.
        """
        handle = TimerHandle(function, self)
        with self._condition:
            if self._stopping:
                return handle
            if self._canceled > self.SLACK + len(self._heap) // 2:
                self._remove_canceled()
            heapq.heappush(self._heap, (deadline, next(self._numbers), handle))
            if self._heap[0][2] is handle:
                self._condition.notify()
        return handle

    def stop(self) -> None:
        """End the thread. Functions that are not due yet are released, and not called."""
        with self._condition:
            self._stopping = True
            self._heap.clear()  # a pool or a handle may be kept for long, and both refer to this timer
            self._condition.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def canceled(self) -> None:
        """Count a canceled handle. This takes no lock, so the count may be slightly wrong."""
        self._canceled += 1

    def _remove_canceled(self) -> None:
        assert self._condition._is_owned()  # type: ignore[attr-defined]
        self._heap = [entry for entry in self._heap if not entry[2].canceled]
        heapq.heapify(self._heap)
        self._canceled = 0

    def _run(self) -> None:
        while True:
            due = self._wait()
            if due is None:
                return
            try:
                due.fire()
            except BaseException:  # the other functions must still be called
                report(logger.exception, "a timer failed")

    def _wait(self) -> TimerHandle | None:
        """Wait until a function is due, and return its handle. Return None at the end."""
        with self._condition:
            while not self._stopping:
                while self._heap and self._heap[0][2].canceled:
                    heapq.heappop(self._heap)
                delay = self._heap[0][0] - monotonic() if self._heap else None
                if delay is not None and delay <= 0:
                    return heapq.heappop(self._heap)[2]
                self._condition.wait(delay)
        return None


class TimerHandle:
    """A function that a :class:`TimerThread` will call."""

    __slots__ = ("_function", "_timer")

    def __init__(self, function: Job, timer: TimerThread | None = None) -> None:
        self._function: Job | None = function
        self._timer = timer

    @property
    def canceled(self) -> bool:
        """Whether the function was canceled or called."""
        return self._function is None

    def cancel(self) -> None:
        """Do not call the function, and release it at once."""
        if self._function is not None:
            self._function = None
            if self._timer is not None:
                self._timer.canceled()

    def fire(self) -> None:
        """Call the function, once."""
        function, self._function = self._function, None
        if function is not None:
            function()
