"""The events that a test client has received for one subscription."""

from __future__ import annotations

import collections
import dataclasses
import threading
import typing as t

from ..peer.declarations import Subscription
from ..protocol import messages as m


class NothingArrived(AssertionError):
    """No event arrived in time. The message says what happened instead."""


@dataclasses.dataclass(frozen=True)
class ReceivedEvent:
    """An event, as a subscriber received it."""

    topic: str
    args: list[t.Any]
    kwargs: dict[str, t.Any]
    details: dict[str, t.Any] = dataclasses.field(repr=False, default_factory=dict)
    """EVENT.Details: ``publisher``, ``publisher_authid``, ``retained`` and more."""

    def __str__(self) -> str:
        values = [repr(value) for value in self.args]
        values += [f"{name}={value!r}" for name, value in self.kwargs.items()]
        sender = self.details.get("publisher_authid") or self.details.get("publisher")
        by = f" by {sender}" if sender is not None else ""
        return f"{self.topic}({', '.join(values)}){by}"


class Owner(t.Protocol):
    """The methods of a test client that an inbox uses."""

    def look(self) -> None:
        """With ``inline=True``: read the received messages and run their handlers."""

    def settle(self, timeout: float) -> None:
        """Wait until all messages that have been sent are received and handled."""

    def flush(self) -> None:
        """Wait until this client has received everything that the router has already sent."""

    def why_empty(self, inbox: Inbox) -> str:
        """Explain why an inbox is empty: return what happened instead, as text."""


class Inbox:
    """The events of one subscription, oldest first. See :meth:`.TestClient.subscribe`."""

    def __init__(self, owner: Owner, topic: str, match: str) -> None:
        self.topic = topic
        self.match = match
        self._owner = owner
        self._events: collections.deque[ReceivedEvent] = collections.deque()
        self._changed = threading.Condition()
        options = {} if match == "exact" else {"match": match}
        self.subscription = Subscription(topic, _no_handler, options=options)
        self.subscription.take = self._take
        self.subscription.name = f"the inbox of {topic}"

    def get(self, timeout: float = 1.0) -> ReceivedEvent:
        """Remove and return the oldest event. Wait for one if there is none.

        :param timeout: Seconds. With 0 it returns only an event that the router has already sent.
        :raises NothingArrived: There was no event in time.
        """
        self._owner.look()
        with self._changed:
            self._changed.wait_for(lambda: self._events, timeout)
            if self._events:
                return self._events.popleft()
        self._owner.flush()
        with self._changed:
            if self._events:
                return self._events.popleft()
        raise NothingArrived(
            f"no event of {self} arrived within {timeout:g} s. {self._owner.why_empty(self)}"
        )

    def all(self, timeout: float = 1.0) -> list[ReceivedEvent]:
        """Remove and return all events, after the app has settled. See :meth:`.FlaskWAMP.settle`.

        If the list is empty, there is no event to come: the app is idle and the router has sent nothing.

        :param timeout: Seconds to wait until the app has settled.
        :raises Unsettled: The app did not become idle in time.
        """
        self._owner.settle(timeout)
        with self._changed:
            events = list(self._events)
            self._events.clear()
        return events

    def clear(self) -> None:
        """Remove all events, after the app has settled."""
        self.all()

    def __len__(self) -> int:
        """Return how many events there are, after the app has settled."""
        self._owner.settle(1.0)
        return len(self._events)

    def __bool__(self) -> bool:
        return len(self) > 0

    def __iter__(self) -> t.Iterator[ReceivedEvent]:
        """Remove and yield all events, after the app has settled."""
        return iter(self.all())

    def waiting(self) -> str:
        """Return the collected events as text, without removing them."""
        with self._changed:
            return ", ".join(str(event) for event in self._events)

    def __str__(self) -> str:
        return self.topic if self.match == "exact" else f"{self.topic} (match={self.match!r})"

    def __repr__(self) -> str:
        return f"<Inbox {self} with {list(self._events)}>"

    def _take(self, message: m.Event) -> bool:
        """Keep an event. The reader thread calls this method."""
        topic = message.details.get("topic", self.topic)
        event = ReceivedEvent(topic, message.args, message.kwargs, message.details)
        with self._changed:
            self._events.append(event)
            self._changed.notify_all()
        return True


def _no_handler(work: object) -> bool:
    raise NotImplementedError("an inbox has no handler: it keeps its events")
