"""``wamp.subscription.get_events``: the query, and the events that it returns.

Source: WAMP Advanced Profile, "Event History". Crossbar.io 26.10 has a dialect of its own:
``get_events(subscription, limit)``, which returns the newest event first. This router supports both forms,
and each event contains the keys of both.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

from ..protocol.messages import Details
from .codec import PayloadError
from .options import InvalidOption, flag, whole_number
from .publications import History, Receivers, StoredEvent
from .session import RouterSession

_TIMES = ("from_time", "after_time", "before_time", "until_time")
_PUBLICATIONS = (
    "from_publication",
    "after_publication",
    "before_publication",
    "until_publication",
)


@dataclasses.dataclass(frozen=True)
class Query:
    """The conditions of a query for events."""

    reverse: bool = False
    limit: int | None = None
    topic: str | None = None
    times: t.Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Times in nanoseconds, by the name of the filter."""
    publications: t.Mapping[str, int] = dataclasses.field(default_factory=dict)

    @classmethod
    def parse(cls, args: t.Sequence[t.Any], kwargs: Details) -> Query:
        """Read the arguments.

        :raises InvalidOption: One of them is wrong.
        """
        limit = whole_number(kwargs, "limit", 1)
        is_crossbar = len(args) > 1
        if is_crossbar:
            limit = whole_number({"limit": args[1]}, "limit", 1)
        topic = kwargs.get("topic")
        if not isinstance(topic, str | None):
            raise InvalidOption("topic must be a URI")
        publications = {name: whole_number(kwargs, name, 1) for name in _PUBLICATIONS}
        times = {name: _nanoseconds(name, kwargs[name]) for name in _TIMES if kwargs.get(name)}
        return cls(
            reverse=flag(kwargs, "reverse", is_crossbar),
            limit=limit,
            topic=topic,
            times=times,
            publications={name: value for name, value in publications.items() if value},
        )

    def run(self, history: History, subscription_id: int, caller: RouterSession) -> list[Details]:
        """Return the events that the caller may see.

        "if the original publication contains eligible_authrole = 'admin', but the request for
        history came from a peer with authrole = 'user', [...] this publication must be filtered
        out"
        """
        events = [
            event
            for event in self._between(list(history))
            if _may_receive(caller, event.publication.receivers)
            and self.topic in (None, event.publication.topic)
            and self._is_in_time(event.time_ns)
        ]
        if self.reverse:
            events.reverse()
        found: list[Details] = []
        for event in events:
            if self.limit is not None and len(found) == self.limit:
                break
            told = _told(event, subscription_id)
            if told is not None:
                found.append(told)
        return found

    def _is_in_time(self, time_ns: int) -> bool:
        times = self.times
        return (
            time_ns >= times.get("from_time", time_ns)
            and time_ns > times.get("after_time", time_ns - 1)
            and time_ns < times.get("before_time", time_ns + 1)
            and time_ns <= times.get("until_time", time_ns)
        )

    def _between(self, events: list[StoredEvent]) -> list[StoredEvent]:
        """Leave out the events before or after the named publications.

        If a named publication is not kept, nothing is found.
        """
        places = {event.publication.id: at for at, event in enumerate(events)}
        first, last = 0, len(events)
        for name, publication_id in self.publications.items():
            at = places.get(publication_id)
            if at is None:
                return []
            if name == "from_publication":
                first = max(first, at)
            elif name == "after_publication":
                first = max(first, at + 1)
            elif name == "before_publication":
                last = min(last, at)
            else:
                last = min(last, at + 1)
        return events[first:last]


def _may_receive(session: RouterSession, receivers: Receivers | None) -> bool:
    return receivers is None or receivers.include(session)


def _told(event: StoredEvent, subscription_id: int) -> Details | None:
    publication = event.publication
    try:
        args, kwargs = publication.payload.values()
    except PayloadError:
        return None
    details = publication.details
    time = dt.datetime.fromtimestamp(event.time_ns // 10**9, dt.timezone.utc)
    milliseconds = event.time_ns // 10**6 % 1000
    return {
        "timestamp": f"{time:%Y-%m-%dT%H:%M:%S}.{milliseconds:03}Z",
        "subscription": subscription_id,
        "publication": publication.id,
        "details": {**details, "topic": publication.topic},
        "args": args,
        "kwargs": kwargs,
        # As in Crossbar.io, except that Crossbar.io also names publishers that are not disclosed.
        "time_ns": event.time_ns,
        "topic": publication.topic,
        "session_id": details.get("publisher"),
        "authid": details.get("publisher_authid"),
        "authrole": details.get("publisher_authrole"),
    }


def _nanoseconds(name: str, value: object) -> int:
    try:
        if not isinstance(value, str):
            raise ValueError
        time = dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidOption(f"{name} must be a time as in RFC 3339, not {value!r:.100}") from None
    if time.tzinfo is None:
        time = time.replace(tzinfo=dt.timezone.utc)
    since = time - dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
    return (since.days * 86400 + since.seconds) * 10**9 + since.microseconds * 1000
