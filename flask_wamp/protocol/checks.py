"""Checks of values that come from users."""

from __future__ import annotations

MAX_SECONDS = 1e9
"""The longest wait: the system refuses those above ``threading.TIMEOUT_MAX``, infinity too."""


def is_seconds(value: object) -> bool:
    """Whether a value is a time to wait: a number above 0, and not more than can be waited for."""
    return isinstance(value, int | float) and value is not True and 0 < value <= MAX_SECONDS
