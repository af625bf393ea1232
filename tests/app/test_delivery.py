"""``delivery="one"`` step by step: the line, the window, taking over and handing over."""

from __future__ import annotations

import collections
import queue
import threading
import typing as t

import pytest

from flask_wamp import FlaskWAMP
from flask_wamp.coordination.delivery import Delivery
from flask_wamp.coordination.forwarder import WINDOW
from flask_wamp.protocol import error_uris
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.uris import COUNT_CALLEES, as_parts, own_prefix
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, Held, MemoryRouter

TOPIC = "com.example.a"
OWN = "com.example.flask_wamp"
DELIVER = f"{OWN}.deliver.exact.{TOPIC}"
HANDOVER = f"{OWN}.handover.exact.{TOPIC}"


class Sink:
    """The procedure that gets the events, in the hands of the test."""

    def __init__(self, router: MemoryRouter) -> None:
        self._held = router.hold(DELIVER)

    def next(self) -> tuple[int, Held]:
        """The number in the next event that is forwarded, and its call."""
        held = self._held.get(timeout=TIMEOUT)
        return held.message.args[3][0], held

    def handle(self, count: int) -> list[int]:
        """Handle some; return their numbers."""
        numbers = []
        for _ in range(count):
            number, held = self.next()
            held.answer()
            numbers.append(number)
        return numbers

    @property
    def empty(self) -> bool:
        return self._held.empty()


@pytest.fixture
def sink(router: MemoryRouter) -> Sink:
    router.register(COUNT_CALLEES, lambda number: 1)
    return Sink(router)


def subscribe(wamp: FlaskWAMP) -> None:
    wamp.subscriber(".a", delivery="one")(lambda number: None)


@pytest.fixture
def wamp(serve: Serve, router: MemoryRouter, sink: Sink) -> FlaskWAMP:
    """An app that forwards."""
    _, wamp = serve(subscribe)
    eventually(lambda: TOPIC in router.topics)
    return wamp


def delivery(wamp: FlaskWAMP) -> Delivery:
    (declaration,) = wamp.client.declarations
    return t.cast(Delivery, declaration)


# The line and the window.


def test_no_more_are_in_hand_than_the_window_has(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink
) -> None:
    for number in range(WINDOW + 2):
        router.publish(TOPIC, number)
    calls = [sink.next() for _ in range(WINDOW)]
    assert [number for number, _ in calls] == list(range(WINDOW))
    assert sink.empty
    calls[5][1].answer()
    assert sink.next()[0] == WINDOW
    assert sink.empty
    for _, held in calls:
        held.answer()
    assert sink.next()[0] == WINDOW + 1


@pytest.mark.parametrize("uri", [error_uris.UNAVAILABLE, "wamp.error.no_such_procedure"])
def test_what_nobody_has_begun_with_is_forwarded_again(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink, uri: str
) -> None:
    router.publish(TOPIC, 1)
    sink.next()[1].fail(uri)
    assert sink.handle(1) == [1]


