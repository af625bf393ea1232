"""Logs the features that subscriptions need and the router does not have."""

from __future__ import annotations

from .._text import get_logger
from ..protocol import messages as m
from .connection import Connection

logger = get_logger("flask_wamp")


class MissingFeatures:
    """Logs each feature that the router does not announce once, as long as the process has its peer."""

    def __init__(self) -> None:
        self._logged: set[str] = set()

    def note(self, connection: Connection, topic: str, options: m.Details) -> None:
        """Log the features that a subscription needs and the router does not have.

        Do not call this under the connection's lock.
        """
        for feature, effect in connection.session.features.missing_for(topic, options):
            if feature not in self._logged:
                self._logged.add(feature)
                logger.warning("the router does not announce %r: %s of %s", feature, effect, topic)
