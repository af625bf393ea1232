"""The app publishes to a subscription of the peer."""

from __future__ import annotations

import typing as t

from tests.support import peers

from .scene import Scene, feature
from .values import BYTES, MEGABYTE, VALUES

PUBLISHED = "The app publishes to the peer"


def received(scene: Scene, *args: t.Any, **kwargs: t.Any) -> peers.Received:
    topic = scene.peer.subscribe(scene.uri("t"))
    scene.client.publish(scene.uri("t"), *args, **kwargs)
    return topic.next()


@feature(PUBLISHED, "positional and keyword payload")
def published_args(scene: Scene) -> None:
    event = received(scene, 1, "two", three=3)
    assert (event.args, event.kwargs) == ([1, "two"], {"three": 3})


@feature(PUBLISHED, "to a subscription without options")
def published_plain(scene: Scene) -> None:
    topic = scene.peer.command("subscribe", peers.Topic, uri=scene.uri("t"), options=None)
    topic.wait()
    scene.client.publish(scene.uri("t"), "plain")
    assert topic.next().value == "plain"


@feature(PUBLISHED, "null, booleans, numbers, Unicode, nested lists and objects")
def published_values(scene: Scene) -> None:
    assert received(scene, VALUES).value == VALUES


@feature(PUBLISHED, "bytes")
def published_bytes(scene: Scene) -> None:
    assert received(scene, BYTES).value == BYTES


@feature(PUBLISHED, "a payload of 1 MB")
def published_megabyte(scene: Scene) -> None:
    assert received(scene, MEGABYTE).value == MEGABYTE


@feature(PUBLISHED, "acknowledged")
def published_acknowledged(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    publisher = scene.client.with_options(acknowledge=True)
    assert isinstance(publisher.publish(scene.uri("t"), "sure"), int)
    assert topic.next().value == "sure"


@feature(PUBLISHED, "in order")
def published_in_order(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    for n in range(100):
        scene.client.publish(scene.uri("t"), n)
    assert [topic.next().value for _ in range(100)] == list(range(100))


@feature(PUBLISHED, "``exclude``, ``eligible`` by session id")
def published_filtered(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    client, theirs = scene.client, scene.peer.session_id
    client.with_options(exclude=[theirs]).publish(scene.uri("t"), "hidden")
    client.with_options(eligible=[client.session_id]).publish(scene.uri("t"), "hidden")
    client.with_options(eligible=[theirs]).publish(scene.uri("t"), "for them")
    assert topic.next().value == "for them"


@feature(PUBLISHED, "a retained event")
def published_retained(scene: Scene) -> None:
    client = scene.client.with_options(retain=True, acknowledge=True)
    client.publish(scene.uri("t"), "kept")
    assert scene.peer.subscribe(scene.uri("t"), get_retained=True).next().value == "kept"


@feature(PUBLISHED, "prefix subscription")
def published_prefix(scene: Scene) -> None:
    received_by_pattern(scene, scene.uri("p"), "prefix", scene.uri("p.a.b"))


@feature(PUBLISHED, "wildcard subscription")
def published_wildcard(scene: Scene) -> None:
    received_by_pattern(scene, scene.uri("w..set"), "wildcard", scene.uri("w.seven.set"))


def received_by_pattern(scene: Scene, pattern: str, match: str, uri: str) -> None:
    topic = scene.peer.subscribe(pattern, match=match)
    scene.client.publish(uri, 1)
    assert topic.next().details["topic"] == uri


@feature(PUBLISHED, "a topic that the peer has unsubscribed from")
def published_unsubscribed(scene: Scene) -> None:
    topic = scene.peer.subscribe(scene.uri("t"))
    scene.peer.command("withdraw", declared=topic.number).wait()
    other = scene.peer.subscribe(scene.uri("other"))
    scene.client.publish(scene.uri("t"), "for nobody")
    scene.client.publish(scene.uri("other"), "for them")
    assert other.next().value == "for them"
    assert topic.is_quiet()


@feature(PUBLISHED, "publisher identification")
def published_disclosed(scene: Scene) -> None:
    details = received(scene).details
    assert details["publisher"] == scene.client.session_id
    assert details["publisher_authrole"] == "anonymous"
