"""Signals, as ``flask.signals``: the sender is the app, receivers get keyword arguments.

What a receiver raises is logged and changes nothing. A receiver may be ``async def``. Without receivers a
signal costs nothing.
"""

from __future__ import annotations

from blinker import Namespace

from ._text import get_logger

logger = get_logger("flask_wamp.signals")

_signals = Namespace()

session_joined = _signals.signal(
    "session-joined",
    "A session is joined and everything is registered. ``session_id``, ``realm``, ``details`` (of "
    "WELCOME). Sent on a worker, in an app context: receivers may call and publish.",
)

session_left = _signals.signal(
    "session-left",
    "This process left the realm of its own accord. ``session_id``, ``realm``. On the thread that stops "
    "the client; there is no session any more.",
)

session_lost = _signals.signal(
    "session-lost",
    "The session ended without being left. ``session_id``, ``realm``, ``reason`` (an exception), "
    "``unanswered`` (how many requests waited). Sent on a worker, in an app context.",
)

registration_refused = _signals.signal(
    "registration-refused",
    "The router refused a procedure or topic; it is tried again. ``uri``, ``error``, ``realm``. Sent on "
    "a worker, in an app context; once in a row of refusals.",
)

dispatch_started = _signals.signal(
    "dispatch-started",
    "A handler is about to run. ``message``, the Invocation or Event. Sent in its context.",
)

dispatch_finished = _signals.signal(
    "dispatch-finished",
    "A handler ended well. ``message``, ``result`` (the value that is answered, what after hooks made of "
    "it). Sent in its context, before teardown.",
)

dispatch_failed = _signals.signal(
    "dispatch-failed",
    "A handler ended in an error. ``message``, ``error`` (an exception). Sent in its context, before "
    "teardown.",
)

task_failed = _signals.signal(
    "task-failed",
    "A background task or scheduled job raised. ``task`` (the function), ``error`` (an exception). Sent "
    "in its app context.",
)

event_dropped = _signals.signal(
    "event-dropped",
    "Events were dropped because too many waited. ``topic``, ``count`` (in this subscription since the "
    "process began). Sent on a worker, in an app context; not once for each event, but when the count "
    "has doubled. ``realm``.",
)
