"""What a handler's own calls inherit: the time its caller still waits, and that it waits no more.

A call made inside a handler gets at most what is left of the handler's deadline: nobody waits for what
comes later. That is known in the process only: Crossbar 26.10 takes ``CALL.Options.timeout`` for seconds,
other routers and callees for milliseconds, as the specification has it, so it is not sent. Across
processes CANCEL does the work: who gives a call up interrupts its handler, and that gives up the calls it
has made itself, and so on to the last one.
"""

from __future__ import annotations

import contextvars
import time
import typing as t

from ..exceptions import CallCanceled, CallTimeout

Stop = t.Callable[[], None]


class Limited(t.Protocol):
    """Work that may have a deadline, which may still change, and may be canceled."""

    deadline: float | None

    calls: dict[object, Stop]
    """What ends the calls it has made that are not answered yet."""

    to_interrupt: bool
    """Whether it was canceled and its handler was not told yet: its next call is."""


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
    :raises CallCanceled: The caller of the running handler has canceled; raised once, so that what
        cleans up afterwards may call.
    """
    work = in_hand.get()
    if work is None:
        return timeout
    if work.to_interrupt:
        work.to_interrupt = False
        raise unwanted(procedure)
    if work.deadline is None:
        return timeout
    left = work.deadline - time.monotonic()
    if left <= 0:
        raise CallTimeout(procedure, 0)
    return min(timeout, left)


def unwanted(procedure: str) -> CallCanceled:
    """What a call raises that was given up because nobody waits for its handler."""
    return CallCanceled(f"{procedure} is not wanted: who called this handler has canceled or left")


def follow(ticket: object, stop: Stop) -> Stop | None:
    """End a call when the caller of the running handler cancels.

    :param stop: Ends it; runs on the reader, perhaps twice, and must not wait.
    :returns: What is to be called when the call has ended; None: there is no handler.
    """
    work = in_hand.get()
    if work is None:
        return None
    calls = work.calls
    calls[ticket] = stop
    if work.to_interrupt:  # in the meantime
        work.to_interrupt = False
        stop()

    def leave() -> None:
        calls.pop(ticket, None)

    return leave


def interrupt(work: Limited, *, told: bool) -> None:
    """Its caller has canceled: end the calls it has made, or the next one it makes. Does not wait.

    :param told: Its handler is ended in another way.
    """
    work.to_interrupt = not told
    stops = list(work.calls.values())
    for stop in stops:
        stop()
    if stops:
        work.to_interrupt = False
