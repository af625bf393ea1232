"""Publish and subscribe: the receivers, retained events and history."""

from __future__ import annotations

import typing as t

import msgspec
import pytest

from flask_wamp.router import KeptEvents
from tests.embedded.pair import (
    ERROR,
    EVENT,
    PUBLISH,
    PUBLISHED,
    SUBSCRIBE,
    SUBSCRIBED,
    UNSUBSCRIBE,
    UNSUBSCRIBED,
    Line,
    TestRouter,
)

NEWS = "com.example.news"


def events(line: Line) -> list[t.Any]:
    """Take the received events. Return their first arguments."""
    messages = line.take_all()
    assert all(message[0] == EVENT for message in messages), messages
    return [message[4][0] for message in messages]


# Topics.


@pytest.mark.parametrize(
    ("topic", "match"),
    [("", "exact"), ("a..b", "exact"), ("a b", "prefix"), ("", "prefix"), ("", "wildcard")],
)
def test_an_invalid_topic(router: TestRouter, topic: str, match: str) -> None:
    assert router.join().refused(SUBSCRIBE, topic, match=match) == "wamp.error.invalid_uri"


@pytest.mark.parametrize("options", [{"match": "x"}, {"match": 1}, {"get_retained": "yes"}])
def test_an_invalid_option(router: TestRouter, options: t.Any) -> None:
    assert router.join().refused(SUBSCRIBE, NEWS, **options) == "wamp.error.invalid_argument"


@pytest.mark.parametrize("topic", ["", "a..b", "a b", "wamp", "wamp.session.on_join"])
def test_publishing_to_an_invalid_topic(router: TestRouter, topic: str) -> None:
    line, witness = router.join(), router.join()
    witness.subscribe("wamp.session.on_join")
    line.publish(topic)
    assert not line.inbox, "answered without having been asked"
    request_id = line.publish(topic, acknowledge=True)
    assert line.take_last()[:5] == [ERROR, PUBLISH, request_id, {}, "wamp.error.invalid_uri"]
    assert not witness.inbox and line.closed is None


def test_each_pattern_that_matches_gets_the_event(router: TestRouter) -> None:
    line, publisher = router.join(), router.join()
    patterns = [
        ("com.example.news.sport", "exact"),
        ("com.example", "prefix"),
        ("com.example.new", "prefix"),
        ("com..news.sport", "wildcard"),
        ("com.example..", "wildcard"),
    ]
    others = [("com.example.news", "exact"), ("com.other", "prefix"), ("com..news", "wildcard")]
    ids = [line.subscribe(topic, match=match) for topic, match in patterns]
    for topic, match in others:
        line.subscribe(topic, match=match)
    publisher.publish("com.example.news.sport", ["goal"])
    messages = line.take_all()
    assert sorted(message[1] for message in messages) == sorted(ids)
    assert len({message[2] for message in messages}) == 1, "one publication, several ids"
    topics = {message[1]: message[3].get("topic") for message in messages}
    assert topics.pop(ids[0]) is None
    assert set(topics.values()) == {"com.example.news.sport"}


def test_subscribing_again_is_the_same_subscription(router: TestRouter) -> None:
    line, publisher = router.join(), router.join()
    first = line.subscribe(NEWS)
    assert line.subscribe(NEWS) == first
    publisher.publish(NEWS, [1])
    assert events(line) == [1]
    line.request(UNSUBSCRIBE, first)
    assert line.take_last() == [UNSUBSCRIBED, 3]
    publisher.publish(NEWS, [2])
    assert not line.inbox
    line.request(UNSUBSCRIBE, first)
    assert line.take_last()[4] == "wamp.error.no_such_subscription"


def test_only_a_subscriber_unsubscribes(router: TestRouter) -> None:
    line, other = router.join(), router.join()
    subscription_id = line.subscribe(NEWS)
    other.request(UNSUBSCRIBE, subscription_id)
    assert other.take_last()[4] == "wamp.error.no_such_subscription"
    other.publish(NEWS, [1])
    assert events(line) == [1]


# Acknowledgement, exclusion.


def test_a_publication_is_acknowledged_on_request(router: TestRouter) -> None:
    line = router.join()
    line.publish(NEWS, [1])
    line.publish(NEWS, [1], acknowledge=False)
    assert not line.inbox
    ids = set()
    for _ in range(100):
        request_id = line.publish(NEWS, [1], acknowledge=True)
        [code, answered, publication_id] = line.take_last()
        assert (code, answered) == (PUBLISHED, request_id)
        assert 0 < publication_id <= 2**53
        ids.add(publication_id)
    assert len(ids) == 100


