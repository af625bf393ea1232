"""An event loop that runs one coroutine after another."""

from __future__ import annotations

import asyncio
import contextlib
import typing as t

from .cancellation import cancelable

Loop = asyncio.AbstractEventLoop
T = t.TypeVar("T")
Coroutine = t.Coroutine[t.Any, t.Any, T]
Items = t.AsyncGenerator[T, None]


class LoopRunner:
    """Runs coroutines in its own event loop, like ``asyncio.Runner`` of Python 3.11.

    Unlike ``asyncio.Runner``, it does not handle signals, because it runs on workers.
    """

    def __init__(self, loop: Loop | None = None) -> None:
        self._loop = loop or asyncio.new_event_loop()
        self._task: asyncio.Future[object] | None = None

    def run(self, coroutine: Coroutine[T]) -> T:
        """Run a coroutine and return its result."""
        with self._running():
            task = self._loop.create_task(coroutine)
            self._task = t.cast("asyncio.Future[object]", task)
            return self._loop.run_until_complete(task)

    def settle(self) -> None:
        """Cancel the coroutine of an interrupted :meth:`run`, and wait until it has ended."""
        task = self._task
        if task is None or task.done():
            return
        task.cancel()
        with self._running(), contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(task)

    def close(self) -> None:
        """Cancel all tasks and close the loop."""
        with self._running():
            try:
                tasks = asyncio.all_tasks(self._loop)
                for task in tasks:
                    task.cancel()
                if tasks:
                    self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
                self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            finally:
                self._loop.close()

    def _running(self) -> t.ContextManager[None]:
        return contextlib.nullcontext()


def iterate(source: Items[T], runner: LoopRunner) -> t.Iterator[T]:
    """Iterate over an asynchronous generator. Its loop does not run between two items."""
    try:
        while True:
            try:
                item = runner.run(_next(source))
            except StopAsyncIteration:
                return
            yield item
    finally:
        try:
            runner.settle()
            runner.run(_close(source))
        finally:
            runner.close()


# ``source.__anext__()`` must be called while the loop runs, because a generator registers with that loop.
async def _next(source: Items[T]) -> T:
    async def item() -> T:
        return await source.__anext__()

    return await cancelable(item())


async def _close(source: Items[T]) -> None:
    await source.aclose()
