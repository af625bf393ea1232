"""Interrupt a handler from outside after its call was canceled. This is possible only under gevent."""

from __future__ import annotations

import typing as t


class HandlerInterrupted(BaseException):
    """Raised in a handler whose call was canceled. It is internal to this library."""


class TimeLimit(HandlerInterrupted):
    """Raised in a coroutine that has reached its time limit."""


class Interruptible:
    """A context that :meth:`interrupt` can end from outside. It works only in greenlets."""

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
        # This runs in the hub. No other greenlet runs between the check and the throw, so the exception is
        # never raised in a worker whose job has ended.
        running, self._greenlet = self._greenlet, None
        if running is not None:
            running.throw(HandlerInterrupted)
