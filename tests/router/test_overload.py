"""Overload with calls, events and answers, on a real router, with measured processes."""

from __future__ import annotations

import concurrent.futures
import statistics
import threading
import time
import typing as t

import pytest

from flask_wamp.crossbar import free_port
from flask_wamp.peer.sending import MAX_UNSENT
from flask_wamp.protocol import messages as m
from tests.conftest import eventually
from tests.support.overload import LIMIT, Overloaded, crowd
from tests.support.peers import AutobahnPeer
from tests.support.stalling_router import StallingRouter

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter
    from flask_wamp.testing import MakeRouter

pytestmark = [pytest.mark.router, pytest.mark.slow]

TRANSPORTS = {"ws+json": "json", "ws+msgpack": "msgpack", "rawsocket+msgpack": "msgpack"}


@pytest.fixture(scope="module")
def pinging(make_wamp_router: MakeRouter) -> DevRouter:
    """A router that pings its WebSocket clients each second."""
    urls = [f"ws://127.0.0.1:{free_port()}/ws", f"tcp://127.0.0.1:{free_port()}"]
    # Long enough for Crossbar to get to the pongs: it reads them behind 50,000 calls, which takes
    # it seven seconds on a machine with nothing else to do.
    return make_wamp_router(urls, auto_ping_interval_ms=1000, auto_ping_timeout_ms=20000)


@pytest.fixture(scope="module")
def asker(pinging: DevRouter) -> t.Iterator[AutobahnPeer]:
    with AutobahnPeer(pinging.rawsocket_url) as peer:
        yield peer


class Quick:
    """Calls another procedure repeatedly, from its own process."""

    def __init__(self, asker: AutobahnPeer) -> None:
        self._asker = asker
        self._stop = threading.Event()
        self._executor = concurrent.futures.ThreadPoolExecutor(1)
        self._taken: list[float] = []

    def _run(self) -> None:
        while not self._stop.wait(0.02):
            started = time.monotonic()
            assert self._asker.submit("com.example.quick", 1).wait(LIMIT).value == 1
            self._taken.append(time.monotonic() - started)

    def __enter__(self) -> Quick:
        self._running = self._executor.submit(self._run)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stop.set()
        self._executor.shutdown()
        self._running.result()

    @property
    def served(self) -> int:
        return len(self._taken)

    def __str__(self) -> str:
        middle, longest = statistics.median(self._taken), max(self._taken)
        return f"{self.served} quick calls: p50 {middle:.3f} s, longest {longest:.3f} s"


@pytest.mark.parametrize(
    ("transport", "kind", "calls", "pending"),
    [
        ("ws+json", "threads", 50_000, 10_000),
        ("ws+json", "gevent", 5_000, 1_000),
        ("ws+msgpack", "threads", 5_000, 1_000),
        ("rawsocket+msgpack", "threads", 5_000, 1_000),
    ],
)
def test_only_calls_over_the_limit_are_refused(
    pinging: DevRouter, asker: AutobahnPeer, transport: str, kind: str, calls: int, pending: int
) -> None:
    url = pinging.url if transport.startswith("ws") else pinging.rawsocket_url
    with Overloaded(
        url, kind, WAMP_SERIALIZERS=[TRANSPORTS[transport]], WAMP_MAX_PENDING=pending
    ) as app:
        session_id = _about(asker)["session_id"]
        with Quick(asker) as quick:
            facts = crowd(pinging.rawsocket_url, "com.example.slow", calls, calls - pending - 100)
        state = _about(asker)
    print(f"\n{transport}, {kind}: {facts['ends']}, {facts['seconds']}")
    print(f"{quick}; {app.growth(state)}")
    ends = facts["ends"]
    assert ends.keys() == {"result", "wamp.error.unavailable"}
    assert sum(ends.values()) == calls
    assert pending <= ends["result"] <= pending + 100
    assert quick.served > 0
    assert state["session_id"] == session_id  # no ping was left unanswered
    assert state["peak"] - app.before["rss"] < 150


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_events_for_a_slow_subscriber_are_dropped_and_counted(
    pinging: DevRouter, asker: AutobahnPeer, kind: str
) -> None:
    sent, limit = 5_000, 500
    with Overloaded(pinging.url, kind, WAMP_EVENT_QUEUE=limit) as app:
        # The router handles one session's messages in order.
        for number in range(sent):
            asker.command("publish", uri="com.example.news", args=[number], kwargs={}, options={})
        assert asker.call("com.example.quick", 1).value == 1
        expected = sent - limit - 1
        eventually(lambda: _about(asker)["dropped"] >= 4096 > expected - 4096, LIMIT)
        asker.call("com.example.open")
        state = eventually(lambda: (s := _about(asker))["news"] >= limit and s, LIMIT)
    print(f"\n{state}; {app.growth(state)}")
    assert state["news"] + state["dropped_in_all"] == sent
    assert state["news"] <= limit + 1
    assert state["signals"] == 13  # at 1, 2, 4 ... 4096: not one for each event


def _about(asker: AutobahnPeer) -> dict[str, t.Any]:
    return t.cast("dict[str, t.Any]", asker.call("com.example.state").value)


