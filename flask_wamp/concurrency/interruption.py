"""Ending a handler that nobody wants the answer of any more: under gevent, from outside."""

from __future__ import annotations

import typing as t


class Interrupted(BaseException):
    """Raised in a handler whose answer is not wanted any more; for this library's use."""


class TimeLimit(Interrupted):
    """Raised in a coroutine that a time limit has ended."""


class Interruptible:
    """While inside, :meth:`interrupt` ends what runs here, where that can be done: in a greenlet."""

    __slots__ = ("_greenlet",)

    def __init__(self) -> None:
        self._greenlet: t.Any = None

    def __enter__(self) -> None:
        from gevent import getcurrent

        self._greenlet = getcurrent()

    def __exit__(self, *exc_info: object) -> None:
        self._greenlet = None

    def interrupt(self) -> None:
        """Raise :class:`Interrupted` there, at its next wait; may be called after the end."""
        if self._greenlet is not None:
            from gevent import get_hub

            get_hub().loop.run_callback(self._throw)

    def _throw(self) -> None:
        # In the hub: between the look and the throw no other greenlet runs, so that it never hits the
        # worker when the job has ended.
        running, self._greenlet = self._greenlet, None
        if running is not None:
            running.throw(Interrupted)
