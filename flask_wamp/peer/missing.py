"""Logs which features that subscriptions need are missing in the router."""

from __future__ import annotations

from .._text import get_logger
from ..protocol.messages import Details
from ..protocol.router_features import RouterFeatures

logger = get_logger("flask_wamp")


def log_missing(features: RouterFeatures, topic: str, options: Details, logged: set[str]) -> None:
    """Log the features that a subscription needs and that the router does not have, each of them once.

    Do not call this under the connection's lock.

    :param logged: The features that were logged before. The new ones are added.
    """
    for feature, effect in features.missing_for(topic, options):
        if feature not in logged:
            logged.add(feature)
            logger.warning("the router does not announce %r: %s of %s", feature, effect, topic)
