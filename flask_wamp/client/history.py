"""Event history: what the router has kept of what was published.

Source: WAMP Advanced Profile, "Event History".
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import typing as t

from ..exceptions import ApplicationError
from ..protocol import error_uris
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
    def parse(cls, told: dict[str, t.Any], topic: str) -> PastEvent:
        """Make one of what the router tells; ``topic`` where it does not say which."""
        return cls(
            topic=told.get("topic") or topic,
            args=list(told.get("args") or []),
            kwargs=dict(told.get("kwargs") or {}),
            time=_time(told.get("time_ns")),
            publication=told.get("publication"),
            publisher=told.get("session_id"),
            publisher_authid=told.get("authid"),
            publisher_authrole=told.get("authrole"),
        )


def history(client: Asking, topic: str, limit: int, match: str) -> list[PastEvent]:
    """The last events of a topic or pattern, the newest first; see ``Caller.history``."""
    if type(limit) is not int or limit < 1:
        raise ValueError(f"limit={limit!r} must be a whole number above 0")
    subscriptions = Meta(client).subscriptions
    own = subscriptions.lookup(topic, match)
    told = _events(client, own, limit)
    if told is None and match == "exact":  # perhaps it is kept for a pattern that has it
        for number in subscriptions.match(topic):
            told = _events(client, number, None) if number != own else None
            if told is not None:
                told = [each for each in told if each.get("topic") == topic][:limit]
                break
    if told is None:
        raise _unavailable(topic, match, limit)
    return [PastEvent.parse(each, topic) for each in told]


def _events(
    client: Asking, subscription_id: int | None, limit: int | None
) -> list[dict[str, t.Any]] | None:
    """What the router has kept for a subscription; None: it keeps nothing for it."""
    if subscription_id is None:
        return None
    try:
        told = ask(client, "wamp.subscription.get_events", subscription_id, limit)
    except ApplicationError as error:
        if error.uri not in _NOT_KEPT:
            raise
        return None
    return [each for each in told or () if isinstance(each, dict)]


def _unavailable(topic: str, match: str, limit: int) -> ApplicationError:
    kept = {"uri": topic, "match": match, "limit": max(limit, 100)}
    store = json.dumps({"type": "memory", "event-history": [kept]})
    return ApplicationError(
        error_uris.HISTORY_UNAVAILABLE,
        f'the router keeps no events of {topic}: the realm in its configuration must have "store": '
        f"{store}; Crossbar then keeps those that somebody is subscribed to when they are published",
    )


def _time(nanoseconds: t.Any) -> dt.datetime | None:
    if type(nanoseconds) is not int:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    time = dt.datetime.fromtimestamp(seconds, dt.timezone.utc)
    return time.replace(microsecond=rest // 1000)
