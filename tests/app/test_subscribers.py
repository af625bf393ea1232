"""Events: the arguments of a subscriber, the order, and failures."""

from __future__ import annotations

import logging
import threading
import typing as t

import pytest
from flask import g

from flask_wamp import ApplicationError, FlaskWAMP
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

TOPIC = "com.example.topic"


@pytest.fixture
def subscribe(serve: Serve) -> t.Callable[..., t.Any]:
    """Subscribe a function to the topic."""

    def subscribe(f: t.Callable[..., t.Any], *, config: t.Any = (), **options: t.Any) -> FlaskWAMP:
        _, wamp = serve(lambda wamp: wamp.subscriber(".topic", **options)(f), **dict(config))
        return wamp

    return subscribe


Subscribe = t.Callable[..., FlaskWAMP]

# The arguments.


def test_payload_reaches_the_subscriber(subscribe: Subscribe, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def on_topic(a: int, b: str = "default", *, c: list[int] | None = None) -> None:
        seen.append((a, b, c))

    subscribe(on_topic)
    router.publish(TOPIC, "1")
    router.publish(TOPIC, 2, b="x", c=["3"])
    eventually(lambda: seen == [(1, "default", None), (2, "x", [3])])


def test_the_result_of_a_subscriber_is_dropped(subscribe: Subscribe, router: MemoryRouter) -> None:
    done = threading.Event()

    def on_topic() -> object:
        done.set()
        return object()

    subscribe(on_topic)
    count = len(router.messages)
    router.publish(TOPIC)
    assert done.wait(TIMEOUT)
    assert len(router.messages) == count


def test_async_subscriber(subscribe: Subscribe, router: MemoryRouter) -> None:
    pytest.importorskip("asgiref")
    done = threading.Event()

    async def on_topic(x: int) -> None:
        assert x == 5
        done.set()

    subscribe(on_topic)
    router.publish(TOPIC, "5")
    assert done.wait(TIMEOUT)


def test_an_own_event_reaches_the_own_subscriber_with_exclude_me_off(
    subscribe: Subscribe, router: MemoryRouter
) -> None:
    seen: list[int] = []
    client = subscribe(lambda x: seen.append(x)).client
    client.publish(TOPIC, 1)
    client.with_options(exclude_me=False).publish(TOPIC, 2)
    eventually(lambda: seen == [2])


def test_exact_and_prefix_subscribers_both_get_an_event(serve: Serve, router: MemoryRouter) -> None:
    seen: list[str] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".topic")(lambda: seen.append("exact"))
        wamp.subscriber(".top", match="prefix")(lambda: seen.append("prefix"))

    serve(setup)
    router.publish(TOPIC)
    eventually(lambda: sorted(seen) == ["exact", "prefix"])


# wampy's meta.


def test_consume_gives_meta_to_functions_that_have_it(serve: Serve, router: MemoryRouter) -> None:
    seen: dict[str, t.Any] = {}

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.consume(".topic")
        def with_meta(message: str, meta: dict[str, t.Any]) -> None:
            seen["with"] = message, meta

        @wamp.consume(".other", validate=False)
        def unvalidated(meta: t.Any, message: str) -> None:
            seen["unvalidated"] = message, meta

        @wamp.consume(".rest")
        def with_rest(message: str, **rest: t.Any) -> None:
            seen["rest"] = message, rest

    _, wamp = serve(setup)
    ids = wamp.client.subscription_map
    other = "com.example.other"
    router.publish(TOPIC, message="hello")
    router.publish(other, "hello")
    router.publish("com.example.rest", message="hello")
    eventually(lambda: len(seen) == 3)
    assert seen == {
        "with": ("hello", {"topic": TOPIC, "subscription_id": ids[TOPIC]}),
        "unvalidated": ("hello", {"topic": other, "subscription_id": ids[other]}),
        "rest": ("hello", {}),
    }


