"""Event loops under gevent, where all greenlets share one operating system thread.

asyncio allows one running loop per thread, so all greenlets would share it. While coroutines run here, each
switch between greenlets therefore switches the running loop too.

No library does this in a way that suits an extension. ``asyncio-gevent`` (0.2.5, beta) replaces the event
loop policy of the whole process, and only the app should decide that.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
import typing as t
from asyncio import _get_running_loop, _set_running_loop

import greenlet  # type: ignore[import-untyped, import-not-found, unused-ignore]

from . import event_loops

T = t.TypeVar("T")


class LoopRunner(event_loops.LoopRunner):
    """Runs coroutines in the greenlet that calls it."""

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


def run(coroutine: event_loops.Coroutine[T]) -> T:
    """Run a coroutine in this greenlet, and cancel the tasks that it has not awaited."""
    runner = LoopRunner()
    try:
        return runner.run(coroutine)
    finally:
        runner.close()


class _Switching:
    """Gives each greenlet its own running loop. It traces switches only while a loop runs."""

    def __init__(self) -> None:
        self._count = 0
        self._loops: dict[t.Any, tuple[event_loops.Loop, t.Any]] = {}
        """The loops of greenlets that are switched out, each with its asynchronous generator hooks."""
        self._previous: t.Callable[[str, t.Any], None] | None = None

    def begin(self) -> None:
        """Count a greenlet that runs a loop."""
        self._count += 1
        if greenlet.gettrace() != self._switched:
            self._previous = greenlet.settrace(self._switched)

    def end(self) -> None:
        """Count a greenlet whose loop has ended."""
        self._count -= 1
        self._loops.pop(greenlet.getcurrent(), None)
        # A loop that an asynchronous view runs may still be stored here.
        idle = not self._count and not self._loops
        if idle and greenlet.gettrace() == self._switched:
            greenlet.settrace(self._previous)

    def _switched(self, event: str, greenlets: t.Any) -> None:
        """Switch the running loop. greenlet calls this in the greenlet that is switched to."""
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
