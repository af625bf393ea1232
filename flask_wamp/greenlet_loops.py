"""Event loops of coroutines under gevent, where all of them run in one thread of the system.

asyncio knows one running loop a thread, and takes what a greenlet asks of "the running loop" to
whichever that is. While coroutines run here, every switch between greenlets switches that too.
"""

from __future__ import annotations

import asyncio
import typing as t
from asyncio import _get_running_loop, _set_running_loop

import greenlet  # type: ignore[import-untyped, import-not-found, unused-ignore]

Loop = asyncio.AbstractEventLoop


def run(coroutine: t.Coroutine[t.Any, t.Any, t.Any]) -> t.Any:
    """Run a coroutine to its end, in this greenlet; what it left running is canceled."""
    _switching.begin()
    outer = _get_running_loop()
    try:
        _set_running_loop(None)
        loop = asyncio.SelectorEventLoop()
        try:
            return loop.run_until_complete(coroutine)
        finally:
            _close(loop)
    finally:
        _set_running_loop(outer)
        _switching.end()


def _close(loop: Loop) -> None:
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()


class _Switching:
    """Gives each greenlet its own running loop, for as long as there are any."""

    def __init__(self) -> None:
        self._count = 0
        self._loops: dict[t.Any, Loop] = {}
        """Of the greenlets that do not run now."""
        self._previous: t.Callable[[str, t.Any], None] | None = None

    def begin(self) -> None:
        """One more greenlet runs a loop."""
        self._count += 1
        if greenlet.gettrace() != self._switched:
            self._previous = greenlet.settrace(self._switched)

    def end(self) -> None:
        """One less."""
        self._count -= 1
        self._loops.pop(greenlet.getcurrent(), None)
        # Loops of others, of asynchronous views, may still be put aside here.
        idle = not self._count and not self._loops
        if idle and greenlet.gettrace() == self._switched:
            greenlet.settrace(self._previous)

    def _switched(self, event: str, greenlets: t.Any) -> None:
        """Called by greenlet in the one that goes on now."""
        if self._previous is not None:
            self._previous(event, greenlets)
        origin, target = greenlets
        running = _get_running_loop()
        if running is not None:
            self._loops[origin] = running
        own = self._loops.pop(target, None)
        if own is not running:
            _set_running_loop(own)


_switching = _Switching()