def test_what_may_have_been_handled_is_not(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    router.publish(TOPIC, 1)
    sink.next()[1].fail("wamp.error.canceled", "the callee is gone")
    router.publish(TOPIC, 2)
    assert sink.handle(1) == [2]
    eventually(lambda: "1 events of com.example.a were forwarded" in caplog.text)
    assert sink.empty


def test_an_event_that_cannot_be_forwarded_holds_nothing_up(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    deep: list[t.Any] = []
    for _ in range(99):
        deep = [deep]
    router.publish(TOPIC, 1, deep)
    router.publish(TOPIC, 2)
    assert sink.handle(1) == [2]
    assert "it cannot be forwarded" in caplog.text


def test_the_line_outlives_the_session(wamp: FlaskWAMP, router: MemoryRouter, sink: Sink) -> None:
    for number in range(WINDOW + 3):
        router.publish(TOPIC, number)
    for _ in range(WINDOW):
        sink.next()
    router.drop()
    assert sink.handle(3) == [WINDOW, WINDOW + 1, WINDOW + 2]  # those in hand: nobody knows
    eventually(lambda: TOPIC in router.topics)
    router.publish(TOPIC, 1000)
    assert sink.handle(1) == [1000]


# Taking over.


def take_over(serve: Serve, router: MemoryRouter) -> Held:
    """Have an app take over from the test; return its question."""
    question = router.hold(HANDOVER)
    serve(subscribe)
    return question.get(timeout=TIMEOUT)


def test_what_the_predecessor_took_is_left_out(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    question = take_over(serve, router)
    publications = [router.publish(TOPIC, number) for number in range(6)]
    assert sink.empty
    question.answer(publications[0], publications[1], 12345)
    assert sink.handle(4) == [2, 3, 4, 5]
    router.publish(TOPIC, 6)
    assert sink.handle(1) == [6]


def test_after_a_predecessor_that_was_killed_all_are_forwarded(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    question = take_over(serve, router)
    for number in range(3):
        router.publish(TOPIC, number)
    question.fail("wamp.error.canceled")
    assert sink.handle(3) == [0, 1, 2]


@pytest.mark.parametrize(("predecessor", "expected"), [(True, [2]), (False, [1, 2])])
def test_a_retained_event_is_not_handled_again_by_a_successor(
    serve: Serve, router: MemoryRouter, sink: Sink, predecessor: bool, expected: list[int]
) -> None:
    question = router.hold(HANDOVER)
    _, wamp = serve(subscribe)
    held = question.get(timeout=TIMEOUT)
    number = delivery(wamp).subscription.id
    assert number is not None
    router.send(m.Event(number, 77, {"retained": True}, [1]))
    router.publish(TOPIC, 2)
    if predecessor:
        held.answer()
    else:
        held.fail("wamp.error.no_such_procedure")
    assert sink.handle(len(expected)) == expected


def test_a_session_lost_while_taking_over_is_no_harm(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    take_over(serve, router)
    router.publish(TOPIC, 1)  # who knows whether the predecessor has it
    question = router.hold(HANDOVER)
    router.drop()
    question.get(timeout=TIMEOUT).fail("wamp.error.no_such_procedure")
    router.publish(TOPIC, 2)
    assert sink.handle(1) == [2]


def test_a_topic_that_is_refused_is_told(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    router.refuse(TOPIC)
    _, wamp = serve(subscribe)
    eventually(lambda: "com.example.a is not delivered: wamp.error.not_authorized" in caplog.text)
    assert wamp.health()["topics"]["refused"] == {TOPIC: "wamp.error.not_authorized: 'not today'"}


def test_who_unsubscribes_without_a_session_does_not_take_over_in_the_next(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.down = True
    router.drop()
    eventually(lambda: not wamp.client.joined)
    wamp.client.unsubscribe(TOPIC)
    router.down = False
    wamp.client.wait_until_joined(TIMEOUT)
    wamp.subscriber(".b", delivery="one")(lambda: None)
    eventually(lambda: "com.example.b" in router.topics)
    assert TOPIC not in router.topics


# Handing over, between two apps that stand for two processes.


@pytest.fixture
def callees(router: MemoryRouter) -> t.Iterator[list[int]]:
    """How many members the app has, as the router counts them."""
    count = [2]
    router.register(COUNT_CALLEES, lambda number: count[0])
    yield count
    count[0] = 1  # they are stopped one after the other


@pytest.fixture
def seen() -> queue.SimpleQueue[tuple[str, int]]:
    return queue.SimpleQueue()


@pytest.fixture
def two(
    serve: Serve,
    router: MemoryRouter,
    callees: list[int],
    seen: queue.SimpleQueue[tuple[str, int]],
) -> list[FlaskWAMP]:
    """Two members of an app; the first one forwards."""

    def make(name: str) -> FlaskWAMP:
        def setup(wamp: FlaskWAMP) -> None:
            wamp.subscriber(".a", delivery="one")(lambda number: seen.put((name, number)))

        _, wamp = serve(setup)
        return wamp

    members = [make("first")]
    eventually(lambda: TOPIC in router.topics)
    return [*members, make("second")]


def test_who_leaves_hands_over(
    two: list[FlaskWAMP], router: MemoryRouter, seen: queue.SimpleQueue[tuple[str, int]]
) -> None:
    published = 0
    stopping = threading.Thread(target=two[0].stop)
    for _ in range(20):
        router.publish(TOPIC, published)
        published += 1
    stopping.start()
    while stopping.is_alive():
        router.publish(TOPIC, published)
        published += 1
        stopping.join(0.001)
    router.publish(TOPIC, published)
    published += 1
    handled = [seen.get(timeout=TIMEOUT) for _ in range(published)]
    assert collections.Counter(number for _, number in handled) == dict.fromkeys(
        range(published), 1
    )
    assert {name for name, _ in handled} == {"first", "second"}
    assert handled[-1][0] == "second"


def test_who_leaves_gives_back_what_it_has_not_begun_with(
    serve: Serve, router: MemoryRouter, callees: list[int]
) -> None:
    gate, began = threading.Event(), threading.Event()
    seen: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def slow(number: int) -> None:
        began.set()
        assert gate.wait(TIMEOUT)
        seen.put(("slow", number))

    serve(
        lambda wamp: wamp.subscriber(".a", delivery="one")(
            lambda number: seen.put(("fast", number))
        )
    )
    eventually(lambda: TOPIC in router.topics)
    _, second = serve(lambda wamp: wamp.subscriber(".a", delivery="one")(slow))
    for number in range(10):
        router.publish(TOPIC, number)
    assert began.wait(TIMEOUT)
    stopping = threading.Thread(target=second.stop)
    stopping.start()
    eventually(lambda: delivery(second).pass_on is not None)
    gate.set()
    stopping.join(TIMEOUT)
    handled = [seen.get(timeout=TIMEOUT) for _ in range(10)]
    assert sorted(number for _, number in handled) == list(range(10))
    assert [name for name, _ in handled].count("slow") == 1


# URIs.


@pytest.mark.parametrize(
    ("prefix", "name", "own"),
    [
        ("com.example", "shop", "com.example.flask_wamp"),
        (None, "my-shop.web", "my_shop_web.flask_wamp"),
        (None, "__main__", "main.flask_wamp"),
        (None, "-", "app.flask_wamp"),
    ],
)
def test_own_uris_are_below_the_prefix_or_the_name(prefix: str | None, name: str, own: str) -> None:
    assert own_prefix(prefix, name) == own


def test_patterns_become_different_parts_of_uris() -> None:
    patterns = ["com..x", "com._.x", "com.__.x", "com.x", "com.x.", ".x", "_.x"]
    parts = [as_parts(pattern) for pattern in patterns]
    assert len(set(parts)) == len(patterns)
    assert as_parts("com.my_shop.on_order") == "com.my_shop.on_order"
    assert all(all(part.split(".")) for part in parts)
