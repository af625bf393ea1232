"""Options of publications on the real router, and our corrections of its mistakes."""

from __future__ import annotations

import queue
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from tests.support.nodes import Node
from tests.support.peers import PATIENCE, AutobahnPeer, RemoteError, Topic

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

TOPIC = "com.example.options"

CRA = {"WAMP_SECRET": "cra-secret"}

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

ELIGIBLE = ("eligible", "eligible_authid", "eligible_authrole")


@pytest.fixture
def news(peer: AutobahnPeer) -> Topic:
    """What autobahn gets of the topic."""
    return peer.subscribe(TOPIC)


@pytest.fixture(scope="module")
def other(wamp_router: DevRouter) -> t.Iterator[AutobahnPeer]:
    """A second peer, that subscribes late."""
    with AutobahnPeer(wamp_router.url) as other:
        yield other


def retained(peer: AutobahnPeer, topic: str) -> t.Any:
    """The retained event a peer gets when it subscribes; None for none."""
    subscription = peer.subscribe(topic, get_retained=True)
    peer.publish(topic, "end", options={"exclude_me": False})
    event = subscription.next()
    peer.reset()
    return event.value if event.details["retained"] else None


def clear(peer: AutobahnPeer, topic: str) -> None:
    """Remove the retained event of an earlier test."""
    peer.publish(topic, None, options={"retain": True})


# No receivers.


@pytest.mark.parametrize("name", ELIGIBLE)
@pytest.mark.parametrize("exclude_me", [True, False])
def test_an_empty_eligible_list_selects_no_session(
    wamp: FlaskWAMP, peer: AutobahnPeer, news: Topic, name: str, exclude_me: bool
) -> None:
    own: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp.client.subscribe(own.put, TOPIC)
    client = wamp.client.with_options(acknowledge=True, exclude_me=exclude_me)
    assert isinstance(client.with_options(**{name: []}).publish(TOPIC, "nobody"), int)
    client.with_options(**{name: []}, exclude=[peer.session_id]).publish(TOPIC, "nobody")
    some = {"eligible_authid": [peer.authid], "eligible": [peer.session_id], name: ()}
    client.with_options(**some).publish(TOPIC, "nobody")
    client.with_options(exclude_me=False).publish(TOPIC, "all")
    assert news.next().value == own.get(timeout=PATIENCE) == "all"


@pytest.mark.parametrize("name", ELIGIBLE)
def test_the_routers_own_meaning_of_an_empty_eligible_list(
    peer: AutobahnPeer, on_crossbar: bool, name: str
) -> None:
    """No session, by the specification. For Crossbar it means all sessions: see CallOptions.on_the_wire."""
    news = peer.subscribe(TOPIC)
    peer.publish(TOPIC, "?", options={name: [], "exclude_me": False})
    peer.publish(TOPIC, "end", options={"exclude_me": False})
    assert until_end(lambda: news.next().value) == (["?", "end"] if on_crossbar else ["end"])


def test_an_event_for_no_session_is_not_retained(wamp: FlaskWAMP, other: AutobahnPeer) -> None:
    topic = f"{TOPIC}.nobody"
    client = wamp.client.with_options(retain=True, acknowledge=True)
    client.publish(topic, "for all")
    client.with_options(eligible=[]).publish(topic, "for nobody")
    assert retained(other, topic) == "for all"


# Refusals.


def test_a_refusal_is_silent_unless_it_is_acknowledged(
    wamp: FlaskWAMP, peer: AutobahnPeer, news: Topic
) -> None:
    before = wamp.client.session_id
    assert wamp.client.publish("wamp.session.on_join") is None
    with pytest.raises(ApplicationError, match="wamp.error"):
        wamp.client.with_options(acknowledge=True).publish("wamp.session.on_join")
    wamp.client.publish(TOPIC, "after")
    assert news.next().value == "after"
    assert wamp.client.session_id == before


def test_a_forbidden_topic(join: Join, node: Node) -> None:
    app, wamp = join(node.pinging_url, WAMP_REALM=Node.DISCREET_REALM)
    client = wamp.client
    assert client.publish("com.forbidden.a") is None  # silent
    with pytest.raises(ApplicationError, match="wamp.error.not_authorized"):
        client.with_options(acknowledge=True).publish("com.forbidden.a")
    with pytest.raises(ApplicationError, match="wamp.error.not_authorized"):
        client.with_options(acknowledge=True, eligible=[]).publish("com.forbidden.a")
    for topic, match in (("com.forbidden.a", "exact"), ("com.forbidden.", "prefix")):
        with pytest.raises(ApplicationError, match="wamp.error.not_authorized"):
            client.events(topic, match=match)
    app.add_url_rule("/events", view_func=lambda: client.events("com.forbidden.a"))
    assert app.test_client().get("/events").status_code == 502
    assert wamp.health()["streams"] == {}
    with client.events(TOPIC) as events:
        client.with_options(exclude_me=False).publish(TOPIC, "allowed")
        assert events.next(PATIENCE).args == ["allowed"]


# Retained events.


def test_the_last_event_is_retained(wamp: FlaskWAMP, other: AutobahnPeer) -> None:
    topic = f"{TOPIC}.last"
    for number in range(3):
        wamp.client.with_options(retain=True, acknowledge=True).publish(topic, number)
    wamp.client.with_options(acknowledge=True).publish(topic, "not retained")
    assert retained(other, topic) == 2


