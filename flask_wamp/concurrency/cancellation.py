"""Cancel the coroutine of a handler when the call is canceled or a time limit is reached.

Python cannot end a thread from outside. It can cancel a coroutine that runs in the thread, at the next
``await``. Under gevent, an exception is raised in the greenlet instead, see :mod:`.interruption`.
"""

from __future__ import annotations

import contextlib
import contextvars
import typing as t

from . import deadlines
from .clock import monotonic
from .interruption import HandlerInterrupted, TimeLimit

T = t.TypeVar("T")

_time_limit: contextvars.ContextVar[float | None] = contextvars.ContextVar(
    "flask_wamp_time_limit", default=None
)


@contextlib.contextmanager
def limit_coroutines(deadline: float) -> t.Iterator[None]:
    """Cancel coroutines that run in this context when ``time.monotonic()`` reaches the deadline."""
    outer = _time_limit.get()
    token = _time_limit.set(deadline if outer is None else min(outer, deadline))
    try:
        yield
    finally:
        _time_limit.reset(token)


async def cancelable(coroutine: t.Coroutine[t.Any, t.Any, T]) -> T:
    """Await a coroutine of the running handler. Cancel it if the handler is canceled.

    :raises HandlerInterrupted: The caller canceled the call, so the coroutine was canceled.
    :raises TimeLimit: The time limit was reached, so the coroutine was canceled.
    """
    import asyncio  # imported late, because it is slow to import and most apps have no coroutines

    work, limit = deadlines.active_message.get(), _time_limit.get()
    if work is None and limit is None:
        return await coroutine
    loop = asyncio.get_running_loop()
    task = t.cast("asyncio.Task[t.Any]", asyncio.current_task())
    reasons: list[type[HandlerInterrupted]] = []

    def end(reason: type[HandlerInterrupted]) -> None:
        if not reasons:
            reasons.append(reason)
            task.cancel()

    def end_from_outside() -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed, so the coroutine has ended
            loop.call_soon_threadsafe(end, HandlerInterrupted)

    alarm = None
    if limit is not None:
        alarm = loop.call_later(max(0.0, limit - monotonic()), end, TimeLimit)
    leave = (
        deadlines.cancel_with_handler(work, object(), end_from_outside)
        if work is not None
        else None
    )
    try:
        return await coroutine
    except asyncio.CancelledError:
        if reasons:
            raise reasons[0] from None
        raise
    finally:
        if leave is not None:
            leave()
        if alarm is not None:
            alarm.cancel()
