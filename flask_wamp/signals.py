"""Signals, like those of ``flask.signals``. The sender is the app, and receivers get keyword arguments.

If a receiver raises an exception, it is logged, and nothing else changes. A receiver may be ``async def``. A
signal without receivers costs nothing.
"""

from __future__ import annotations

from blinker import Namespace

from ._text import get_logger

logger = get_logger("flask_wamp.signals")

_signals = Namespace()

session_joined = _signals.signal(
    "session-joined",
    "The session is joined, and the router has answered every registration and subscription. ``session_id``, "
    "``realm``, ``details`` (of WELCOME). Sent on a worker, in an app context, so receivers may call and "
    "publish.",
)

session_left = _signals.signal(
    "session-left",
    "This process has left the realm. ``session_id``, ``realm``. Sent on the thread that stops the client, "
    "in an app context, after the end of the session.",
)

session_lost = _signals.signal(
    "session-lost",
    "The session has ended, but this process did not leave it. ``session_id``, ``realm``, ``reason`` (an "
    "exception), ``unanswered`` (the number of unanswered requests). Sent on a worker, in an app context.",
)

registration_refused = _signals.signal(
    "registration-refused",
    "The router has refused a procedure or topic. ``uri``, ``error``, ``realm``. Sent on a worker, in an app "
    "context, for the first of several refusals in a row. The client tries again.",
)

dispatch_started = _signals.signal(
    "dispatch-started",
    "A handler is about to run. ``message``, the Invocation or Event. Sent in its context.",
)

dispatch_finished = _signals.signal(
    "dispatch-finished",
    "A handler has succeeded. ``message``, ``result`` (the result that is sent, after the "
    "``after_dispatch`` hooks). Sent in its context, before teardown.",
)

dispatch_failed = _signals.signal(
    "dispatch-failed",
    "A handler has failed. ``message``, ``error`` (an exception). Sent in its context, before teardown.",
)

task_failed = _signals.signal(
    "task-failed",
    "A background task or a scheduled job has failed. ``task`` (the function), ``error`` (an exception). "
    "Sent in its app context.",
)

event_dropped = _signals.signal(
    "event-dropped",
    "Events were dropped because too many were waiting. ``topic``, ``realm``, ``count`` (of this "
    "subscription, since the process started). Sent on a worker, in an app context, each time the count "
    "has doubled.",
)
