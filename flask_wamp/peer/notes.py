"""Log records of a connection: noted under its lock, and logged after it is released."""

from __future__ import annotations

import typing as t

from ..concurrency.guards import report
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.session_events import Left

#: A log record that waits until the lock is released: the logger's method, the message, its arguments.
Note = tuple[t.Callable[..., None], str, tuple[object, ...]]


def why_left(left: Left) -> str:
    """Return why the router ended the session, for logs and errors."""
    text = left.details.get("message")
    return f"{left.reason}: {text}" if text else left.reason


def log_all(notes: list[Note]) -> None:
    """Log the notes. Call this without the lock, because log handlers belong to the app and may publish."""
    for log, text, args in notes:
        report(log, text, *args)


def about(session: Session, message: m.Message) -> object:
    """Return the procedure or topic of a message, for logs."""
    target: object = None
    if isinstance(message, m.Invocation):
        target = session.registrations.get(message.registration_id)
    elif isinstance(message, m.Event):
        target = next(iter(session.subscriptions.get(message.subscription_id, ())), None)
    return getattr(target, "uri", None) or Ids(message)


class Ids:
    """The type of a message and the ids in it, as a text for logs. The payload is not shown."""

    def __init__(self, message: m.Message) -> None:
        self._message = message

    def __str__(self) -> str:
        message: t.Any = self._message
        names = [name for name in message.__struct_fields__ if name.endswith("_id")]
        ids = (f"{name}={getattr(message, name)}" for name in names)
        return " ".join([type(message).__name__, *ids])
