"""Guards for code that must go on, whatever the code it calls raises.

Log handlers and filters, signal receivers and callbacks belong to the app. They may raise anything, and so
may ``sys.stderr`` when it is closed. A thread of this library that dies of it would take the session away.
"""

from __future__ import annotations

import contextlib
import typing as t


def report(log: t.Callable[..., object], message: str, *args: object) -> None:
    """Log something where nothing may be raised: ``report(logger.exception, "...", ...)``."""
    # If the log itself is broken, there is nowhere left to say so.
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
