"""Unusual payloads of another peer through Crossbar: each can fail only its own message."""

from __future__ import annotations

import queue
import typing as t
import urllib.parse

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from tests.support.hostile_peer import HostilePeer
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

SERIALIZERS = ("msgpack", "json", "cbor")


@pytest.mark.parametrize("theirs", SERIALIZERS)
@pytest.mark.parametrize("ours", SERIALIZERS)
def test_the_session_survives_unusual_payloads(
    join: Join, wamp_router: DevRouter, ours: str, theirs: str
) -> None:
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=[ours])
    _, other = join(wamp_router.url, WAMP_SERIALIZERS=[ours])
    seen: queue.SimpleQueue[object] = queue.SimpleQueue()
    wamp.callee("com.hostile.take", validate=False)(lambda *args, **kwargs: len(args))
    wamp.subscriber("com.hostile.news", validate=False)(lambda *args, **kwargs: None)
    wamp.subscriber("com.hostile.end")(lambda: seen.put("end"))
    session_id = wamp.client.session_id
    url = urllib.parse.urlsplit(wamp_router.rawsocket_url)
    assert url.hostname and url.port
    with HostilePeer((url.hostname, url.port), theirs) as peer:
        for number, data in enumerate(peer.requests("com.hostile.take", "com.hostile.news")):
            peer.send(data)
            if number % 50 == 0:
                assert other.client.call("com.hostile.take", 1, 2) == 2
    other.client.publish("com.hostile.end")
    assert seen.get(timeout=PATIENCE) == "end"
    assert other.client.call("com.hostile.take", 1, 2) == 2
    assert wamp.client.session_id == session_id
