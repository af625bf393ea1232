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


def guarded(
    log: t.Callable[..., object], message: str, function: t.Callable[..., object], *args: object
) -> None:
    """Call a function. If it raises, log the message with the traceback, and return."""
    try:
        function(*args)
    except BaseException:
        report(log, message)