def test_publisher_cannot_forge_meta(serve: Serve, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def on_topic(message: str, meta: dict[str, t.Any]) -> None:
        seen.append((message, meta["topic"]))

    serve(lambda wamp: wamp.consume(".topic")(on_topic))
    router.publish(TOPIC, "hello", meta={"topic": "com.example.forged"})
    eventually(lambda: seen == [("hello", TOPIC)])


@pytest.mark.parametrize("validate", [True, False])
def test_meta_of_other_subscribers_is_an_ordinary_parameter(
    subscribe: Subscribe, router: MemoryRouter, validate: bool
) -> None:
    seen: list[t.Any] = []

    def on_topic(meta: int, other: int = 0) -> None:
        seen.append((meta, other))

    subscribe(on_topic, validate=validate)
    router.publish(TOPIC, 1, 2)
    router.publish(TOPIC, meta=3)
    eventually(lambda: seen == [(1, 2), (3, 0)])


def test_meta_has_the_real_topic_of_a_pattern(serve: Serve, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def on_topic(meta: dict[str, t.Any]) -> None:
        seen.append(meta["topic"])

    serve(lambda wamp: wamp.consume(".topic", match="prefix")(on_topic))
    router.publish(f"{TOPIC}.deeper")
    eventually(lambda: seen == [f"{TOPIC}.deeper"])


def test_consume_ignores_unknown_options(serve: Serve, router: MemoryRouter) -> None:
    seen: list[str] = []
    serve(lambda wamp: wamp.consume(topic="com.example.topic", roles=["x"], x=1)(seen.append))
    router.publish(TOPIC, "hello")
    eventually(lambda: seen == ["hello"])


# Order.


def test_events_are_handled_in_order(subscribe: Subscribe, router: MemoryRouter) -> None:
    seen: list[int] = []
    subscribe(lambda x: seen.append(x))
    for number in range(500):
        router.publish(TOPIC, number)
    eventually(lambda: len(seen) == 500)
    assert seen == list(range(500))


def test_an_event_waits_for_the_previous_one(subscribe: Subscribe, router: MemoryRouter) -> None:
    began, may_end, seen = threading.Event(), threading.Event(), []

    def on_topic(x: int) -> None:
        seen.append(("begin", x))
        began.set()
        assert may_end.wait(TIMEOUT)
        seen.append(("end", x))

    subscribe(on_topic)
    for number in range(3):
        router.publish(TOPIC, number)
    assert began.wait(TIMEOUT)
    may_end.set()
    eventually(lambda: len(seen) == 6)
    assert seen == [(what, x) for x in range(3) for what in ("begin", "end")]


def test_concurrency_does_not_keep_the_order(subscribe: Subscribe, router: MemoryRouter) -> None:
    barrier = threading.Barrier(3)
    seen: list[int] = []

    def on_topic(x: int) -> None:
        barrier.wait(TIMEOUT)
        seen.append(x)

    subscribe(on_topic, concurrency=3)
    for number in range(6):
        router.publish(TOPIC, number)
    eventually(lambda: sorted(seen) == list(range(6)))


def test_topics_do_not_wait_for_each_other(serve: Serve, router: MemoryRouter) -> None:
    gate, came = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".topic")(lambda: gate.wait(TIMEOUT))
        wamp.subscriber(".other")(came.set)

    serve(setup)
    router.publish(TOPIC)
    router.publish("com.example.other")
    assert came.wait(TIMEOUT)
    gate.set()


def test_subscriber_may_call_while_it_keeps_the_order(serve: Serve, router: MemoryRouter) -> None:
    seen: list[int] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".double")(lambda x: x * 2)
        wamp.subscriber(".topic")(lambda x: seen.append(g.wampy.rpc.com.example.double(x)))

    serve(setup, WAMP_WORKERS=1)
    for number in range(20):
        router.publish(TOPIC, number)
    eventually(lambda: len(seen) == 20)
    assert seen == [number * 2 for number in range(20)]


# Failures.


def test_event_that_does_not_fit_is_logged_and_the_next_is_handled(
    subscribe: Subscribe, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[int] = []

    def on_topic(x: int) -> None:
        seen.append(x)

    subscribe(on_topic)
    router.publish(TOPIC, "no number")
    router.publish(TOPIC)
    router.publish(TOPIC, 1, 2, y=3)
    router.publish(TOPIC, 4)
    eventually(lambda: seen == [4])
    records = [record for record in caplog.records if TOPIC in record.getMessage()]
    assert len(records) == 3
    assert all(record.levelno >= logging.WARNING for record in records)


@pytest.mark.parametrize("error", [KeyError("x"), ApplicationError("com.x"), SystemExit(1)])
def test_subscriber_that_raises_is_logged_and_the_next_event_is_handled(
    subscribe: Subscribe,
    router: MemoryRouter,
    caplog: pytest.LogCaptureFixture,
    error: BaseException,
) -> None:
    seen: list[int] = []

    def on_topic(x: int) -> None:
        if x == 1:
            raise error
        seen.append(x)

    subscribe(on_topic)
    router.publish(TOPIC, 1)
    router.publish(TOPIC, 2)
    eventually(lambda: seen == [2])
    assert TOPIC in caplog.text
    if isinstance(error, KeyError):
        assert "Traceback" in caplog.text


def test_events_beyond_the_queue_are_dropped_counted_and_logged(
    subscribe: Subscribe, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    gate, began, seen = threading.Event(), threading.Event(), []

    def on_topic(x: int) -> None:
        seen.append(x)
        began.set()
        assert gate.wait(TIMEOUT)

    wamp = subscribe(on_topic, config={"WAMP_EVENT_QUEUE": 2})
    [subscription] = wamp.client.declarations
    router.publish(TOPIC, 0)
    assert began.wait(TIMEOUT)
    for number in range(1, 8):
        router.publish(TOPIC, number)
    eventually(lambda: subscription.dropped == 5)
    gate.set()
    eventually(lambda: seen == [0, 1, 2])
    said = [record.getMessage() for record in caplog.records if "dropped" in record.getMessage()]
    assert [message.split()[0] for message in said] == ["1", "2", "4"]
    assert all(TOPIC in message and "WAMP_EVENT_QUEUE" in message for message in said)
    router.publish(TOPIC, 8)
    eventually(lambda: seen[-1] == 8)
