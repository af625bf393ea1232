"""The middlewares of the library: ``wamp.middleware(Timeout(5))``.

A handler can configure or leave out a middleware by its name: ``@wamp.callee(middlewares={"timeout":
{"duration": 60}})`` or ``{"timeout": False}``.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import typing as t

from werkzeug.exceptions import HTTPException, TooManyRequests

from ._text import get_logger
from .concurrency.clock import monotonic
from .concurrency.threads import is_time_limit, time_limit
from .handlers.context import Invocation, Message
from .handlers.hooks import HandleMessage
from .protocol import error_uris

logger = get_logger("flask_wamp.middlewares")
access_logger = get_logger("flask_wamp.access")


@dataclasses.dataclass(frozen=True)
class Timeout:
    """Ends handlers after a number of seconds, if possible. The caller gets ``wamp.error.timeout``.

    Under gevent, ``gevent.Timeout`` is raised in the handler. In threads, an ``async def`` handler is
    canceled. Other handlers in threads cannot be ended. Such a handler continues, its late result is dropped,
    and a warning is logged.

    :param duration: Seconds.
    """

    duration: float

    def __call__(self, next_: HandleMessage, message: Message) -> t.Any:
        """Set the deadline and call the handler."""
        begun = monotonic()
        message.limit(self.duration)
        with time_limit(begun + self.duration):
            result = next_(message)
        if not isinstance(message, Invocation) and monotonic() - begun > self.duration:
            logger.warning("%r took longer than %g s", message, self.duration)
        return result

    def configured(self, **options: t.Any) -> Timeout:
        """Return a copy with other options."""
        return dataclasses.replace(self, **options)


class AccessLog:
    """Logs one line for each message to ``flask_wamp.access``: URI, sender, outcome and milliseconds.

    The milliseconds are counted from the arrival of the message, so they include the time in a queue.

    :param level: The level to log at.
    """

    def __init__(self, level: int = logging.INFO) -> None:
        self._level = level

    def teardown_dispatch(self, message: Message, error: BaseException | None) -> None:
        """Log the line."""
        if not access_logger.isEnabledFor(self._level):
            return
        access_logger.log(
            self._level,
            "%s from %s: %s in %.1f ms",
            message.uri,
            message.sender or "an undisclosed session",
            _outcome(message, error),
            message.age * 1000,
        )

    def configured(self, **options: t.Any) -> AccessLog:
        """Return an access log with other options."""
        return AccessLog(**options)


def _outcome(message: Message, error: BaseException | None) -> str:
    """Return the outcome in words: ``ok``, an error URI, an HTTP status or the name of an exception."""
    if is_time_limit(error):
        return error_uris.TIMEOUT
    if isinstance(message, Invocation) and message.canceled:
        too_late = message.deadline is not None and monotonic() >= message.deadline
        return error_uris.TIMEOUT if too_late else error_uris.CANCELED
    if error is None:
        return "ok"
    if getattr(error, "uri", None):
        return str(error.uri)  # type: ignore[attr-defined]
    if isinstance(error, HTTPException):
        return f"{error.code} {error.name}"
    return type(error).__name__


class RateLimit:
    """Answers ``<prefix>.error.too_many_requests`` to calls over a limit, and drops events over it.

    It is a token bucket of ``limit`` tokens, which is filled evenly within ``period``. So bursts up to the
    limit are allowed. Each process counts separately.

    :param limit: Messages per period.
    :param period: Seconds.
    :param per: ``caller`` counts each session separately, and all sessions that the router does not disclose
        as one. ``procedure`` counts each decorated handler, with all URIs that match its pattern.
    """

    #: How many buckets are kept. If there are more, those that are full again are deleted. If none is full,
    #: half of them are deleted.
    MAX_BUCKETS = 10_000

    def __init__(self, limit: int, period: float = 1.0, per: str = "caller") -> None:
        if per not in ("caller", "procedure"):
            raise ValueError(f"per={per!r} must be 'caller' or 'procedure'")
        if limit <= 0 or period <= 0:
            raise ValueError("limit and period must be positive")
        self._options = {"limit": limit, "period": period, "per": per}
        self._limit, self._period, self._per = limit, period, per
        self._buckets: dict[t.Any, tuple[float, float]] = {}

    def __call__(self, next_: HandleMessage, message: Message) -> t.Any:
        """Call the handler, or refuse the message."""
        if self._take(message.sender if self._per == "caller" else message.options["uri"]):
            return next_(message)
        if isinstance(message, Invocation):
            raise TooManyRequests(f"At most {self._limit} calls in {self._period:g} s.")
        logger.warning("%r is dropped: more than %d in %g s", message, self._limit, self._period)
        return None

    def configured(self, **options: t.Any) -> RateLimit:
        """Return a rate limit with other options and its own buckets."""
        return RateLimit(**{**self._options, **options})

    def _take(self, key: t.Any) -> bool:
        now = monotonic()
        with self._guard():
            tokens, at = self._buckets.get(key, (float(self._limit), now))
            tokens = min(self._limit, tokens + (now - at) * self._limit / self._period)
            allowed = tokens >= 1.0
            self._buckets[key] = tokens - 1.0 if allowed else tokens, now
            if len(self._buckets) > self.MAX_BUCKETS:
                self._forget(now)
        return allowed

    def _guard(self) -> t.Any:
        # Not created in the constructor, because that runs before a gevent server has patched.
        return self.__dict__.get("_lock") or self.__dict__.setdefault("_lock", threading.Lock())

    def _forget(self, now: float) -> None:
        full = [key for key, (_, at) in self._buckets.items() if now - at >= self._period]
        for key in full or list(self._buckets)[: self.MAX_BUCKETS // 2]:
            del self._buckets[key]
