"""Event loops of coroutines under gevent, where all of them run in one thread of the system.

asyncio knows one running loop a thread, and takes what a greenlet asks of "the running loop" to
whichever that is. While coroutines run here, every switch between greenlets switches that too.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import typing as t
from asyncio import _get_running_loop, _set_running_loop

import greenlet  # type: ignore[import-untyped, import-not-found, unused-ignore]

from . import event_loops


class LoopRunner(event_loops.LoopRunner):
    """Runs coroutines in the greenlet that asks for it."""

    def __init__(self) -> None:
        super().__init__(asyncio.SelectorEventLoop())

    @contextlib.contextmanager
    def _running(self) -> t.Iterator[None]:
        _switching.begin()
        outer = _get_running_loop()
        try:
            _set_running_loop(None)
            yield
        finally:
            _set_running_loop(outer)
            _switching.end()


def run(coroutine: event_loops.Coroutine) -> t.Any:
    """Run a coroutine to its end, in this greenlet; what it left running is canceled."""
    runner = LoopRunner()
    try:
        return runner.run(coroutine)
    finally:
        runner.close()


class _Switching:
    """Gives each greenlet its own running loop, for as long as there are any."""

    def __init__(self) -> None:
        self._count = 0
        self._loops: dict[t.Any, tuple[event_loops.Loop, t.Any]] = {}
        """Of the greenlets that do not run now; with the hooks by which generators find their loop."""
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
            self._loops[origin] = running, sys.get_asyncgen_hooks()
        own, hooks = self._loops.pop(target, (None, (None, None)))
        if own is not running:
            _set_running_loop(own)
            sys.set_asyncgen_hooks(*hooks)


_switching = _Switching()
