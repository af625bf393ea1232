"""Guards for threads that must continue after any exception.

Log handlers and filters, signal receivers and callbacks belong to the app and may raise any exception. A
closed ``sys.stderr`` raises too. If that ended a thread of this library, the session would be lost.
"""

from __future__ import annotations

import contextlib
import typing as t


def report(log: t.Callable[..., object], message: str, *args: object) -> None:
    """Log a message without ever raising an exception: ``report(logger.exception, "...", ...)``."""
    # An error of the log itself cannot be logged.
    with contextlib.suppress(BaseException):
        log(message, *args)


def without_frames(error: BaseException) -> BaseException:
    """Remove the tracebacks of an error and of its causes, and return it.

    The app may keep an error for long. A traceback refers to the functions that the error went through, and
    so to their connection, its peer, and the messages they had just read.
    """
    chain = [error]
    for each in chain:
        each.__traceback__ = None
        chain += [e for e in (each.__cause__, each.__context__) if e is not None and e not in chain]
    return error


def guarded(
    log: t.Callable[..., object], message: str, function: t.Callable[..., object], *args: object
) -> None:
    """Call a function. If it raises, log the message with the traceback, and return."""
    try:
        function(*args)
    except BaseException:
        report(log, message)
