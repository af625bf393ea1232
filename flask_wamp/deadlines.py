"""What a handler's own calls inherit: the time its caller still waits.

A call made inside a handler gets at most what is left of the handler's deadline: nobody waits for what
comes later. Known in the process only: Crossbar 26.10 takes ``CALL.Options.timeout`` for seconds, other
routers and callees for milliseconds, as the specification has it, so it is not sent. Across processes
CANCEL does the work: who gives a call up interrupts its handler.
"""

from __future__ import annotations

import contextvars
import time
import typing as t

from .exceptions import CallTimeout


class Limited(t.Protocol):
    """Work that may have a deadline, which may still change."""

    deadline: float | None


in_hand: contextvars.ContextVar[Limited | None] = contextvars.ContextVar(
    "flask_wamp_in_hand", default=None
)
"""The work whose handler runs; the dispatcher sets it."""


def inherited() -> float | None:
    """The ``time.monotonic()`` until which the caller of the running handler waits, or None."""
    work = in_hand.get()
    return work.deadline if work is not None else None


def within(timeout: float, procedure: str) -> float:
    """Seconds that a call may take: the timeout, or what is left where that is less.

    :raises CallTimeout: Nothing is left; the call is not sent.
    """
    deadline = inherited()
    if deadline is None:
        return timeout
    left = deadline - time.monotonic()
    if left <= 0:
        raise CallTimeout(procedure, 0)
    return min(timeout, left)