def test_a_publisher_gets_its_own_event_on_request(router: TestRouter) -> None:
    line = router.join()
    line.subscribe(NEWS)
    line.publish(NEWS, [1])
    line.publish(NEWS, [2], exclude_me=True)
    assert not line.inbox
    line.publish(NEWS, [3], exclude_me=False)
    assert events(line) == [3]


@pytest.mark.parametrize(
    "options",
    [
        {"acknowledge": True, "exclude": 7},
        {"acknowledge": True, "exclude": ["x"]},
        {"acknowledge": True, "exclude": [True]},
        {"acknowledge": True, "eligible": {}},
        {"acknowledge": True, "exclude_authid": [7]},
        {"acknowledge": True, "exclude_authrole": "x"},
        {"acknowledge": True, "eligible_authid": [None]},
        {"acknowledge": True, "eligible_authrole": [[]]},
        {"acknowledge": True, "exclude_me": "no"},
        {"acknowledge": True, "retain": 1},
        {"acknowledge": True, "disclose_me": "yes"},
        {"acknowledge": True, "transaction_hash": 7},
    ],
    ids=repr,
)
def test_an_invalid_publication_option(
    make_router: t.Callable[..., TestRouter], options: t.Any
) -> None:
    router = make_router(disclose=False)
    line, witness = router.join(), router.join()
    witness.subscribe(NEWS)
    line.publish(NEWS, [1], **options)
    assert line.take_last()[4] == "wamp.error.invalid_argument"
    assert not witness.inbox and not router.realms["realm1"].broker.retained


PEOPLE = [("ann", "admin"), ("bob", "admin"), ("cid", "user"), ("dan", "user")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "abcd"),
        ({"exclude": [0, 2]}, "bd"),
        ({"exclude_authid": ["ann", "nobody"]}, "bcd"),
        ({"exclude_authrole": ["admin"]}, "cd"),
        ({"eligible": [1, 3]}, "bd"),
        ({"eligible_authid": ["ann", "cid"]}, "ac"),
        ({"eligible_authrole": ["user"]}, "cd"),
        ({"eligible": []}, ""),
        ({"eligible_authid": []}, ""),
        ({"eligible_authrole": []}, ""),
        ({"exclude": []}, "abcd"),
        ({"eligible": [0, 1, 2], "exclude": [0]}, "bc"),
        ({"eligible_authrole": ["admin"], "exclude_authid": ["bob"]}, "a"),
        ({"eligible": [0, 2], "eligible_authrole": ["user"]}, "c"),
        ({"eligible_authid": ["ann"], "eligible_authrole": ["user"]}, ""),
    ],
    ids=repr,
)
def test_who_receives_an_event(
    make_router: t.Callable[..., TestRouter], options: dict[str, t.Any], expected: str
) -> None:
    from flask_wamp.router import Identity

    router = make_router()
    lines = [router.join(identity=Identity(*person)) for person in PEOPLE]
    publisher = router.join()
    for line in lines:
        line.subscribe(NEWS)
    for name in ("exclude", "eligible"):
        if name in options:
            options = {**options, name: [lines[place].id for place in options[name]]}
    publisher.publish(NEWS, ["x"], **options)
    received = [line.session.identity.authid[0] for line in lines if line.take_all()]
    assert "".join(received) == expected


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_ids_may_be_floats(router: TestRouter, serializer: str) -> None:
    """wampy.js encodes ids as floats in CBOR."""
    named, other = router.join(serializer=serializer), router.join(serializer=serializer)
    for line in (named, other):
        line.subscribe(NEWS)
    publisher = router.join(serializer=serializer)
    publisher.publish(NEWS, [1], eligible=[float(named.id)])
    publisher.publish(NEWS, [2], exclude=[float(other.id)])
    assert events(named) == [1, 2] and events(other) == []
    publisher.publish(NEWS, [3], exclude=[0.5], acknowledge=True)
    assert publisher.take_last()[4] == "wamp.error.invalid_argument"


