"""Values in both directions."""

from __future__ import annotations

import typing as t

VALUES: list[t.Any] = [
    None,
    True,
    0,
    -1,
    2**53 - 1,
    1.5,
    -2.5e-7,
    "",
    'Grüße, 世界 🎉 \\ " \n \u0000',
    [],
    {},
    [[1, [2, {"three": [4]}]], {"five": None}],
    {"é": "ß", "": "empty", "nested": {"list": [1, "two", 3.5, None, False]}},
]
LARGE = [2**53 + 1, 2**63 - 1, -(2**63)]
BYTES = bytes(range(256))
MEGABYTE = "0123456789" * 100_000
ERROR: dict[str, t.Any] = {
    "uri": "com.interop.error.broken",
    "args": ["in half", 2],
    "kwargs": {"pieces": {"left": 1, "right": [2]}},
}
