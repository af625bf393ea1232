"""Event history of a real router; autobahn publishes and subscribes."""

from __future__ import annotations

import datetime as dt
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.client.client import Client
from tests.support.peers import AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def client(join: Join, historian: DevRouter) -> Client:
    """A client of the router that keeps events."""
    return join(historian.rawsocket_url)[1].client


@pytest.fixture(scope="module")
def other(historian: DevRouter) -> t.Iterator[AutobahnPeer]:
    """Autobahn, on the same router."""
    with AutobahnPeer(historian.rawsocket_url) as peer:
        yield peer
        peer.reset()


def test_history(client: Client, other: AutobahnPeer) -> None:
    other.publish("com.kept", 0)  # without a subscriber this event is not kept
    other.subscribe("com.kept")
    for number in range(1, 8):
        client.with_options(acknowledge=True).publish("com.kept", number, of=7)
    publication = other.publish("com.kept", "last", options={"exclude_me": False})
    events = client.history("com.kept", limit=2)
    assert [each.args for each in events] == [["last"], [7]]
    last, before = events
    assert last.publication == publication
    assert (last.publisher, last.publisher_authid) == (other.session_id, other.authid)
    assert (last.publisher_authrole, last.topic) == ("anonymous", "com.kept")
    assert before.kwargs == {"of": 7}
    assert before.publisher == client.session_id
    assert last.time is not None
    assert before.time is not None
    assert dt.timedelta() <= last.time - before.time < dt.timedelta(minutes=1)
    assert abs(dt.datetime.now(dt.timezone.utc) - last.time) < dt.timedelta(minutes=1)
    assert len(client.history("com.kept", limit=100)) == 5  # as the router's configuration says


def test_history_of_a_pattern(client: Client, other: AutobahnPeer) -> None:
    other.subscribe("com.past.", match="prefix")
    for topic in ("com.past.green", "com.past.black", "com.past.green"):
        other.publish(topic, options={"exclude_me": False})
    topics = [each.topic for each in client.history("com.past.", match="prefix")]
    assert topics == ["com.past.green", "com.past.black", "com.past.green"]
    assert [each.topic for each in client.history("com.past.black")] == ["com.past.black"]
    assert client.history("com.past.white") == []


def test_no_history(client: Client, other: AutobahnPeer) -> None:
    other.subscribe("com.forgotten")
    for topic in ("com.forgotten", "com.nobody"):
        with pytest.raises(ApplicationError, match='"event-history"') as raised:
            client.history(topic)
        assert raised.value.uri == "wamp.error.history_unavailable"


def test_a_router_without_a_store(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    peer.subscribe("com.kept")
    with pytest.raises(ApplicationError, match='"event-history"'):
        wamp.client.history("com.kept")
