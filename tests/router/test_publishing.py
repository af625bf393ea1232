"""Our events, and which of them autobahn gets."""

from __future__ import annotations

import queue
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, FlaskWAMP
from tests.support.nodes import Node
from tests.support.peers import PATIENCE, AutobahnPeer, Topic

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

TOPIC = "com.shop.news"


@pytest.fixture
def news(peer: AutobahnPeer) -> Topic:
    """What autobahn gets of one topic."""
    return peer.subscribe(TOPIC)


def test_a_positional_and_keyword_payload(wamp: FlaskWAMP, news: Topic) -> None:
    assert wamp.client.publish(TOPIC, 1, "two", three=[3]) is None
    event = news.next()
    assert (event.args, event.kwargs) == ([1, "two"], {"three": [3]})


def test_keywords_alone(wamp: FlaskWAMP, news: Topic) -> None:
    wamp.client.publish(TOPIC, name="tea")
    event = news.next()
    assert (event.args, event.kwargs) == ([], {"name": "tea"})


def test_no_payload(wamp: FlaskWAMP, news: Topic) -> None:
    wamp.client.publish(TOPIC)
    event = news.next()
    assert (event.args, event.kwargs) == ([], {})


def test_wampys_form(wamp: FlaskWAMP, news: Topic) -> None:
    wamp.client.publish(topic=TOPIC, message="hello")
    event = news.next()
    assert (event.args, event.kwargs) == ([], {"message": "hello"})


def test_a_topic_in_the_payload_of_the_other_form(wamp: FlaskWAMP, news: Topic) -> None:
    wamp.client.publish(TOPIC, topic="tea", options=1)
    assert news.next().kwargs == {"topic": "tea", "options": 1}


def test_a_view_publishes(app: Flask, wamp: FlaskWAMP, news: Topic) -> None:
    @app.post("/greet/<name>")
    def greet(name: str) -> str:
        g.wampy.publish(TOPIC, name=name)
        return "sent"

    assert app.test_client().post("/greet/tea").text == "sent"
    assert news.next().kwargs == {"name": "tea"}


def test_an_acknowledged_publication_returns_its_id(wamp: FlaskWAMP, news: Topic) -> None:
    publication = wamp.client.with_options(acknowledge=True).publish(TOPIC, 1)
    assert news.next().details["publication"] == publication


def test_wampys_options_are_options(wamp: FlaskWAMP, news: Topic) -> None:
    publication = wamp.client.publish(topic=TOPIC, options={"acknowledge": True}, message="x")
    assert news.next().details["publication"] == publication


def test_a_refused_publication_raises_if_it_is_acknowledged(wamp: FlaskWAMP) -> None:
    with pytest.raises(ApplicationError) as raised:
        wamp.client.with_options(acknowledge=True).publish("wamp.session.on_join")
    assert raised.value.uri in ("wamp.error.invalid_uri", "wamp.error.not_authorized")


def test_a_publisher_gets_its_own_event_only_with_exclude_me_off(
    wamp: FlaskWAMP, news: Topic
) -> None:
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    wamp.subscriber(TOPIC)(lambda number: seen.put(number))
    own = wamp.client.with_options(exclude_me=False)
    for number in range(4):
        (own if number % 2 else wamp.client).publish(TOPIC, number)
    assert [news.next().value for _ in range(4)] == [0, 1, 2, 3]
    assert [seen.get(timeout=PATIENCE) for _ in range(2)] == [1, 3]


def test_exclude_and_eligible_choose_receivers(
    wamp: FlaskWAMP, wamp_router: DevRouter, peer: AutobahnPeer, news: Topic
) -> None:
    with AutobahnPeer(wamp_router.url) as other:
        others = other.subscribe(TOPIC)
        client = wamp.client
        client.with_options(exclude=[peer.session_id]).publish(TOPIC, "not you")
        client.with_options(eligible=[peer.session_id]).publish(TOPIC, "you")
        client.with_options(exclude_authid=[other.authid]).publish(TOPIC, "not the other")
        client.with_options(eligible_authid=[other.authid]).publish(TOPIC, "the other")
        client.with_options(eligible_authrole=["anonymous"]).publish(TOPIC, "both")
        client.with_options(exclude_authrole=["anonymous"]).publish(TOPIC, "none")
        client.publish(TOPIC, "the end")
        # The next event shows that no earlier one was delivered.
        got = [news.next().value for _ in range(4)]
        others_got = [others.next().value for _ in range(4)]
    assert got == ["you", "not the other", "both", "the end"]
    assert others_got == ["not you", "the other", "both", "the end"]


def test_a_retained_event_waits_for_subscribers(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.client.with_options(retain=True, acknowledge=True).publish("com.shop.status", "open")
    event = peer.subscribe("com.shop.status", get_retained=True).next()
    assert event.value == "open"
    assert event.details["retained"] is True


def test_with_options_does_not_change_the_client(wamp: FlaskWAMP, news: Topic) -> None:
    acknowledging = wamp.client.with_options(acknowledge=True)
    assert acknowledging.with_options(exclude_me=False).publish(TOPIC) is not None
    assert acknowledging.with_options(acknowledge=False).publish(TOPIC) is None
    assert wamp.client.publish(TOPIC) is None
    assert [news.next().args for _ in range(3)] == [[], [], []]


@pytest.mark.parametrize(
    "options",
    [
        {"acknowlege": True},
        {"acknowledge": 1},
        {"timeout": 0},
        {"timeout": "1"},
        {"exclude": 1},
        {"eligible": ["x"]},
        {"cancel_mode": "skip"},
    ],
    ids=str,
)
def test_wrong_options_are_a_type_error(wamp: FlaskWAMP, options: dict[str, t.Any]) -> None:
    with pytest.raises(TypeError, match=next(iter(options))):
        wamp.client.with_options(**options)
    if "timeout" not in options and "cancel_mode" not in options:
        with pytest.raises(TypeError):
            wamp.client.publish(topic=TOPIC, options=options)


def test_a_publication_without_a_topic_is_an_error(wamp: FlaskWAMP) -> None:
    with pytest.raises(TypeError, match="needs a topic"):
        wamp.client.publish(message="hello")


def test_the_router_decides_about_requested_disclosure(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], node: Node
) -> None:
    _, wamp = join(node.pinging_url, WAMP_REALM=Node.DISCREET_REALM)
    with AutobahnPeer(node.pinging_url, Node.DISCREET_REALM) as peer:
        news = peer.subscribe(TOPIC)
        procedure = peer.register("com.shop.echo")
        open_client = wamp.client.with_options(disclose_me=True)
        open_client.publish(TOPIC)
        open_client.call("com.shop.echo")
        # Crossbar decides by the role alone. This test checks that the option does not end the session.
        assert news.next().details["publisher"] is None
        assert procedure.next().details["caller"] is None
