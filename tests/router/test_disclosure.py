"""What handlers learn about callers and publishers."""

from __future__ import annotations

import datetime as dt
import queue
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, event, invocation
from flask_wamp.crossbar import DevRouter
from flask_wamp.middlewares import RateLimit
from tests.support.nodes import Node
from tests.support.peers import PATIENCE, AutobahnPeer, RemoteError

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def seen() -> queue.SimpleQueue[t.Any]:
    return queue.SimpleQueue()


def test_an_invocation_knows_its_caller(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def who() -> list[t.Any]:
        return [invocation.caller, invocation.caller_authid, invocation.caller_authrole]

    assert peer.call("com.example.who").value == [peer.session_id, peer.authid, "anonymous"]


def test_an_invocation_contains_the_message(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def facts(*args: t.Any, **kwargs: t.Any) -> dict[str, t.Any]:
        return {
            "procedure": invocation.procedure,
            "args": invocation.args,
            "kwargs": invocation.kwargs,
            "details": invocation.details,
            "request_id": invocation.request_id,
            "canceled": invocation.canceled,
            "options": invocation.options["invoke"],
        }

    first = peer.call("com.example.facts", 1, b=2).value
    second = peer.call("com.example.facts").value
    assert first["procedure"] == "com.example.facts"
    assert (first["args"], first["kwargs"]) == ([1], {"b": 2})
    assert first["details"]["caller"] == peer.session_id
    assert second["request_id"] > first["request_id"]
    assert first["canceled"] is False
    assert first["options"] == "roundrobin"


def test_an_invocation_of_a_pattern_has_the_real_procedure(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    @wamp.callee("com.example.teas", match="prefix")
    def teas() -> str:
        return invocation.procedure

    assert peer.call("com.example.teas.green").value == "com.example.teas.green"


def test_an_invocation_was_received_just_now(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def when() -> list[t.Any]:
        return [invocation.received_at, invocation.received_at.utcoffset()]

    before = dt.datetime.now(dt.timezone.utc)
    received_at, offset = peer.call("com.example.when").value
    assert before <= dt.datetime.fromisoformat(received_at) <= dt.datetime.now(dt.timezone.utc)
    assert offset == 0.0


def test_an_event_knows_its_publisher(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.subscriber
    def news() -> None:
        seen.put((event.publisher, event.publisher_authid, event.publisher_authrole))

    peer.publish("com.example.news")
    assert seen.get(timeout=PATIENCE) == (peer.session_id, peer.authid, "anonymous")


def test_an_event_contains_the_message(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.subscriber
    def news(*args: t.Any, **kwargs: t.Any) -> None:
        seen.put((event.topic, event.args, event.kwargs, event.details, event.retained))
        seen.put((event.publication, event.received_at))

    before = dt.datetime.now(dt.timezone.utc)
    publication = peer.publish("com.example.news", 1, b=2)
    topic, args, kwargs, details, retained = seen.get(timeout=PATIENCE)
    assert (topic, args, kwargs) == ("com.example.news", [1], {"b": 2})
    assert details["publisher"] == peer.session_id
    assert retained is False
    number, received_at = seen.get(timeout=PATIENCE)
    assert number == publication
    assert before <= received_at <= dt.datetime.now(dt.timezone.utc)
    assert received_at.utcoffset() == dt.timedelta(0)


def test_an_event_of_a_pattern_has_the_real_topic(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.subscriber("com.example..news", match="wildcard")
    def news() -> None:
        seen.put(event.topic)

    peer.publish("com.example.tea.news")
    assert seen.get(timeout=PATIENCE) == "com.example.tea.news"


def test_a_retained_event_is_marked(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    peer.publish("com.example.status", "open", options={"retain": True})

    @wamp.subscriber(get_retained=True)
    def status(status: str) -> None:
        seen.put((status, event.retained))

    assert seen.get(timeout=PATIENCE) == ("open", True)


def test_a_subscriber_with_meta_gets_that_of_wampy(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.consume
    def news(message: str, meta: dict[str, t.Any]) -> None:
        seen.put((message, meta))

    peer.publish("com.example.news", message="hello")
    message, meta = seen.get(timeout=PATIENCE)
    assert message == "hello"
    assert meta["topic"] == "com.example.news"
    assert meta["subscription_id"] == wamp.client.subscription_map["com.example.news"]


def test_our_own_session_is_known_to_others(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.shop.who")
    topic = peer.subscribe("com.shop.news")
    wamp.client.call("com.shop.who")
    wamp.client.publish("com.shop.news")
    assert procedure.next().details["caller"] == wamp.client.session_id
    assert topic.next().details["publisher"] == wamp.client.session_id


def test_no_caller_is_disclosed_unless_the_router_does(
    join: Join, node: Node, seen: queue.SimpleQueue[t.Any]
) -> None:
    _, wamp = join(node.pinging_url, WAMP_REALM=Node.DISCREET_REALM)

    @wamp.callee
    def who() -> list[t.Any]:
        return [invocation.caller, invocation.caller_authid, invocation.caller_authrole]

    @wamp.subscriber
    def news() -> None:
        seen.put((event.publisher, event.publisher_authid, event.publisher_authrole))

    with AutobahnPeer(node.pinging_url, Node.DISCREET_REALM) as peer:
        assert peer.call("com.example.who").value == [None, None, None]
        peer.publish("com.example.news")
        assert seen.get(timeout=PATIENCE) == (None, None, None)


# No session can send in another's name, although Crossbar accepts ``forward_for`` from every session.

FORGED: dict[str, t.Any] = {
    "forward_for": [{"session": 1, "authid": "root", "authrole": "admin"}],
}


def test_a_forged_caller_is_not_believed(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee
    def who() -> list[t.Any]:
        names = ("caller", "caller_authid", "caller_authrole")
        said = [invocation.details[name] for name in names]
        return [invocation.caller, invocation.caller_authid, invocation.caller_authrole, *said]

    true = [peer.session_id, peer.authid, "anonymous"]
    assert peer.submit("com.example.who", options=FORGED).wait().value == true + true


def test_a_forged_publisher_is_not_believed(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.subscriber
    def news() -> None:
        seen.put([event.publisher, event.publisher_authid, event.publisher_authrole])

    true = [peer.session_id, peer.authid, "anonymous"]
    with wamp.client.events("com.example.news") as events:
        peer.publish("com.example.news", options=FORGED)
        assert seen.get(timeout=PATIENCE) == true
        streamed = next(events)
        assert [streamed.publisher, streamed.publisher_authid] == true[:2]


def test_a_forged_publisher_is_not_in_the_history(join: Join, historian: DevRouter) -> None:
    _, wamp = join(historian.rawsocket_url)
    with AutobahnPeer(historian.rawsocket_url) as peer:
        with wamp.client.events("com.kept"):
            peer.publish("com.kept", options=FORGED)
        [kept] = wamp.client.history("com.kept", limit=1)
        assert (kept.publisher, kept.publisher_authid) == (peer.session_id, peer.authid)


def test_a_rate_limit_counts_the_real_callers(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.middleware(RateLimit(3, period=60.0))
    wamp.callee(".limited")(lambda: "passed")
    answers = []
    for number in range(10):
        forged = {"session": number, "authid": f"joe{number}", "authrole": "user"}
        call = peer.submit("com.example.limited", options={"forward_for": [forged]})
        try:
            answers.append(call.wait().value)
        except RemoteError as error:
            answers.append(error.uri)
    assert answers == ["passed"] * 3 + ["com.example.error.too_many_requests"] * 7
