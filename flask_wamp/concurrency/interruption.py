"""Ending a handler from outside when its answer is not wanted any more: possible under gevent."""

from __future__ import annotations

import typing as t


class HandlerInterrupted(BaseException):
    """Raised in a handler whose answer is not wanted any more; for this library's use."""


class TimeLimit(HandlerInterrupted):
    """Raised in a coroutine that a time limit has ended."""


class Interruptible:
    """A context in which :meth:`interrupt` ends what runs. Works in greenlets only."""

    __slots__ = ("_greenlet",)

    def __init__(self) -> None:
        self._greenlet: t.Any = None

    def __enter__(self) -> None:
        from gevent import getcurrent

        self._greenlet = getcurrent()

    def __exit__(self, *exc_info: object) -> None:
        self._greenlet = None

    def interrupt(self) -> None:
        """Raise :class:`HandlerInterrupted` in the greenlet when it waits next, unless it has ended."""
        if self._greenlet is not None:
            from gevent import get_hub

            get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        # This runs in the hub. No other greenlet runs between the check and the throw, so it never hits the
        # worker after the job has ended.
        running, self._greenlet = self._greenlet, None
        if running is not None:
            running.throw(HandlerInterrupted)
