"""Payloads of all sizes and shapes."""

from __future__ import annotations

import random
import typing as t

LETTERS = 'abc ÄÖ ß\u00e9 \u4e2d\u6587 \U0001f600 "\\\n\t'


def payload(rng: random.Random, largest: int) -> t.Any:
    """Return a payload of at most about this size. Small ones are more likely than large ones."""
    size = int(largest ** rng.random()) - 1
    return rng.choice((_text, _bytes, _nested, _numbers))(rng, size)


def _text(rng: random.Random, size: int) -> str:
    piece = "".join(rng.choices(LETTERS, k=16))
    return (piece * (size // 32 + 1))[: size // 2]


def _bytes(rng: random.Random, size: int) -> bytes:
    piece = rng.randbytes(64)
    return (piece * (size // 64 + 1))[:size]


def _numbers(rng: random.Random, size: int) -> list[t.Any]:
    return [rng.choice((0, -1, 2**53, 0.5, -1e300, True, None))] * (size // 8)


def _nested(rng: random.Random, size: int) -> t.Any:
    value: t.Any = {"text": _text(rng, size), "bytes": _bytes(rng, size // 4), "": []}
    for _ in range(rng.randrange(30)):
        value = {"in": value} if rng.random() < 0.5 else [value, None]
    return value
