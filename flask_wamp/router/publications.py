"""Publications, and the sessions that may receive them.

Source: WAMP Advanced Profile, "Subscriber Black- and Whitelisting", "Event Retention", "Event History".
"""

from __future__ import annotations

import collections
import typing as t

from ..protocol.messages import Details
from .codec import Payload
from .options import InvalidOption
from .session import RouterSession


class Receivers:
    """The subscribers of a topic that receive an event.

    "An (authorized) Subscriber to topic T will receive an event published to T if and only if all
    of the following statements hold true": it is in every ``eligible`` list of the publication, and in
    no ``exclude`` list. With an empty ``eligible`` list, no subscriber receives the event.
    """

    __slots__ = ("_eligible", "_exclude", "by_session")

    def __init__(self, options: Details) -> None:
        self._exclude = _sets(options, "exclude")
        self._eligible = _sets(options, "eligible")
        self.by_session = options.get("exclude") is not None or options.get("eligible") is not None
        """Whether the options contain session ids, which do not apply to later sessions."""

    @classmethod
    def parse(cls, options: Details) -> Receivers | None:
        """Return who receives a publication. None means all subscribers.

        :raises InvalidOption: An option is not a list, or an item has a wrong type.
        """
        return cls(options) if not _LISTS.isdisjoint(options) else None

    def include(self, session: RouterSession) -> bool:
        """Return whether a session receives it."""
        identity = session.identity
        session_id, authid, authrole = session.id, identity.authid, identity.authrole
        for allowed, value in zip(self._eligible, (session_id, authid, authrole), strict=True):
            if allowed is not None and value not in allowed:
                return False
        for refused, value in zip(self._exclude, (session_id, authid, authrole), strict=True):
            if refused is not None and value in refused:
                return False
        return True


_LISTS = frozenset(
    f"{kind}{suffix}" for kind in ("exclude", "eligible") for suffix in ("", "_authid", "_authrole")
)


def _sets(options: Details, kind: str) -> tuple[frozenset[t.Any] | None, ...]:
    return (
        _set(options, kind, int),
        _set(options, f"{kind}_authid", str),
        _set(options, f"{kind}_authrole", str),
    )


def _set(options: Details, name: str, of: type) -> frozenset[t.Any] | None:
    values = options.get(name)
    if values is None:
        return None
    if of is int and isinstance(values, list):
        # wampy.js 8.0 writes all ids as floats in CBOR. An id is at most 2**53, so none is rounded.
        values = [
            int(value) if type(value) is float and value.is_integer() else value for value in values
        ]
    if not (isinstance(values, list) and all(type(value) is of for value in values)):
        what = "session ids" if of is int else "strings"
        raise InvalidOption(f"{name} must be a list of {what}")
    return frozenset(values)


class Publication(t.NamedTuple):
    """A publication."""

    id: int
    topic: str
    details: Details
    """EVENT.Details, without the topic and ``retained``."""
    payload: Payload
    receivers: Receivers | None
    excluded: RouterSession | int | None
    """The publisher, if it must not receive its own event. In a kept publication, this is its session id."""

    def kept(self) -> Publication:
        """Return a copy to keep."""
        excluded = self.excluded.id if isinstance(self.excluded, RouterSession) else self.excluded
        return self._replace(payload=self.payload.kept(), excluded=excluded)

    def is_for(self, session: RouterSession) -> bool:
        """Return whether a session would have received this kept publication if it had been subscribed."""
        if self.excluded == session.id:
            return False
        return self.receivers is None or self.receivers.include(session)


#: How many retained events one topic may have.
MAX_RETAINED_PER_TOPIC = 10


class Retained:
    """The retained events of a realm.

    :param limit: How many topics may have retained events. If there are more, the topic that was published
        to least recently loses its retained events.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._by_topic: dict[str, list[Publication]] = {}

    def __len__(self) -> int:
        return len(self._by_topic)

    @property
    def topics(self) -> t.Iterable[str]:
        """The topics that have a retained event."""
        return self._by_topic

    def keep(self, publication: Publication) -> None:
        """Retain a publication. One for all subscribers replaces all earlier ones of its topic."""
        earlier = self._by_topic.pop(publication.topic, [])
        # "This event retention is limited to one event that all subscribers would receive, and MAY
        # include other supplemental events that have limited distribution"
        if publication.receivers is None:
            earlier = []
        elif len(earlier) >= MAX_RETAINED_PER_TOPIC:
            del earlier[1 if earlier[0].receivers is None else 0]
        self._by_topic[publication.topic] = [*earlier, publication.kept()]
        if len(self._by_topic) > self._limit:
            del self._by_topic[next(iter(self._by_topic))]

    def latest(self, topic: str, session: RouterSession) -> Publication | None:
        """Return the retained event for a subscriber.

        It is "the most recent Retained Event that they would have received if they were subscribing when it
        was published".
        """
        kept = self._by_topic.get(topic, ())
        return next((each for each in reversed(kept) if each.is_for(session)), None)


class StoredEvent(t.NamedTuple):
    """An event in a subscription's history."""

    time_ns: int
    publication: Publication


class History:
    """The last events of a subscription."""

    def __init__(self, limit: int) -> None:
        self._events: collections.deque[StoredEvent] = collections.deque(maxlen=limit)

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> t.Iterator[StoredEvent]:
        return iter(self._events)

    def add(self, time_ns: int, publication: Publication) -> None:
        """Add an event.

        "all events published with Options.exclude|list[int] or Options.eligible|list[int] should be
        ignored by the Event History mechanism and not be saved at all"
        """
        if publication.receivers is None or not publication.receivers.by_session:
            self._events.append(StoredEvent(time_ns, publication.kept()))
