"""Publications of the client: both forms, acknowledged or not, in the order of the calls."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp import ApplicationError, FlaskWAMP, InvalidURI, SerializationError, event
from flask_wamp.client.client import Client
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

TOPIC = "com.example.topic"


@pytest.fixture
def client(serve: Serve) -> Client:
    """A client that has joined."""
    return serve()[1].client


def published(router: MemoryRouter) -> list[tuple[t.Any, ...]]:
    return [(each.topic, each.args, each.kwargs) for each in router.sent(m.Publish)]


@pytest.mark.parametrize(
    ("publish", "args", "kwargs"),
    [
        (lambda client: client.publish(TOPIC), [], {}),
        (lambda client: client.publish(TOPIC, 1, [2], a=3), [1, [2]], {"a": 3}),
        (lambda client: client.publish(TOPIC, name="x"), [], {"name": "x"}),
        (lambda client: client.publish(topic=TOPIC, message="x"), [], {"message": "x"}),
        (lambda client: client.publish(topic=TOPIC), [], {}),
        (
            lambda client: client.publish(TOPIC, topic="y", options=1),
            [],
            {"topic": "y", "options": 1},
        ),
    ],
)
def test_forms(
    client: Client, router: MemoryRouter, publish: t.Any, args: t.Any, kwargs: t.Any
) -> None:
    assert publish(client) is None
    assert published(router) == [(TOPIC, args, kwargs)]


def test_options_of_wampys_form(client: Client, router: MemoryRouter) -> None:
    number = client.publish(topic=TOPIC, message="x", options={"acknowledge": True, "retain": True})
    assert isinstance(number, int)
    [message] = router.sent(m.Publish)
    assert message.options == {"acknowledge": True, "retain": True}
    assert message.kwargs == {"message": "x"}


def test_publication_without_a_topic(client: Client) -> None:
    with pytest.raises(TypeError, match="publish needs a topic"):
        client.publish(message="x")


@pytest.mark.parametrize("topic", ["com..x", "", "a b", 5, None])
def test_invalid_topic_is_not_sent(client: Client, router: MemoryRouter, topic: t.Any) -> None:
    with pytest.raises(InvalidURI, match="is not a valid topic"):
        client.publish(topic, 1)
    assert published(router) == []


@pytest.mark.parametrize("payload", [object(), {1: 2}, float("inf"), "\ud800"])
def test_payload_that_cannot_be_sent(client: Client, router: MemoryRouter, payload: t.Any) -> None:
    with pytest.raises(SerializationError):
        client.publish(TOPIC, payload)
    client.publish(TOPIC, "next")
    assert [message.request_id for message in router.sent(m.Publish)] == [1]


def test_acknowledged_publication_returns_its_id(serve: Serve, router: MemoryRouter) -> None:
    seen: list[int] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".topic")(lambda: seen.append(event.publication))

    client = serve(setup)[1].client
    number = client.with_options(acknowledge=True, exclude_me=False).publish(TOPIC)
    eventually(lambda: seen == [number])


def test_a_refused_publication_raises_if_it_is_acknowledged(
    client: Client, router: MemoryRouter
) -> None:
    router.refuse(TOPIC)
    assert client.publish(TOPIC) is None
    with pytest.raises(ApplicationError, match="wamp.error.not_authorized"):
        client.with_options(acknowledge=True).publish(TOPIC)


def test_options_are_sent(client: Client, router: MemoryRouter) -> None:
    options: dict[str, t.Any] = {"exclude_me": False, "eligible": [1], "exclude_authid": ["joe"]}
    client.with_options(timeout=3, cancel_mode="kill", **options).publish(TOPIC)
    assert router.sent(m.Publish)[0].options == options


def test_messages_keep_the_order_of_their_calls(client: Client, router: MemoryRouter) -> None:
    router.register("com.example.add", lambda: None)
    acknowledging = client.with_options(acknowledge=True)
    for number in range(50):
        client.publish(TOPIC, number)
        client.submit("com.example.add")
        acknowledging.publish(TOPIC, number)
    kinds = [type(message) for message in router.messages if type(message) is not m.Hello]
    assert kinds == [m.Publish, m.Call, m.Publish] * 50
    ids = [each.request_id for each in router.messages if type(each) is not m.Hello]
    assert ids == list(range(1, 151))


@pytest.mark.parametrize("serializer", ["msgpack", "json", "cbor"])
def test_payload_arrives_as_it_was(serve: Serve, router: MemoryRouter, serializer: str) -> None:
    router.serializer = serializer
    seen: list[t.Any] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".topic")(lambda *args, **kwargs: seen.append((args, kwargs)))

    client = serve(setup)[1].client
    payload = [b"\x00\xff", "é\0", 1.5, 2**63, None, True, {"ключ": [b""]}]
    client.with_options(exclude_me=False).publish(TOPIC, *payload, x=payload)
    eventually(lambda: seen == [(tuple(payload), {"x": payload})])
