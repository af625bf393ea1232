"""Both directions over every transport and serializer, with every kind of payload."""

from __future__ import annotations

import queue
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, CallResult, FlaskWAMP
from tests.support.peers import PATIENCE, AutobahnPeer

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

LINKS = [
    ("url", "json"),
    ("url", "msgpack"),
    ("url", "cbor"),
    ("rawsocket_url", "json"),
    ("rawsocket_url", "msgpack"),
    ("rawsocket_url", "cbor"),
    ("unix_url", "msgpack"),
]

ARGS: list[t.Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**31,
    2**53 + 1,
    2**63 - 1,
    2**63,
    -(2**63),
    0.0,
    -2.5,
    1e300,
    5e-324,
    "",
    "grüß dich, 世界 🎉",
    'quotes " and \\ and \n and \u2028',
    b"",
    b"\x00",
    bytes(range(256)),
    [],
    {},
    [[[[["deep"]]]]],
    {"list": [1, {"none": None}], "bytes": [b"\xff", {"b": b"\x00\x01"}], "": "empty key"},
]
KWARGS: dict[str, t.Any] = {"name": "世界", "raw": b"\x00\xff", "nested": {"a": [1, {"b": None}]}}


@pytest.fixture(params=LINKS, ids=lambda link: f"{link[0].removesuffix('_url')} {link[1]}")
def wamp(request: pytest.FixtureRequest, join: Join, wamp_router: DevRouter) -> FlaskWAMP:
    """An extension that has joined over one transport with one serializer."""
    transport, serializer = request.param
    return join(getattr(wamp_router, transport), WAMP_SERIALIZERS=[serializer])[1]


def test_a_call_from_autobahn(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee(validate=False)
    def echo(*args: t.Any, **kwargs: t.Any) -> CallResult:
        return CallResult(*args, **kwargs)

    result = peer.call("com.example.echo", *ARGS, **KWARGS)
    assert_same(result.args, ARGS)
    assert result.kwargs == KWARGS


def test_a_call_to_autobahn(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    procedure = peer.register("com.shop.echo")
    result = wamp.client.call("com.shop.echo", *ARGS, **KWARGS)
    assert_same(list(result.args), ARGS)
    assert result.kwargs == KWARGS
    assert_same(procedure.next().args, ARGS)


def test_an_event_from_autobahn(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    @wamp.subscriber(validate=False)
    def news(*args: t.Any, **kwargs: t.Any) -> None:
        seen.put((list(args), kwargs))

    peer.publish("com.example.news", *ARGS, **KWARGS)
    args, kwargs = seen.get(timeout=PATIENCE)
    assert_same(args, ARGS)
    assert kwargs == KWARGS


def test_an_event_to_autobahn(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    topic = peer.subscribe("com.shop.news")
    wamp.client.publish("com.shop.news", *ARGS, **KWARGS)
    event = topic.next()
    assert_same(event.args, ARGS)
    assert event.kwargs == KWARGS


def test_errors_in_both_directions(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    payload = {"uri": "com.shop.sold_out", "args": ARGS, "kwargs": KWARGS}
    peer.register("com.shop.buy", "fail", error=payload)

    @wamp.callee
    def buy() -> t.Any:
        with pytest.raises(ApplicationError) as raised:
            wamp.client.call("com.shop.buy")
        raise raised.value

    error = peer.error("com.example.buy")
    assert error.uri == "com.shop.sold_out"
    assert_same(list(error.args), ARGS)
    assert error.kwargs == KWARGS


@pytest.mark.parametrize("names", [["json", "msgpack"], ["cbor", "json"]], ids="-".join)
def test_the_router_chooses_the_preferred_serializer(
    join: Join, wamp_router: DevRouter, names: list[str]
) -> None:
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=names)
    session = wamp.client.call("wamp.session.get", wamp.client.session_id)
    assert session["transport"]["websocket_protocol"] == f"wamp.2.{names[0]}"


def assert_same(received: list[t.Any], sent: list[t.Any]) -> None:
    """Equal, and of the same types: 1, 1.0 and True are not the same."""
    assert received == sent
    assert [type(item) for item in received] == [type(item) for item in sent]
