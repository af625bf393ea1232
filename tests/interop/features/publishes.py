"""The peer publishes to a subscriber of the app."""

from __future__ import annotations

import typing as t

from tests.support import peers

from ..sides import Events
from .scene import Scene, feature
from .values import BYTES, MEGABYTE, VALUES

PUBLISHES = "The peer publishes to the app"


def published(scene: Scene, *args: t.Any, **kwargs: t.Any) -> peers.Received:
    events = scene.ours.subscribe(scene.uri("t"))
    scene.peer.publish(scene.uri("t"), *args, **kwargs)
    return events.next()


@feature(PUBLISHES, "positional and keyword payload")
def publishes_args(scene: Scene) -> None:
    event = published(scene, 1, "two", three=3)
    assert (event.args, event.kwargs) == ([1, "two"], {"three": 3})


@feature(PUBLISHES, "null, booleans, numbers, Unicode, nested lists and objects")
def publishes_values(scene: Scene) -> None:
    assert published(scene, VALUES).value == VALUES


@feature(PUBLISHES, "bytes")
def publishes_bytes(scene: Scene) -> None:
    assert published(scene, BYTES).value == BYTES


@feature(PUBLISHES, "a payload of 1 MB")
def publishes_megabyte(scene: Scene) -> None:
    assert published(scene, MEGABYTE).value == MEGABYTE


@feature(PUBLISHES, "acknowledged: the publication id is that of the event")
def publishes_acknowledged(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("t"))
    publication = scene.peer.publish(scene.uri("t"))
    events.next()
    assert events.publications == [publication]


@feature(PUBLISHES, "``exclude_me=False``: to itself too")
def publishes_to_itself(scene: Scene) -> None:
    own = scene.peer.subscribe(scene.uri("t"))
    events = scene.ours.subscribe(scene.uri("t"))
    scene.peer.publish(scene.uri("t"), "nobody else")
    scene.peer.publish(scene.uri("t"), "all", options={"exclude_me": False})
    assert own.next().value == "all"
    assert [events.next().value for _ in range(2)] == ["nobody else", "all"]


def only_the_last(scene: Scene, events: Events, options: dict[str, t.Any]) -> None:
    scene.peer.publish(scene.uri("t"), "hidden", options=options)
    scene.peer.publish(scene.uri("t"), "shown")
    assert events.next().value == "shown"


@feature(PUBLISHES, "``exclude``, ``eligible`` by session id")
def publishes_filtered(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("t"))
    ours, theirs = scene.client.session_id, scene.peer.session_id
    only_the_last(scene, events, {"exclude": [ours]})
    only_the_last(scene, events, {"eligible": [theirs]})
    scene.peer.publish(scene.uri("t"), "for us", options={"eligible": [ours]})
    assert events.next().value == "for us"


@feature(PUBLISHES, "a retained event")
def publishes_retained(scene: Scene) -> None:
    scene.peer.publish(scene.uri("t"), "kept", options={"retain": True})
    event = scene.ours.subscribe(scene.uri("t"), get_retained=True).next()
    assert (event.value, event.details["retained"]) == ("kept", True)


@feature(PUBLISHES, "prefix subscription")
def publishes_prefix(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("p"), match="prefix")
    scene.peer.publish(scene.uri("p.a.b"), 1)
    assert events.next().details["topic"] == scene.uri("p.a.b")


@feature(PUBLISHES, "wildcard subscription")
def publishes_wildcard(scene: Scene) -> None:
    events = scene.ours.subscribe(scene.uri("w..set"), match="wildcard")
    scene.peer.publish(scene.uri("w.seven.set"), 1)
    assert events.next().details["topic"] == scene.uri("w.seven.set")


@feature(PUBLISHES, "publisher identification")
def publishes_disclosed(scene: Scene) -> None:
    details = published(scene).details
    assert details["publisher"] == scene.peer.session_id
    assert details["publisher_authrole"] == "anonymous"