@pytest.mark.parametrize("serializer", ["msgpack", "cbor"])
def test_an_undefined_option_means_none(router: TestRouter, serializer: str) -> None:
    """JavaScript encodes missing options in this form."""
    import cbor2

    undefined = cbor2.undefined if serializer == "cbor" else msgspec.msgpack.Ext(0, b"\0")
    line = router.join(serializer=serializer)
    line.subscribe(NEWS, match=undefined, get_retained=undefined)
    line.publish(NEWS, [1], exclude_me=False, exclude=undefined)
    assert events(line) == [1]


# The publisher.


def test_a_publisher_is_disclosed_on_request(
    make_router: t.Callable[..., TestRouter],
) -> None:
    router = make_router(disclose=False)
    line, publisher = router.join(), router.join()
    line.subscribe(NEWS)
    publisher.publish(NEWS, [1])
    assert line.take_last()[3] == {}
    publisher.publish(NEWS, [1], disclose_me=True)
    assert line.take_last()[3]["publisher"] == publisher.id


def test_a_session_cannot_publish_in_the_name_of_another(
    make_router: t.Callable[..., TestRouter],
) -> None:
    forged = {"session": 1, "authid": "root", "authrole": "admin"}
    for trusted in (frozenset(), frozenset({"anonymous"})):
        router = make_router(trusted_links=trusted)
        line, publisher = router.join(), router.join()
        line.subscribe(NEWS)
        publisher.publish(NEWS, [1], forward_for=[forged], publisher=1, topic="com.other")
        details = line.take_last()[3]
        assert details["publisher"] == publisher.id and "topic" not in details
        assert details.get("forward_for", [{}])[-1].get("session") == (
            publisher.id if trusted else None
        )


# Serializers.


def test_an_event_that_one_serializer_does_not_support_reaches_the_others(
    router: TestRouter,
) -> None:
    publisher = router.join(serializer="msgpack")
    json, msgpack, cbor = [router.join(serializer=name) for name in ("json", "msgpack", "cbor")]
    for line in (json, msgpack, cbor):
        line.subscribe(NEWS)
    publisher.publish(NEWS, ["\0not Base64"], acknowledge=True)
    assert publisher.take_last()[0] == PUBLISHED
    assert events(msgpack) == events(cbor) == ["\0not Base64"]
    assert not json.inbox and json.closed is None
    assert router.counters["undeliverable"] == 1


def test_an_event_that_one_subscriber_cannot_receive_reaches_the_others(
    router: TestRouter,
) -> None:
    small, large, publisher = (
        router.join(max_message_size=1000),
        router.join(),
        router.join(),
    )
    small.subscribe(NEWS)
    large.subscribe(NEWS)
    publisher.publish(NEWS, ["x" * 1000])
    publisher.publish(NEWS, ["y"])
    assert events(small) == ["y"]
    assert events(large) == ["x" * 1000, "y"]


def test_an_event_is_encoded_once_per_serializer(router: TestRouter) -> None:
    lines = [router.join(serializer=name) for name in ("json", "json", "msgpack", "msgpack")]
    publisher = router.join()
    for line in lines:
        line.subscribe(NEWS)
        line.raw.clear()
    publisher.publish(NEWS, ["x"])
    assert lines[0].raw[0] is lines[1].raw[0]
    assert lines[2].raw[0] is lines[3].raw[0]


# Retained events.


def test_a_new_subscriber_gets_the_last_retained_event(router: TestRouter) -> None:
    publisher = router.join()
    for number in range(3):
        publisher.publish(NEWS, [number], retain=number < 2)
    publisher.lose()
    line = router.join(serializer="msgpack")
    line.subscribe("com.example.other", get_retained=True)
    assert not line.inbox
    line.subscribe(NEWS)
    assert not line.inbox
    line.request(SUBSCRIBE, {"get_retained": True}, NEWS)
    [subscribed, event] = line.take_all()
    assert subscribed[0] == SUBSCRIBED
    assert event[:2] == [EVENT, subscribed[2]]
    assert event[3]["retained"] is True and event[4] == [1]


def test_a_pattern_gets_the_retained_event_of_each_topic(router: TestRouter) -> None:
    publisher, line = router.join(), router.join()
    for name in ("one", "two", "three"):
        publisher.publish(f"com.example.{name}", [name], retain=True)
    publisher.publish("com.other.one", ["other"], retain=True)
    line.request(SUBSCRIBE, {"get_retained": True, "match": "prefix"}, "com.example.")
    _, *messages = line.take_all()
    assert {message[3]["topic"]: message[4] for message in messages} == {
        f"com.example.{name}": [name] for name in ("one", "two", "three")
    }


