"""Runs ``async def`` handlers, hooks and receivers as Flask runs async views, and also under gevent.

Asynchronous generators, which Flask does not run, work in the same way.
"""

from __future__ import annotations

import functools
import typing as t
from inspect import iscoroutinefunction

from flask import Flask

from ..concurrency.cancellation import cancelable
from ..concurrency.threads import is_monkey_patched

F = t.Callable[..., t.Any]


def make_sync(app: Flask, f: F) -> F:
    """Return a plain function that runs a coroutine function. Other functions are returned unchanged.

    Each call runs in its own event loop. This is the loop of ``Flask.ensure_sync``, except under gevent,
    where asgiref refuses to run a second loop while the first one waits. The coroutine is canceled if its
    handler is canceled.

    :raises RuntimeError: asgiref is missing: ``pip install flask[async]``.
    """
    if not iscoroutinefunction(f):
        return app.ensure_sync(f)

    @functools.wraps(f)
    async def ends_with_handler(args: t.Any, kwargs: t.Any) -> t.Any:
        return await cancelable(f(*args, **kwargs))

    sync = app.ensure_sync(ends_with_handler)
    replaced = type(app).async_to_sync is not Flask.async_to_sync

    @functools.wraps(f)
    def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
        # Checked at every call, because a server may patch after the app has been imported.
        if replaced or not is_monkey_patched():
            # Arguments are not passed as keywords, because a caller's keyword may be named self, like a
            # parameter of asgiref.
            return sync(args, kwargs)
        from ..concurrency.greenlet_loops import run

        return run(f(*args, **kwargs))

    return call


def iterate(source: t.AsyncGenerator[t.Any, t.Any]) -> t.Iterator[t.Any]:
    """Iterate over an asynchronous generator in its own event loop."""
    from ..concurrency import event_loops

    if not is_monkey_patched():
        yield from event_loops.iterate(source, event_loops.LoopRunner())
        return
    from ..concurrency.greenlet_loops import LoopRunner

    yield from event_loops.iterate(source, LoopRunner())
