"""Logs the features that subscriptions need and the router does not have."""

from __future__ import annotations

from .._text import get_logger

logger = get_logger("flask_wamp")


def log_missing(missing: list[tuple[str, str]], topic: str, logged: set[str]) -> None:
    """Log each missing feature once.

    Do not call this under the connection's lock.

    :param missing: The features and the consequences, see :meth:`.RouterFeatures.missing_for`.
    :param logged: The features that were logged before. The new ones are added.
    """
    for feature, effect in missing:
        if feature not in logged:
            logged.add(feature)
            logger.warning("the router does not announce %r: %s of %s", feature, effect, topic)