def test_a_retained_event_keeps_its_receivers(
    make_router: t.Callable[..., TestRouter],
) -> None:
    from flask_wamp.router import Identity

    router = make_router()
    publisher = router.join()
    publisher.publish(NEWS, ["all"], retain=True)
    publisher.publish(NEWS, ["admins"], retain=True, eligible_authrole=["admin"])
    publisher.publish(NEWS, ["not bob"], retain=True, exclude_authid=["bob"])

    def retained(line: Line) -> list[t.Any]:
        line.request(SUBSCRIBE, {"get_retained": True}, NEWS)
        line.take()
        return events(line)

    assert retained(router.join(identity=Identity("bob", "admin"))) == ["admins"]
    assert retained(router.join(identity=Identity("bob", "user"))) == ["all"]
    assert retained(router.join(identity=Identity("ann", "admin"))) == ["not bob"]
    assert retained(publisher) == []
    publisher.publish(NEWS, ["new"], retain=True, exclude_me=False)
    assert events(publisher) == ["new"]
    assert retained(publisher) == ["new"]
    assert retained(router.join(identity=Identity("bob", "admin"))) == ["new"]


def test_retained_events_are_limited(make_router: t.Callable[..., TestRouter]) -> None:
    router = make_router(max_retained=2)
    line = router.join()
    for name in ("one", "two", "one", "three"):
        line.publish(f"com.example.{name}", [name], retain=True)
    kept = router.realms["realm1"].broker.retained
    assert list(kept.topics) == ["com.example.one", "com.example.three"]
    for number in range(100):
        line.publish("com.example.one", [1], retain=True, exclude=[number + 1])
    assert len(kept._by_topic["com.example.one"]) <= 11


def test_a_realm_with_retained_events_outlives_its_sessions(router: TestRouter) -> None:
    line = router.join("realm2")
    line.publish(NEWS, ["kept"], retain=True)
    line.lose()
    line = router.join("realm2")
    line.request(SUBSCRIBE, {"get_retained": True}, NEWS)
    assert line.take_all()[1][4] == ["kept"]


# History.


@pytest.fixture
def recording(make_router: t.Callable[..., TestRouter]) -> TestRouter:
    kept = (KeptEvents(NEWS, limit=3), KeptEvents("com.example.", "prefix", limit=5))
    return make_router(history=kept)


GET = "wamp.subscription.get_events"


def test_history_is_kept_without_a_subscriber(recording: TestRouter) -> None:
    line = recording.join()
    for number in range(5):
        recording.pass_time(1)
        line.publish(NEWS, [number], {"k": number})
    subscription_id = line.ask("wamp.subscription.lookup", NEWS)
    kept = line.ask(GET, subscription_id)
    assert [event["args"] for event in kept] == [[2], [3], [4]]
    last = kept[-1]
    assert last["timestamp"] == "1970-01-01T00:16:45.000Z"
    assert last["time_ns"] == 1005 * 10**9
    assert last["kwargs"] == {"k": 4}
    assert last["topic"] == NEWS and last["subscription"] == subscription_id
    assert last["details"]["publisher"] == last["session_id"] == line.id
    assert line.subscribe(NEWS) == subscription_id
    line.lose()
    assert [event["args"] for event in recording.join().ask(GET, subscription_id)] == [
        [2],
        [3],
        [4],
    ]


