"""Raise exceptions in other greenlets: in a handler whose call was canceled, or in the main greenlet."""

from __future__ import annotations

import sys
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


_waiting: t.Any = None
"""gevent's callback that raises an error in the main greenlet. ``pending`` until it runs."""


def raise_in_main_greenlet(error: BaseException) -> None:
    """Raise an error in the main greenlet. Without greenlets, raise it here. Signal handlers call this.

    Python runs a signal handler in the greenlet that it interrupts. If the error were raised there, it would
    end a call that is being handled instead of the process. While an error waits to be raised, others are
    dropped, because a second error would interrupt the shutdown that the first one starts.
    """
    global _waiting
    if "gevent" in sys.modules:
        from gevent import get_hub, getcurrent

        hub = get_hub()
        if getcurrent() is not hub.parent:
            if _waiting is None or not _waiting.pending:
                _waiting = hub.loop.run_callback(hub.parent.throw, error)
            return
    raise error
