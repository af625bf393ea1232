"""Patterns on the real router, with autobahn as the other side in both directions."""

from __future__ import annotations

import queue
import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, FlaskWAMP, event, invocation
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
INVALID = "wamp.error.invalid_argument"


@pytest.fixture
def seen() -> queue.SimpleQueue[t.Any]:
    return queue.SimpleQueue()


def errors(peer: AutobahnPeer, uri: str, *args: t.Any, **kwargs: t.Any) -> list[t.Any]:
    """Return the locations of the errors in a call's arguments."""
    error = peer.error(uri, *args, **kwargs)
    assert error.uri == INVALID
    return [each["loc"] for each in error.kwargs["errors"]]


# Procedures.


def test_one_function_is_a_route_and_a_procedure(
    app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    @app.get("/users/<int:user_id>")
    @wamp.callee(".users.<int:user_id>.get")
    def get_user(user_id: int, verbose: bool = False) -> dict[str, t.Any]:
        return {"id": user_id, "verbose": verbose}

    get = "com.example.users.7.get"
    assert peer.call(get).value == {"id": 7, "verbose": False}
    assert peer.call(get, True).value == {"id": 7, "verbose": True}
    assert peer.call(get, verbose=True).value == {"id": 7, "verbose": True}
    assert app.test_client().get("/users/7").get_json() == {"id": 7, "verbose": False}
    assert errors(peer, "com.example.users.x.get") == [["user_id"]]
    assert errors(peer, get, user_id=8) == [["user_id"]]
    assert peer.error("com.example.users.7.8.get").uri == "wamp.error.no_such_procedure"
    assert wamp.client.call(get) == {"id": 7, "verbose": False}


def test_the_router_sends_the_called_procedure(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    def real() -> str:
        return invocation.procedure

    wamp.callee(".prefix", match="prefix")(real)
    wamp.callee("com.example..wild", match="wildcard")(real)
    for uri in ("prefix", "prefix.a.b", "prefixed", "a.wild", "b.wild"):
        assert peer.call(f"com.example.{uri}").value == f"com.example.{uri}"


def test_an_exact_procedure_comes_before_the_longest_prefix(
    wamp: FlaskWAMP, peer: AutobahnPeer
) -> None:
    wamp.callee(".a.b")(lambda: "exact")
    wamp.callee(".a", match="prefix")(lambda: "prefix")
    wamp.callee(".a.c", match="prefix")(lambda: "longer prefix")
    wamp.callee(".<x>.b")(lambda x: "wildcard")
    for uri, which in (
        ("a.b", "exact"),
        ("a.x", "prefix"),
        ("a.c.d", "longer prefix"),
        ("x.b", "wildcard"),
    ):
        assert peer.call(f"com.example.{uri}").value == which


def test_wildcards_at_the_ends(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.callee("<realm>.strange.<name>")(lambda realm, name: [realm, name])
    assert peer.call("org.strange.x").value == ["org", "x"]
    assert peer.error("org.strange.x.y").uri == "wamp.error.no_such_procedure"


def test_autobahn_serves_a_wildcard(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.example..echo", options={"match": "wildcard"})
    wamp.client.call("com.example.7.echo", "x")
    assert procedure.next().args == ["x"]


def test_the_same_wildcard_of_another_peer(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.register("com.example..taken", options={"match": "wildcard"})
    with pytest.raises(ApplicationError) as raised:
        wamp.client.register(lambda x: x, ".<x>.taken", invoke="single")
    assert raised.value.uri == "wamp.error.procedure_already_exists"


def test_a_pattern_is_registered_again_after_a_reconnect(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    _, wamp = join(wamp_router.rawsocket_url, WAMP_RECONNECT_MAX=0.1)
    wamp.callee(".<int:x>.f")(lambda x: x)
    wamp.subscriber(".<int:item>.news")(seen.put)
    session_id = wamp.client.session_id
    connection = wamp.client.peer.connection  # type: ignore[union-attr]
    assert connection is not None
    connection.close()
    eventually(lambda: wamp.client.session_id not in (None, session_id), PATIENCE)
    wamp.client.wait_until_joined(PATIENCE)
    assert peer.call("com.example.7.f").value == 7
    peer.publish("com.example.7.news")
    assert seen.get(timeout=PATIENCE) == 7


# Topics.


def test_events_of_a_pattern(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    @wamp.subscriber(".<int:item>.sold")
    def on_sold(item: int, count: int) -> None:
        seen.put((event.topic, item, count))

    peer.publish("com.example.x.sold", 1)
    peer.publish("com.example.7.sold", 1, item=8)
    peer.publish("com.example.7.sold", 2)
    peer.publish("com.example.8.sold", count=3)
    assert seen.get(timeout=PATIENCE) == ("com.example.7.sold", 7, 2)
    assert seen.get(timeout=PATIENCE) == ("com.example.8.sold", 8, 3)


def test_autobahn_gets_matching_events(app: Flask, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    topic = peer.subscribe("com.example..sold", match="wildcard")
    with app.app_context():
        g.wampy.publish("com.example.7.sold", 1)
    heard = topic.next()
    assert (heard.args, heard.details["topic"]) == ([1], "com.example.7.sold")


def test_each_subscriber_that_matches_gets_an_event_once(
    wamp: FlaskWAMP, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    """Crossbar sends one EVENT for each subscription, and all of them with one publication id."""

    def hear(name: str) -> t.Callable[..., None]:
        return lambda **parts: seen.put((name, event.topic, event.publication))

    wamp.subscriber(".tea.sold")(hear("exact"))
    wamp.subscriber(".tea", match="prefix")(hear("prefix"))
    wamp.subscriber(".tea.sold", match="prefix")(hear("longer prefix"))
    wamp.subscriber(".<item>.sold")(hear("wildcard"))
    wamp.subscriber(".<item>.<what>")(hear("wilder"))
    topic = "com.example.tea.sold"
    first, second = peer.publish(topic), peer.publish(topic)
    got = [seen.get(timeout=PATIENCE) for _ in range(10)]
    names = ("exact", "prefix", "longer prefix", "wildcard", "wilder")
    assert sorted(got) == sorted((name, topic, n) for name in names for n in (first, second))
    peer.publish("com.example.done.x")
    assert seen.get(timeout=PATIENCE)[:2] == ("wilder", "com.example.done.x")


def test_one_process_handles_each_event_of_a_pattern(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, seen: queue.SimpleQueue[t.Any]
) -> None:
    def declare(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".<int:item>.sold", delivery="one")(
            lambda item: seen.put((event.topic, item))
        )

    for _ in range(2):
        join(wamp_router.rawsocket_url, declare)
    options = {"match": "wildcard"}
    eventually(
        lambda: peer.call("wamp.subscription.lookup", "com.example..sold", options).value, PATIENCE
    )
    for item in range(4):
        peer.publish(f"com.example.{item}.sold")
    got = [seen.get(timeout=PATIENCE) for _ in range(4)]
    assert sorted(got) == [(f"com.example.{item}.sold", item) for item in range(4)]
    assert seen.empty()


def test_concurrency_of_a_pattern(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    entered, leave = threading.Semaphore(0), threading.Event()

    @wamp.callee(".<int:x>.slow", concurrency=1)
    def slow(x: int) -> int:
        entered.release()
        assert leave.wait(PATIENCE)
        return x

    calls = [peer.submit(f"com.example.{x}.slow") for x in range(3)]
    assert entered.acquire(timeout=PATIENCE)
    eventually(lambda: wamp.health()["in_hand"] == {"running": 1, "waiting": 2}, PATIENCE)
    leave.set()
    assert [call.wait().value for call in calls] == [0, 1, 2]
