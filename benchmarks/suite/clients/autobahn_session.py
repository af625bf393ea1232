"""What autobahn does on both asyncio and Twisted, without validation, contexts or hooks."""

from __future__ import annotations

import sys
import typing as t

from autobahn.wamp.types import PublishOptions

ROLE, COUNT = sys.argv[3], int(sys.argv[4])

Sleep = t.Callable[[float], t.Any]


def add(a: int, b: int) -> int:
    """The handler."""
    return a + b


def serving(session: t.Any, sleep: Sleep) -> None:
    """Add procedures and a subscriber. The returned object must be awaited."""
    had = 0

    async def busy(ms: float) -> float:
        await sleep(ms / 1000)
        return ms

    def topic(n: int, mark: bool) -> None:
        nonlocal had
        had = had + 1 if had == n else -1
        if mark:
            session.publish("com.bench.done", had)
            had = 0

    async def slow(n: int) -> None:
        await sleep(0.001)

    session.register(add, "com.bench.add")
    session.register(lambda value: value, "com.bench.echo")
    session.register(busy, "com.bench.busy")
    session.subscribe(topic, "com.bench.topic")
    session.subscribe(slow, "com.bench.slow")


async def play(session: t.Any, sleep: Sleep, spawn: t.Callable[[t.Any], object]) -> None:
    """Play the role until killed. All requests are pipelined."""
    if ROLE == "serve":
        serving(session, sleep)
    elif ROLE == "join":
        for n in range(COUNT):
            session.register(add, f"com.bench.p{n}")
    elif ROLE == "subscribe":
        for n in range(COUNT):
            session.subscribe(lambda n: None, f"com.bench.t{n}")
    elif ROLE != "idle":
        for _ in range(COUNT):
            spawn(forever(session, sleep))


async def forever(session: t.Any, sleep: Sleep) -> None:
    """Repeat a request without a pause."""
    acknowledge = PublishOptions(acknowledge=True)
    n = 0
    while True:
        if ROLE == "call":
            await session.call("com.bench.add", 1, 2)
        elif ROLE == "publish-acknowledged":
            await session.publish("com.bench.topic", 1, options=acknowledge)
        else:
            session.publish("com.bench.topic", 1)
            n += 1
            if n % 100 == 0:
                await sleep(0)  # otherwise nothing would be written
