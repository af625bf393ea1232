"""Event history: past events that the router has stored.

Crossbar.io and nexus, a router in Go, answer in different forms.

Source: WAMP Advanced Profile, "Event History".
"""

from __future__ import annotations

import collections.abc as c
import dataclasses
import datetime as dt
import json
import re
import typing as t

from ..exceptions import ApplicationError
from ..protocol import error_uris
from ..protocol.call_result import CallResult
from .meta import Meta, MetaClient, ask

#: The errors of a router that does not store the events of a subscription, or has no such subscription.
_NOT_KEPT = (error_uris.HISTORY_UNAVAILABLE, error_uris.NO_SUCH_SUBSCRIPTION)


@dataclasses.dataclass(frozen=True)
class PastEvent:
    """An event that the router has stored. Except for ``time``, it has attributes of ``flask_wamp.event``.

    Crossbar discloses the publisher even if it does not disclose publishers to subscribers.
    """

    topic: str
    """The topic to which it was published."""

    args: list[t.Any] = dataclasses.field(default_factory=list)
    """The positional payload."""

    kwargs: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """The keyword payload."""

    time: dt.datetime | None = None
    """When it was published, as an aware ``datetime`` in UTC. None if the router does not say."""

    publication: int | None = None
    """The publication id."""

    publisher: int | None = None
    """The publisher's session id."""

    publisher_authid: str | None = None
    """The publisher's authid."""

    publisher_authrole: str | None = None
    """The publisher's authrole."""

    @classmethod
    def parse(cls, found: c.Mapping[str, object], topic: str) -> PastEvent:
        """Convert an event from a router's answer.

        Crossbar has all values of an event in one dictionary. Other routers use the names of their messages,
        and have the identity of the publisher in ``details``.

        :param topic: The topic to use if the router does not return one.
        """
        event = {name.lower(): value for name, value in found.items()}
        details = event.get("details")
        if isinstance(details, dict):
            event = {**details, **event}
        args = event.get("args") or event.get("arguments")
        kwargs = event.get("kwargs") or event.get("argumentskw")
        return cls(
            topic=_text(event.get("topic")) or topic,
            args=list(args) if isinstance(args, list) else [],
            kwargs=dict(kwargs) if isinstance(kwargs, dict) else {},
            time=_time(event.get("time_ns")) or _iso_time(event.get("timestamp")),
            publication=_id(event.get("publication")),
            publisher=_id(event.get("session_id")) or _id(event.get("publisher")),
            publisher_authid=_text(event.get("authid")) or _text(event.get("publisher_authid")),
            publisher_authrole=(
                _text(event.get("authrole")) or _text(event.get("publisher_authrole"))
            ),
        )


def history(client: MetaClient, topic: str, limit: int, match: str) -> list[PastEvent]:
    """Return the last events of a topic or pattern, the newest first. See ``Caller.history``."""
    if type(limit) is not int or limit < 1:
        raise ValueError(f"limit={limit!r} must be a whole number above 0")
    subscriptions = Meta(client).subscriptions
    own = subscriptions.lookup(topic, match)
    found = _events(client, own, limit, topic)
    if found is None and match == "exact":  # the router may store the events of a matching pattern
        for number in subscriptions.match(topic):
            found = _events(client, number, None, topic) if number != own else None
            if found is not None:
                found = [event for event in found if event.topic == topic]
                break
    if found is None:
        raise _unavailable(topic, match, limit)
    return found[:limit]


def _events(
    client: MetaClient, subscription_id: int | None, limit: int | None, topic: str
) -> list[PastEvent] | None:
    """Return the stored events of a subscription, the newest first. None if the router stores none."""
    if not subscription_id:  # nexus returns 0 if there is none
        return None
    try:
        answer = ask(client, "wamp.subscription.get_events", subscription_id, limit)
    except ApplicationError as error:
        if error.uri not in _NOT_KEPT:
            raise
        return None
    events = [PastEvent.parse(each, topic) for each in _dictionaries(answer)]
    times = [event.time for event in events]
    if None not in times:  # nexus returns the oldest first
        events.sort(key=lambda event: t.cast(dt.datetime, event.time), reverse=True)
    return events


def _dictionaries(answer: object) -> list[dict[str, object]]:
    """Return the events in an answer.

    Crossbar returns one list of events. nexus returns one positional value for each event, and keywords that
    say whether there are more.
    """
    if isinstance(answer, CallResult):
        return [each for value in answer.args for each in _dictionaries(value)]
    if isinstance(answer, dict):
        return [answer]
    return [each for each in answer if isinstance(each, dict)] if isinstance(answer, list) else []


def _unavailable(topic: str, match: str, limit: int) -> ApplicationError:
    kept = {"uri": topic, "match": match, "limit": max(limit, 100)}
    store = json.dumps({"type": "memory", "event-history": [kept]})
    return ApplicationError(
        error_uris.HISTORY_UNAVAILABLE,
        f"the router does not store events of {topic}. Add this to the realm in its configuration: "
        f'"store": {store}. Crossbar then stores an event if it has a subscriber when it is published',
    )


def _time(nanoseconds: object) -> dt.datetime | None:
    if type(nanoseconds) is not int:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    time = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return time.replace(microsecond=rest // 1000)


def _iso_time(text: object) -> dt.datetime | None:
    """Parse a time in ISO 8601 as Go writes it, with up to nine digits of a second and with a Z."""
    found = _ISO.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    digits, zone = (found[2] or "")[:6].ljust(6, "0"), found[3]
    try:
        time = dt.datetime.fromisoformat(f"{found[1]}.{digits}{'+00:00' if zone == 'Z' else zone}")
    except ValueError:
        return None
    return time.astimezone(dt.timezone.utc)


_ISO = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)")


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _id(value: object) -> int | None:
    return value if type(value) is int else None
