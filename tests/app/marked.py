"""A module whose functions the free decorators marked."""

from __future__ import annotations

from flask_wamp import callee, subscriber

heard: list[str] = []


@callee
def free(x: int) -> int:
    return x + 1


@callee("com.other.twice")
@callee(".twice")
def twice(x: int) -> int:
    return x * 2


@subscriber(".news")
def on_news(text: str) -> None:
    heard.append(text)


def unmarked() -> None: ...
