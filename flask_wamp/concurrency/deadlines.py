"""What the calls that a handler makes inherit from it: its deadline, and its cancellation.

A call made inside a handler ends at the handler's deadline at the latest, because no one uses a later
answer. The deadline is known in this process only. It is not sent, because Crossbar 26.10 reads
``CALL.Options.timeout`` as seconds, and other routers and callees read it as milliseconds, as the
specification says. Between processes CANCEL has the same effect: a call that is given up interrupts its
handler, the handler's own calls are given up, and so on down to the last one.
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
    """Functions that end the calls it has made and that are not answered yet."""

    to_interrupt: bool
    """Whether it was canceled and its handler does not know yet: the handler's next call raises."""


active_message: contextvars.ContextVar[Limited | None] = contextvars.ContextVar(
    "flask_wamp_active_message", default=None
)
"""The invocation or event whose handler runs. The dispatcher sets it."""


def inherited() -> float | None:
    """Return the ``time.monotonic()`` until which the caller of the running handler waits, or None."""
    work = active_message.get()
    return work.deadline if work is not None else None


def within(work: Limited, timeout: float, procedure: str) -> float:
    """Return how many seconds a handler's call may take: the timeout, or the time left if that is less.

    :raises CallTimeout: Nothing is left; the call is not sent.
    :raises CallCanceled: The caller of the running handler has canceled. This is raised once, so that
        code that cleans up may make calls.
    """
    if work.to_interrupt:
        work.to_interrupt = False
        raise unwanted(procedure)
    if work.deadline is None:
        return timeout
    left = work.deadline - monotonic()
    if left <= 0:
        raise CallTimeout(procedure, 0)
    return min(timeout, left)


def unwanted(procedure: str) -> CallCanceled:
    """Return what a call raises that was given up because no one waits for the handler that made it."""
    return CallCanceled(
        f"{procedure} is not wanted: the caller of this handler has canceled or left"
    )


def follow(work: Limited, ticket: object, stop: Stop) -> Stop:
    """End a handler's call when the caller of the handler cancels.

    :param stop: Ends it; runs on the reader, perhaps twice, and must not wait.
    :returns: A function to call when the call has ended.
    """
    calls = work.calls
    calls[ticket] = stop
    if work.to_interrupt:  # in the meantime
        work.to_interrupt = False
        stop()

    def leave() -> None:
        calls.pop(ticket, None)

    return leave


def interrupt(work: Limited, *, ends_itself: bool) -> None:
    """End the calls that a canceled handler has made, or the next one that it makes. Does not wait.

    :param ends_itself: Whether the handler is ended in another way.
    """
    work.to_interrupt = not ends_itself
    stops = list(work.calls.values())
    for stop in stops:
        stop()
    if stops:
        work.to_interrupt = False
