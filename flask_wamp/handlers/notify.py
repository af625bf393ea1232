"""Send signals to the receivers of an app."""

from __future__ import annotations

import typing as t
from inspect import iscoroutine

from .._text import get_logger
from ..concurrency.guards import report
from .coroutines import make_sync

logger = get_logger("flask_wamp.signals")


def send(signal: t.Any, sender: t.Any, **payload: t.Any) -> None:
    """Send a signal to its receivers. If one of them raises, that is logged, and the others still get it.

    It never raises, so that a receiver does not change the outcome.

    :param sender: The app.
    """
    if not signal.receivers:
        return
    for receiver in list(signal.receivers_for(sender)):
        try:
            returned = receiver(sender, **payload)
            if iscoroutine(returned):
                make_sync(sender, _finish)(returned)
        except BaseException:
            report(logger.exception, "a receiver of %s failed", signal.name)


async def _finish(coroutine: t.Coroutine[t.Any, t.Any, t.Any]) -> None:
    await coroutine
