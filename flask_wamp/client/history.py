"""Event history: what the router has kept of what was published.

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
from .meta import Asking, Meta, ask

#: What a router answers who does not keep the events of a subscription, or has none such.
_NOT_KEPT = (error_uris.HISTORY_UNAVAILABLE, error_uris.NO_SUCH_SUBSCRIPTION)


@dataclasses.dataclass(frozen=True)
class PastEvent:
    """An event the router has kept. Its names are those of ``flask_wamp.event``.

    Crossbar tells who published it also where it does not disclose publishers to subscribers.
    """

    topic: str
    """The URI it was published to."""

    args: list[t.Any] = dataclasses.field(default_factory=list)
    """The positional payload."""

    kwargs: dict[str, t.Any] = dataclasses.field(default_factory=dict)
    """The keyword payload."""

    time: dt.datetime | None = None
    """When it was published, aware, in UTC; None where the router does not tell."""

    publication: int | None = None
    """The publication id."""

    publisher: int | None = None
    """The publisher's session id."""

    publisher_authid: str | None = None
    """Who the publisher was."""

    publisher_authrole: str | None = None
    """The publisher's role."""

    @classmethod
    def parse(cls, found: c.Mapping[str, object], topic: str) -> PastEvent:
        """Make one of what the router says.

        Crossbar has all of an event in one dictionary. Other routers name some of it as their messages do,
        and leave the identities in ``details``.

        :param topic: The topic of an event for which the router names none.
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


def history(client: Asking, topic: str, limit: int, match: str) -> list[PastEvent]:
    """Return the last events of a topic or pattern, the newest first; see ``Caller.history``."""
    if type(limit) is not int or limit < 1:
        raise ValueError(f"limit={limit!r} must be a whole number above 0")
    subscriptions = Meta(client).subscriptions
    own = subscriptions.lookup(topic, match)
    found = _events(client, own, limit, topic)
    if found is None and match == "exact":  # perhaps it is kept for a pattern that has it
        for number in subscriptions.match(topic):
            found = _events(client, number, None, topic) if number != own else None
            if found is not None:
                found = [event for event in found if event.topic == topic]
                break
    if found is None:
        raise _unavailable(topic, match, limit)
    return found[:limit]


def _events(
    client: Asking, subscription_id: int | None, limit: int | None, topic: str
) -> list[PastEvent] | None:
    """Return what the router keeps for a subscription, the newest first; None if it keeps nothing."""
    if not subscription_id:  # nexus has 0 where there is none
        return None
    try:
        answer = ask(client, "wamp.subscription.get_events", subscription_id, limit)
    except ApplicationError as error:
        if error.uri not in _NOT_KEPT:
            raise
        return None
    events = [PastEvent.parse(each, topic) for each in _dictionaries(answer)]
    times = [event.time for event in events]
    if None not in times:  # nexus has the oldest first
        events.sort(key=lambda event: t.cast(dt.datetime, event.time), reverse=True)
    return events


def _dictionaries(answer: object) -> list[dict[str, object]]:
    """Return the events in an answer.

    Crossbar answers with one list of them. nexus answers with one positional value for each event, and with
    keywords that say whether there are more.
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
        f'the router keeps no events of {topic}: the realm in its configuration must have "store": '
        f"{store}; Crossbar then keeps those that somebody is subscribed to when they are published",
    )


def _time(nanoseconds: object) -> dt.datetime | None:
    if type(nanoseconds) is not int:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    time = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return time.replace(microsecond=rest // 1000)


def _iso_time(text: object) -> dt.datetime | None:
    """Read a time of ISO 8601, as Go writes it: with up to nine digits of a second, and a Z."""
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
