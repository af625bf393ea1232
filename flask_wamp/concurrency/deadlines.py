"""Calls that a handler makes inherit its deadline and its cancellation.

A call inside a handler ends at the handler's deadline at the latest, because a later answer would not be
used. The deadline is not sent to other peers, because routers disagree about its unit: Crossbar 26.10 reads
``CALL.Options.timeout`` as seconds, but the specification, other routers and callees use milliseconds. CANCEL
has the same effect across processes. When a caller cancels a call, its handler is interrupted and cancels its
own calls, and so on.
"""

from __future__ import annotations

import contextvars
import typing as t

from ..exceptions import CallCanceled, CallTimeout
from .clock import monotonic

Stop = t.Callable[[], None]


class Limited(t.Protocol):
    """An invocation or event that may have a deadline and may be canceled. The deadline may change."""

    deadline: float | None

    calls: dict[object, Stop]
    """Functions that end the pending calls of its handler, by ticket."""

    to_interrupt: bool
    """Whether it was canceled, and its handler's next call has to raise."""


active_message: contextvars.ContextVar[Limited | None] = contextvars.ContextVar(
    "flask_wamp_active_message", default=None
)
"""The invocation or event whose handler runs. The dispatcher sets it."""


def inherited_deadline() -> float | None:
    """Return the deadline of the running handler as a ``time.monotonic()``. None if there is none."""
    work = active_message.get()
    return work.deadline if work is not None else None


def time_left(work: Limited, timeout: float, procedure: str) -> float:
    """Return how many seconds a handler's call may take.

    This is the timeout, or the time left if that is less.

    :raises CallTimeout: No time is left. The call is not sent.
    :raises CallCanceled: The caller of the running handler has canceled it. This is raised only once, so that
        cleanup code can make calls.
    """
    if work.to_interrupt:
        work.to_interrupt = False
        raise handler_canceled(procedure)
    if work.deadline is None:
        return timeout
    left = work.deadline - monotonic()
    if left <= 0:
        raise CallTimeout(procedure, 0)
    return min(timeout, left)


def handler_canceled(procedure: str) -> CallCanceled:
    """Return the error for a call whose handler was canceled."""
    return CallCanceled(
        f"{procedure} was canceled: the caller of this handler has canceled or left"
    )


def cancel_with_handler(work: Limited, ticket: object, stop: Stop) -> Stop:
    """Register a handler's call, so that it ends if the handler is canceled.

    :param stop: Ends the call. It runs on the reader, may be called twice, and must not wait.
    :returns: A function that you must call when the call has ended.
    """
    calls = work.calls
    calls[ticket] = stop
    if work.to_interrupt:  # the handler was canceled before its call was registered
        work.to_interrupt = False
        stop()

    def leave() -> None:
        calls.pop(ticket, None)

    return leave


def interrupt(work: Limited, *, ends_itself: bool) -> None:
    """End the pending calls of a canceled handler. If it has none, let its next call raise. Does not wait.

    :param ends_itself: Whether the handler ends in another way, so that its next call need not raise.
    """
    work.to_interrupt = not ends_itself
    stops = list(work.calls.values())
    for stop in stops:
        stop()
    if stops:
        work.to_interrupt = False
