"""The subscriptions of one session: which topic each is of, and who gets its events.

A router has one subscription for all who ask for the same topic in a session.
"""

from __future__ import annotations

from . import messages as m

#: A topic and how it matches.
Topic = tuple[str, str]


class SubscriptionTargets(dict[int, tuple[object, ...]]):
    """Targets by subscription id, each of them there once."""

    def __init__(self) -> None:
        super().__init__()
        self._topics: dict[int, Topic] = {}
        self._asked_last: dict[int, object] = {}

    def add(self, subscription_id: int, topic: Topic, target: object) -> None:
        """Add a target for which SUBSCRIBED has come."""
        others = self.get(subscription_id, ())
        if not any(each is target for each in others):
            self[subscription_id] = (*others, target)
        self._topics[subscription_id] = topic
        self._asked_last[subscription_id] = target

    def drop(self, subscription_id: int, target: object) -> Topic | None:
        """Take a target away; the topic, where it was the last one there."""
        targets = self.get(subscription_id, ())
        rest = tuple(each for each in targets if each is not target)
        if subscription_id in self:
            self[subscription_id] = rest
        return self._topics[subscription_id] if targets and not rest else None

    def forget(self, subscription_id: int) -> tuple[object, ...]:
        """There is no such subscription any more; who had it."""
        self._topics.pop(subscription_id, None)
        self._asked_last.pop(subscription_id, None)
        return self.pop(subscription_id, ())

    def receivers(self, event: m.Event) -> tuple[object, ...]:
        """Who gets an event: all, but one that was retained only who has asked just now.

        Crossbar 26.10 sends it behind each SUBSCRIBED, to a session that had subscribed before too, and
        with a publication id of its own each time.
        """
        targets = self.get(event.subscription_id, ())
        if event.details.get("retained"):
            last = self._asked_last.get(event.subscription_id)
            return tuple(each for each in targets if each is last)
        return targets
