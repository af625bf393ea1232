"""The subscriptions of one session, with their topics and the targets of their events.

If a session subscribes to the same topic several times, the router has one subscription for all of them.
"""

from __future__ import annotations

from . import messages as m

#: A topic and how it matches.
Topic = tuple[str, str]


class SubscriptionTargets(dict[int, tuple[object, ...]]):
    """The targets of events by subscription id. Each target is contained once."""

    def __init__(self) -> None:
        super().__init__()
        self._topics: dict[int, Topic] = {}
        self._asked_last: dict[int, object] = {}

    def add(self, subscription_id: int, topic: Topic, target: object) -> None:
        """Add a target. Call this for SUBSCRIBED."""
        others = self.get(subscription_id, ())
        if not any(each is target for each in others):
            self[subscription_id] = (*others, target)
        self._topics[subscription_id] = topic
        self._asked_last[subscription_id] = target

    def drop(self, subscription_id: int, target: object) -> Topic | None:
        """Remove a target. Return the topic if it was the last target."""
        targets = self.get(subscription_id, ())
        rest = tuple(each for each in targets if each is not target)
        if subscription_id in self:
            self[subscription_id] = rest
        return self._topics[subscription_id] if targets and not rest else None

    def forget(self, subscription_id: int) -> tuple[object, ...]:
        """Remove a subscription. Return its targets."""
        self._topics.pop(subscription_id, None)
        self._asked_last.pop(subscription_id, None)
        return self.pop(subscription_id, ())

    def receivers(self, event: m.Event) -> tuple[object, ...]:
        """Return the targets that receive an event. Only the last added target receives a retained event.

        Crossbar 26.10 sends the retained event after each SUBSCRIBED, with a new publication id each time. It
        does so even if the session was subscribed before.
        """
        targets = self.get(event.subscription_id, ())
        if event.details.get("retained"):
            last = self._asked_last.get(event.subscription_id)
            return tuple(each for each in targets if each is last)
        return targets
