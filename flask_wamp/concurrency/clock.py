"""The monotonic clock for deadlines. It runs even if a test has frozen the time.

freezegun freezes ``time.monotonic`` too, and with a frozen clock, a test would wait for a deadline forever.
freezegun replaces attributes of modules that are ``time.monotonic``. It does not find the function inside
of the ``partial``.
"""

from __future__ import annotations

import functools
import time
import typing as t

#: Returns what ``time.monotonic`` returns, in seconds.
monotonic: t.Callable[[], float] = functools.partial(time.monotonic)
