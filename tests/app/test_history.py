"""``g.wampy.history``: the calls to the router, and the error if there is no history."""

from __future__ import annotations

import datetime as dt
import threading
import typing as t

import pytest

from flask_wamp import ApplicationError
from flask_wamp.client.client import Client
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.support.memory import TIMEOUT, MemoryRouter

TOPIC = "com.example.news"


@pytest.fixture
def client(serve: Serve) -> Client:
    """A client that has joined."""
    return serve()[1].client


def event(topic: str = TOPIC, *args: t.Any) -> dict[str, t.Any]:
    """An event in the form of Crossbar's history."""
    return {
        "time_ns": 1795245418595274921,
        "realm": "realm1",
        "session_id": 7,
        "authid": "joe",
        "authrole": "user",
        "publication": 5,
        "topic": topic,
        "args": list(args) or None,
        "kwargs": None,
    }


def keep(router: MemoryRouter, kept: dict[int, list[dict[str, t.Any]]]) -> None:
    """Keep events for two subscriptions: 1 to the topic, 2 to a prefix of it."""

    def get_events(number: int, limit: int | None) -> t.Any:
        if number not in kept:
            raise ApplicationError("wamp.error.history_unavailable", "not available")
        return kept[number][:limit]

    router.register("wamp.subscription.lookup", lambda uri, options=None: 2 if options else 1)
    router.register("wamp.subscription.match", lambda uri: [1, 2])
    router.register("wamp.subscription.get_events", get_events)


def test_events_are_objects(client: Client, router: MemoryRouter) -> None:
    keep(router, {1: [event(TOPIC, 1), event(TOPIC, 2), event(TOPIC, 3)]})
    first, second = client.history(TOPIC, limit=2)
    assert (first.topic, first.args, first.kwargs) == (TOPIC, [1], {})
    assert second.args == [2]
    assert first.time == dt.datetime(2026, 11, 21, 7, 16, 58, 595274, dt.timezone.utc)
    assert (first.publisher, first.publisher_authid, first.publisher_authrole) == (7, "joe", "user")
    assert first.publication == 5


def test_pattern(client: Client, router: MemoryRouter) -> None:
    keep(router, {2: [event("com.example.other"), event()]})
    events = client.history("com.example", match="prefix")
    assert [each.topic for each in events] == ["com.example.other", TOPIC]
    assert router.sent(m.Call)[0].args == ["com.example", {"match": "prefix"}]


def test_a_topic_whose_history_is_kept_with_others(client: Client, router: MemoryRouter) -> None:
    keep(router, {2: [event(TOPIC, 1), event("com.example.other"), event(TOPIC, 2)]})
    assert [each.args for each in client.history(TOPIC)] == [[1], [2]]
    assert [each.args for each in client.history(TOPIC, limit=1)] == [[1]]


def test_no_history_says_what_to_configure(client: Client, router: MemoryRouter) -> None:
    keep(router, {})
    with pytest.raises(ApplicationError) as raised:
        client.history(TOPIC, limit=500)
    assert raised.value.uri == "wamp.error.history_unavailable"
    assert '"event-history": [{"uri": "com.example.news"' in raised.value.args[0]
    assert '"limit": 500' in raised.value.args[0]


def test_a_missing_permission_is_named(client: Client, router: MemoryRouter) -> None:
    keep(router, {1: []})
    assert client.history(TOPIC) == []
    router.refuse("wamp.subscription.get_events")
    with pytest.raises(ApplicationError, match="the role of this session may not call"):
        client.history(TOPIC)


@pytest.mark.parametrize("limit", [0, -1, True, "1", None])
def test_limit(client: Client, limit: t.Any) -> None:
    with pytest.raises(ValueError, match="limit="):
        client.history(TOPIC, limit)


def test_events_of_unusual_shape(client: Client, router: MemoryRouter) -> None:
    keep(router, {1: [{}, 5]})  # type: ignore[list-item]
    [only] = client.history(TOPIC)
    assert (only.topic, only.args, only.time, only.publisher) == (TOPIC, [], None, None)


def test_a_router_that_answers_with_one_value_for_each_event(
    client: Client, router: MemoryRouter
) -> None:
    """The form of nexus: oldest first, with the names of messages, and keywords beside the arguments."""
    router.register("wamp.subscription.lookup", lambda uri, options=None: 1)
    held = router.hold("wamp.subscription.get_events")
    future: list[t.Any] = []
    thread = threading.Thread(target=lambda: future.append(client.history(TOPIC, limit=2)))
    thread.start()
    events = [
        {
            "timestamp": f"2026-11-21T07:16:5{number}.595274921Z",
            "subscription": 1,
            "publication": number,
            "details": {"topic": TOPIC, "publisher": 7, "publisher_authid": "joe"},
            "Arguments": [number],
            "ArgumentsKw": {"tea": number},
        }
        for number in range(3)
    ]
    held.get(timeout=TIMEOUT).answer(*events, is_limit_reached=False)
    thread.join(TIMEOUT)
    [[first, second]] = future
    assert (first.args, first.kwargs, first.publication) == ([2], {"tea": 2}, 2)
    assert first.time == dt.datetime(2026, 11, 21, 7, 16, 52, 595274, dt.timezone.utc)
    assert (first.publisher, first.publisher_authid, first.publisher_authrole) == (7, "joe", None)
    assert (second.args, second.topic) == ([1], TOPIC)


@pytest.mark.parametrize("answer", [[], [None], [5], ["x"], [{"time_ns": "x", "args": 5}]])
def test_an_answer_of_any_shape_is_handled(
    client: Client, router: MemoryRouter, answer: list[t.Any]
) -> None:
    router.register("wamp.subscription.lookup", lambda uri, options=None: 1)
    held = router.hold("wamp.subscription.get_events")
    future: list[t.Any] = []
    thread = threading.Thread(target=lambda: future.append(client.history(TOPIC)))
    thread.start()
    held.get(timeout=TIMEOUT).answer(*answer, more=True)
    thread.join(TIMEOUT)
    [found] = future
    assert len(found) == (1 if isinstance(answer[-1:] and answer[-1], dict) else 0)