@pytest.mark.parametrize(
    ("kind", "threads", "count", "how"),
    [
        ("threads", 1, 10_000, "submit"),
        ("threads", 32, 313, "submit"),
        ("gevent", 1000, 10, "call"),
    ],
)
def test_ten_thousand_calls_at_once(
    pinging: DevRouter, asker: AutobahnPeer, kind: str, threads: int, count: int, how: str
) -> None:
    asker.register("com.example.echo")
    try:
        with Overloaded(pinging.rawsocket_url, kind) as app:
            burst = asker.submit("com.example.burst", threads, count, how).wait(LIMIT).value
            state = _about(asker)
    finally:
        asker.reset()
    print(f"\n{threads} x {how} x {count}, {kind}: {burst}; {app.growth(state)}")
    assert burst["right"] == threads * count
    assert state["peak"] - app.before["rss"] < 150


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_publishing_faster_than_the_router_reads(
    pinging: DevRouter, asker: AutobahnPeer, kind: str
) -> None:
    """Three handlers return 60 MB. Calls are answered meanwhile, and memory stays limited."""
    with Overloaded(pinging.url, kind) as app:
        floods = [asker.submit("com.example.flood", writer, 300, 65_536) for writer in "abc"]
        assert [asker.call("com.example.quick", n).value for n in range(5)] == list(range(5))
        seconds = [flood.wait(LIMIT).value for flood in floods]
        state = _about(asker)
    print(f"\n{kind}: {seconds}; {app.growth(state)}")
    assert state["peak"] - app.before["rss"] < 100


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_large_results_do_not_accumulate(
    pinging: DevRouter, asker: AutobahnPeer, on_crossbar: bool, kind: str
) -> None:
    """64 results of 4 MB at once: memory contains those of running handlers and little more."""
    # The built-in router disconnects a caller that reads slowly when 64 MiB wait for it.
    calls = 64 if on_crossbar else 14
    with Overloaded(pinging.rawsocket_url, kind) as app:
        with Quick(asker) as quick:
            facts = crowd(pinging.rawsocket_url, "com.example.big", calls, 0)
        state = _about(asker)
    print(f"\n{kind}: {facts}; {quick}; {app.growth(state)}")
    assert facts["ends"] == {"result": calls}
    assert state["peak"] - app.before["rss"] < calls * 4 * 2


# A router that does not read.

STALLED = 60.0
"""Seconds until the session counts as lost: longer than these tests take."""

SIZE = 65_536
WRITERS = 4


@pytest.mark.parametrize("kind", ["threads", "gevent"])
def test_publications_that_a_router_does_not_read_are_limited(kind: str) -> None:
    """Handlers and views publish 52 MB. Only they wait, and all events arrive in the end."""
    count = 100
    handlers = [f"handler{number}" for number in range(WRITERS)]
    views = [f"view{number}" for number in range(WRITERS)]
    with StallingRouter() as router, Overloaded(router.url, kind, WAMP_HEARTBEAT=STALLED) as app:
        router.stop_reading()
        answers = [router.invoke("com.example.flood", each, count, SIZE) for each in handlers]
        answers += [router.invoke("com.example.flood_from_views", views, count, SIZE)]
        stalled = app.still("published")
        for _ in range(20):
            router.publish("com.example.tick")
            router.ping()
        eventually(lambda: app.state()["ticks"] == 20, LIMIT)  # the reader reads
        read_by_then = router.publications
        router.go_on()
        assert all(isinstance(answer.result(LIMIT), m.Result) for answer in answers)
        eventually(lambda: router.publications == 2 * WRITERS * count, LIMIT)
        eventually(lambda: len(router.pongs_after) == 20, LIMIT)
        state = app.state()
    print(
        f"\n{kind}: {stalled['published']} of {router.publications} published, {read_by_then} read"
    )
    print(f"{stalled['unsent'] / 2**20:.1f} MB in line; {app.growth(state)}")
    print(f"pongs after {router.pongs_after[0]} to {router.pongs_after[-1]} publications")
    assert stalled["published"] < 2 * WRITERS * count
    assert stalled["unsent"] <= MAX_UNSENT + 2 * WRITERS * (SIZE + 100)
    assert router.pongs_after[-1] < 2 * WRITERS * count  # not behind all waiting messages
    assert router.published == {writer: list(range(count)) for writer in handlers + views}
    assert state["session_id"] == stalled["session_id"]
    assert state["peak"] - app.before["rss"] < 50


@pytest.mark.parametrize("kind", ["threads", "gevent"])
@pytest.mark.parametrize(("size", "count"), [(1024, 20_000), (262_144, 400)])
def test_results_that_a_router_does_not_read_are_limited(kind: str, size: int, count: int) -> None:
    """Handlers wait while their results are not sent. So their number limits the waiting results."""
    workers = 32
    config = {"WAMP_HEARTBEAT": STALLED, "WAMP_WORKERS": workers, "WAMP_MAX_PENDING": count}
    with StallingRouter() as router, Overloaded(router.url, kind, **config) as app:
        router.stop_reading()
        answers = [router.invoke("com.example.result", n, size) for n in range(count)]
        stalled = app.still("results")
        router.go_on()
        lengths = {len(answer.result(LIMIT).args[0]) for answer in answers}
        state = app.state()
    print(f"\n{kind}: {stalled['results']} of {count} handlers had run")
    print(f"{stalled['unsent'] / 2**20:.1f} MB in line; {app.growth(state)}")
    assert lengths == {size}
    assert stalled["results"] < count
    assert stalled["unsent"] <= MAX_UNSENT + workers * (size + 100)
    assert state["session_id"] == stalled["session_id"]
    assert state["peak"] - app.before["rss"] < 100