def test_an_event_for_some_sessions_is_retained_for_them(
    wamp: FlaskWAMP, peer: AutobahnPeer, other: AutobahnPeer
) -> None:
    topic = f"{TOPIC}.some"
    client = wamp.client.with_options(retain=True, acknowledge=True)
    client.with_options(eligible=[peer.session_id]).publish(topic, "for one")
    assert retained(other, topic) is None
    assert retained(peer, topic) == "for one"
    clear(other, topic)


@pytest.mark.parametrize(
    "options",
    [
        {"exclude": [1]},
        {"exclude_authid": ["joe"]},
        {"exclude_authrole": ["user"]},
        {"eligible_authid": ["joe"]},
        {"eligible_authrole": ["admin"]},
    ],
    ids=str,
)
def test_an_event_that_the_router_would_retain_for_all_is_refused(
    wamp: FlaskWAMP, options: dict[str, t.Any]
) -> None:
    for client in (wamp.client.with_options(retain=True), wamp.client):
        with pytest.raises(TypeError, match="retain=True cannot be combined with"):
            client.with_options(**options, retain=True)
    with pytest.raises(TypeError, match="retain=True cannot be combined with"):
        wamp.client.with_options(**options).with_options(retain=True)
    wamp.client.with_options(retain=True).with_options(**options, retain=False)


def test_receivers_of_a_retained_event(
    peer: AutobahnPeer, other: AutobahnPeer, on_crossbar: bool
) -> None:
    """The eligible sessions, by the specification. Crossbar sends it to all sessions: see _NOT_RETAINED."""
    topic = f"{TOPIC}.leak"
    peer.publish(topic, "secret", options={"retain": True, "eligible_authrole": ["admin"]})
    assert retained(other, topic) == ("secret" if on_crossbar else None)
    clear(peer, topic)


@pytest.mark.parametrize("how", ["decorator", "subscribe"])
def test_a_subscriber_gets_a_retained_event_of_autobahn(
    wamp: FlaskWAMP, peer: AutobahnPeer, how: str
) -> None:
    topic = f"{TOPIC}.{how}"
    peer.publish(topic, "kept", options={"retain": True})
    got: queue.SimpleQueue[str] = queue.SimpleQueue()
    if how == "decorator":
        wamp.subscriber(topic, get_retained=True)(got.put)
    else:
        wamp.client.subscribe(got.put, topic, get_retained=True)
    assert got.get(timeout=PATIENCE) == "kept"
    peer.publish(topic, "next")
    assert got.get(timeout=PATIENCE) == "next"
    clear(peer, topic)


# Events of autobahn.


def test_options_of_autobahns(
    wamp: FlaskWAMP, app: Flask, peer: AutobahnPeer, other: AutobahnPeer
) -> None:
    got: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp.client.subscribe(got.put, TOPIC)
    us = wamp.client.session_id
    options: list[dict[str, t.Any]] = [
        {"exclude": [us]},
        {"eligible": [other.session_id]},
        {"eligible": [us]},
        {"exclude_authrole": ["anonymous"]},
        {"eligible_authrole": ["anonymous"]},
        {"eligible_authid": [other.authid]},
    ]
    for number, option in enumerate(options):
        assert peer.publish(TOPIC, number, options=option) is not None
    peer.publish(TOPIC, "end")
    assert [got.get(timeout=PATIENCE) for _ in range(3)] == [2, 4, "end"]
    with pytest.raises(RemoteError):
        peer.publish("wamp.session.on_join")


# Identities.


def test_roles_and_names(join: Join, node: Node) -> None:
    """Autobahn is anonymous; two of the apps are users, the third publishes."""
    url = node.auth_url
    secrets = {"ticket-user": {"WAMP_TICKET": "ticket-secret"}, "cra-user": CRA, "cra-salted": CRA}
    apps = {name: join(url, WAMP_AUTHID=name, **secret)[1] for name, secret in secrets.items()}
    got: dict[str, queue.SimpleQueue[str]] = {}
    for name in ("ticket-user", "cra-user"):
        got[name] = queue.SimpleQueue()
        apps[name].client.subscribe(got[name].put, TOPIC)
    publisher = apps["cra-salted"].client.with_options(acknowledge=True)
    with AutobahnPeer(url) as peer:
        news = peer.subscribe(TOPIC)
        for text, options in {
            "all": {},
            "not ticket": {"exclude_authid": ["ticket-user", "nobody"]},
            "cra": {"eligible_authid": ["cra-user"]},
            "users": {"eligible_authrole": ["user", "admin"]},
            "no users": {"exclude_authrole": ["user"]},
            "users but ticket": {"eligible_authrole": ["user"], "exclude_authid": ["ticket-user"]},
            "no admins": {"exclude_authrole": ["admin"]},
            "admins": {"eligible_authrole": ["admin"]},
            "end": {},
        }.items():
            publisher.with_options(**options).publish(TOPIC, text)
        anonymous = until_end(lambda: news.next().value)
    assert anonymous == ["all", "not ticket", "no users", "no admins", "end"]
    assert until_end(lambda: got["ticket-user"].get(timeout=PATIENCE)) == [
        "all",
        "users",
        "no admins",
        "end",
    ]
    assert until_end(lambda: got["cra-user"].get(timeout=PATIENCE)) == [
        "all",
        "not ticket",
        "cra",
        "users",
        "users but ticket",
        "no admins",
        "end",
    ]


def until_end(get: t.Callable[[], str]) -> list[str]:
    """Return the values up to ``end``."""
    found = [get()]
    while found[-1] != "end":
        found.append(get())
    return found
