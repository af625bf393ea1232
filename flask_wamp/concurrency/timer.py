"""Deadlines: functions called at their time, all on one thread."""

from __future__ import annotations

import heapq
import itertools
import threading
import time

from .._text import get_logger
from .fair_queue import Job
from .threads import spawn

logger = get_logger("flask_wamp.execution")


class Timer:
    """Calls functions at their time, on one thread. They must be short and never wait."""

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._heap: list[tuple[float, int, TimerHandle]] = []
        self._numbers = itertools.count()
        self._stopping = False
        self._thread = spawn(self._run, "wamp-timer")

    def call_at(self, deadline: float, function: Job) -> TimerHandle:
        """Call a function at a ``time.monotonic()``; cancel it through what is returned."""
        alarm = TimerHandle(function)
        with self._condition:
            heapq.heappush(self._heap, (deadline, next(self._numbers), alarm))
            if self._heap[0][2] is alarm:
                self._condition.notify()
        return alarm

    def stop(self) -> None:
        """End the thread; what was to come is dropped."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread is not threading.current_thread():
            self._thread.join(1.0)

    def _run(self) -> None:
        while True:
            due = self._wait()
            if due is None:
                return
            try:
                due.fire()
            except Exception:
                logger.exception("a timer failed")

    def _wait(self) -> TimerHandle | None:
        with self._condition:
            while not self._stopping:
                while self._heap and self._heap[0][2].canceled:
                    heapq.heappop(self._heap)
                delay = self._heap[0][0] - time.monotonic() if self._heap else None
                if delay is not None and delay <= 0:
                    return heapq.heappop(self._heap)[2]
                self._condition.wait(delay)
        return None


class TimerHandle:
    """One function that a :class:`Timer` will call."""

    __slots__ = ("_function",)

    def __init__(self, function: Job) -> None:
        self._function: Job | None = function

    @property
    def canceled(self) -> bool:
        """Whether there is nothing left to call."""
        return self._function is None

    def cancel(self) -> None:
        """Do not call it; what it holds is let go at once."""
        self._function = None

    def fire(self) -> None:
        """Call it, once."""
        function, self._function = self._function, None
        if function is not None:
            function()
