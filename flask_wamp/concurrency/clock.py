"""The steady clock, for deadlines: it goes on where a test has stopped the time.

freezegun stops ``time.monotonic`` too. It replaces what modules refer to by that name, and so not what is
here. A deadline that never comes is a test that hangs.
"""

from __future__ import annotations

import functools
import time
import typing as t

#: Returns the seconds of a clock that cannot be set, as ``time.monotonic`` does.
monotonic: t.Callable[[], float] = functools.partial(time.monotonic)
