"""What keeps its order, and what runs concurrently."""

from __future__ import annotations

import queue
import threading
import typing as t

import pytest
from flask import g

from flask_wamp import FlaskWAMP
from tests.support.peers import PATIENCE, AutobahnPeer

pytestmark = pytest.mark.router

MANY = 500
UNACKNOWLEDGED = {"acknowledge": False}


@pytest.fixture
def seen() -> queue.SimpleQueue[t.Any]:
    return queue.SimpleQueue()


def test_events_are_handled_in_the_order_they_were_published(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.subscriber
    def news(number: int) -> None:
        seen.put(number)

    for number in range(MANY):
        peer.publish("com.example.news", number, options=UNACKNOWLEDGED)
    assert [seen.get(timeout=PATIENCE) for _ in range(MANY)] == list(range(MANY))


def test_events_are_published_in_the_order_of_the_calls(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    news = peer.subscribe("com.shop.news")
    for number in range(MANY):
        wamp.client.publish("com.shop.news", number)
    assert [news.next().value for _ in range(MANY)] == list(range(MANY))


def test_events_and_calls_keep_their_order(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    news = peer.subscribe("com.shop.news")
    procedure = peer.register("com.shop.echo")
    futures = []
    for number in range(50):
        wamp.client.publish("com.shop.news", number)
        futures.append(wamp.client.submit("com.shop.echo", number))
    assert [future.result(PATIENCE) for future in futures] == list(range(50))
    assert [news.next().value for _ in range(50)] == list(range(50))
    assert [procedure.next().value for _ in range(50)] == list(range(50))


def test_events_keep_their_order_while_their_handler_waits(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    peer.register("com.shop.echo")

    @wamp.subscriber
    def news(number: int) -> None:
        seen.put(g.wampy.rpc.com.shop.echo(number))

    for number in range(100):
        peer.publish("com.example.news", number, options=UNACKNOWLEDGED)
    assert [seen.get(timeout=PATIENCE) for _ in range(100)] == list(range(100))


def test_two_subscriptions_are_handled_concurrently(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    entered, leave = threading.Event(), threading.Event()

    @wamp.subscriber
    def slow() -> None:
        entered.set()
        assert leave.wait(PATIENCE)
        seen.put("slow")

    @wamp.subscriber
    def quick(number: int) -> None:
        seen.put(number)

    peer.publish("com.example.slow")
    assert entered.wait(PATIENCE)
    for number in range(10):
        peer.publish("com.example.quick", number)
    assert [seen.get(timeout=PATIENCE) for _ in range(10)] == list(range(10))
    leave.set()
    assert seen.get(timeout=PATIENCE) == "slow"


def test_a_slow_subscriber_does_not_delay_calls(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    entered, leave = threading.Event(), threading.Event()

    @wamp.subscriber
    def slow() -> None:
        entered.set()
        assert leave.wait(PATIENCE)

    wamp.callee("com.example.here")(lambda: "here")
    peer.publish("com.example.slow")
    assert entered.wait(PATIENCE)
    assert peer.call("com.example.here").value == "here"
    leave.set()


def test_concurrency_does_not_keep_the_order(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    together = threading.Barrier(3)
    done = threading.Semaphore(0)

    @wamp.subscriber(concurrency=3)
    def news() -> None:
        together.wait(PATIENCE)  # three handlers must run at once, otherwise none ends
        done.release()

    for _ in range(3):
        peer.publish("com.example.news")
    for _ in range(3):
        assert done.acquire(timeout=PATIENCE)


def test_two_functions_with_overlapping_topics_get_all_events(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    wamp.subscriber("com.example.tea")(lambda number: seen.put(("exact", number)))
    wamp.subscriber("com.example", match="prefix")(lambda number: seen.put(("prefix", number)))
    for number in range(20):
        peer.publish("com.example.tea", number, options=UNACKNOWLEDGED)
    got = [seen.get(timeout=PATIENCE) for _ in range(40)]
    for name in ("exact", "prefix"):
        assert [number for who, number in got if who == name] == list(range(20))