def test_crossbars_form_of_history_returns_the_newest_first(recording: TestRouter) -> None:
    line = recording.join()
    for number in range(3):
        line.publish(NEWS, [number])
    subscription_id = line.ask("wamp.subscription.lookup", NEWS)
    assert [event["args"] for event in line.ask(GET, subscription_id, 2)] == [[2], [1]]
    assert len(line.ask(GET, subscription_id, None)) == 3


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, [0, 1, 2, 3]),
        ({"reverse": True}, [3, 2, 1, 0]),
        ({"limit": 2}, [0, 1]),
        ({"limit": 2, "reverse": True}, [3, 2]),
        ({"topic": "com.example.odd"}, [1, 3]),
        ({"from_time": "1970-01-01T00:16:42Z"}, [1, 2, 3]),
        ({"after_time": "1970-01-01T00:16:42Z"}, [2, 3]),
        ({"before_time": "1970-01-01T00:16:42Z"}, [0]),
        ({"until_time": "1970-01-01T01:16:42+01:00"}, [0, 1]),
        ({"from_publication": 1}, [1, 2, 3]),
        ({"after_publication": 1}, [2, 3]),
        ({"before_publication": 2}, [0, 1]),
        ({"until_publication": 2}, [0, 1, 2]),
        ({"after_publication": 0, "before_publication": 3}, [1, 2]),
        ({"after_publication": 0, "topic": "com.example.odd", "limit": 1}, [1]),
    ],
    ids=repr,
)
def test_filters(recording: TestRouter, filters: dict[str, t.Any], expected: list[int]) -> None:
    line = recording.join()
    ids = []
    for number in range(4):
        recording.pass_time(1)
        topic = "com.example.odd" if number % 2 else "com.example.even"
        line.publish(topic, [number], acknowledge=True)
        ids.append(line.take_last()[2])
    filters = {
        name: ids[value] if name.endswith("publication") else value
        for name, value in filters.items()
    }
    options = {"match": "prefix"}
    subscription_id = line.ask("wamp.subscription.lookup", "com.example.", options)
    kept = line.ask(GET, subscription_id, **filters)
    assert [event["args"][0] for event in kept] == expected


@pytest.mark.parametrize(
    "filters",
    [
        {"limit": 0},
        {"limit": "x"},
        {"reverse": 1},
        {"topic": 7},
        {"from_time": "yesterday"},
        {"until_time": 7},
        {"from_publication": "x"},
        {"before_publication": -1},
    ],
    ids=repr,
)
def test_an_invalid_filter(recording: TestRouter, filters: dict[str, t.Any]) -> None:
    line = recording.join()
    subscription_id = line.ask("wamp.subscription.lookup", NEWS)
    assert line.ask_in_vain(GET, subscription_id, **filters) == "wamp.error.invalid_argument"


def test_an_unknown_publication_is_not_a_position(recording: TestRouter) -> None:
    line = recording.join()
    line.publish(NEWS, [1])
    subscription_id = line.ask("wamp.subscription.lookup", NEWS)
    assert line.ask(GET, subscription_id, after_publication=7) == []


def test_history_contains_only_events_for_the_session(recording: TestRouter) -> None:
    from flask_wamp.router import Identity

    line = recording.join()
    line.publish(NEWS, ["all"])
    line.publish(NEWS, ["admins"], eligible_authrole=["admin"])
    line.publish(NEWS, ["by session"], exclude=[1])
    line.publish(NEWS, ["by session"], eligible=[1])
    subscription_id = line.ask("wamp.subscription.lookup", NEWS)

    def told(role: str) -> list[t.Any]:
        reader = recording.join(identity=Identity("x", role))
        return [event["args"][0] for event in reader.ask(GET, subscription_id)]

    assert told("admin") == ["all", "admins"]
    assert told("user") == ["all"]


def test_history_does_not_disclose_publishers(make_router: t.Callable[..., TestRouter]) -> None:
    router = make_router(history=(KeptEvents(NEWS),), disclose=False)
    line = router.join()
    line.publish(NEWS, [1])
    [event] = line.ask(GET, line.ask("wamp.subscription.lookup", NEWS))
    assert event["session_id"] is event["authid"] is event["authrole"] is None
    assert event["details"] == {"topic": NEWS}


def test_events_that_history_does_not_keep(recording: TestRouter) -> None:
    line = recording.join()
    subscription_id = line.subscribe("com.other")
    assert line.ask_in_vain(GET, subscription_id) == "wamp.error.history_unavailable"
    assert line.ask_in_vain(GET, 999) == "wamp.error.no_such_subscription"
    assert line.ask_in_vain(GET) == "wamp.error.invalid_argument"


# Revoking subscriptions.


def test_removing_a_subscriber(router: TestRouter) -> None:
    line, silent, admin = router.join(), router.join(roles={"subscriber": {}}), router.join()
    subscription_id = line.subscribe(NEWS)
    silent.subscribe(NEWS)
    name = "wamp.subscription.remove_subscriber"
    for victim in (line, silent):
        assert admin.ask(name, subscription_id, victim.id, reason="com.example.enough") is None
    assert line.take_last() == [
        UNSUBSCRIBED,
        0,
        {"subscription": subscription_id, "reason": "com.example.enough"},
    ]
    admin.publish(NEWS, [1])
    assert not line.inbox and not silent.inbox
    assert admin.ask_in_vain(name, subscription_id, line.id) == "wamp.error.no_such_subscription"
