"""Checks of values that come from users."""

from __future__ import annotations

MAX_SECONDS = 1e9
"""The longest timeout. Timeouts above ``threading.TIMEOUT_MAX``, such as infinity, raise an error."""


def is_seconds(value: object) -> bool:
    """Return whether a value is a valid timeout: a number above 0 and at most :data:`MAX_SECONDS`."""
    return isinstance(value, int | float) and value is not True and 0 < value <= MAX_SECONDS
