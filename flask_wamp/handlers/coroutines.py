"""``async def`` handlers, hooks and receivers: run as Flask runs async views, and under gevent too.

Generators too, which Flask does not run.
"""

from __future__ import annotations

import functools
import typing as t
from inspect import iscoroutinefunction

from flask import Flask

from ..concurrency.threads import is_monkey_patched

F = t.Callable[..., t.Any]


def make_sync(app: Flask, f: F) -> F:
    """Make a plain function of a coroutine function; others stay as they are.

    Each call runs in an event loop of its own: ``Flask.ensure_sync``'s, but under gevent, where asgiref
    refuses to run a second one while the first waits.

    :raises RuntimeError: asgiref is missing: ``pip install flask[async]``.
    """
    sync = app.ensure_sync(f)
    if not iscoroutinefunction(f) or type(app).async_to_sync is not Flask.async_to_sync:
        return sync

    @functools.wraps(f)
    def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
        # Asked at every call: a server may patch after the app has been imported.
        if not is_monkey_patched():
            return sync(*args, **kwargs)
        from ..concurrency.greenlet_loops import run

        return run(f(*args, **kwargs))

    return call


def iterate(source: t.AsyncGenerator[t.Any, t.Any]) -> t.Iterator[t.Any]:
    """Iterate an asynchronous generator here, in an event loop of its own."""
    from ..concurrency import event_loops

    if not is_monkey_patched():
        yield from event_loops.iterate(source, event_loops.LoopRunner())
        return
    from ..concurrency.greenlet_loops import LoopRunner

    yield from event_loops.iterate(source, LoopRunner())
