"""What a caller or publisher sends through a real router can at most fail its own call."""

from __future__ import annotations

import json
import queue
import typing as t

import pytest
from flask import Flask
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from flask_wamp import FlaskWAMP
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.router import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]

JSON = Subprotocol("wamp.2.json")


@pytest.fixture
def raw(wamp_router: DevRouter) -> t.Iterator[ClientConnection]:
    """A session that sends what it likes, in JSON."""
    with connect(wamp_router.url, subprotocols=[JSON], open_timeout=PATIENCE) as raw:
        roles = {"caller": {}, "publisher": {}}
        raw.send(json.dumps([1, "realm1", {"roles": roles}]))
        assert json.loads(raw.recv(PATIENCE))[0] == 2
        yield raw


#: Crossbar 26.10 reads all of these, and passes them on.
PAYLOADS = {
    "deep": "[" * 990 + "]" * 990,
    "deep bytes": "[" * 900 + '"\\u0000YQ=="' + "]" * 900,
    "deep object": '{"a":' * 900 + "1" + "}" * 900,
    "overflow": "1e999999",
}


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_the_session_stays(
    join: Join,
    wamp_router: DevRouter,
    raw: ClientConnection,
    serializer: str,
    payload: str,
) -> None:
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=[serializer])
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp.callee("com.example.count", validate=False)(lambda *args: len(args))
    wamp.subscriber("com.example.news", validate=False)(lambda *args: seen.put("news"))
    wamp.subscriber("com.example.end")(lambda: seen.put("end"))
    session_id = wamp.client.session_id
    raw.send(f'[48,1,{{}},"com.example.count",[{payload}]]')
    answer = json.loads(raw.recv(PATIENCE)[:200].split(",", 1)[0] + "]")
    assert answer[0] in (8, 50)
    raw.send(f'[16,2,{{}},"com.example.news",[{payload}]]')
    raw.send('[16,3,{},"com.example.end"]')
    while seen.get(timeout=PATIENCE) != "end":
        pass
    raw.send('[48,4,{},"com.example.count",[1,2]]')
    assert json.loads(raw.recv(PATIENCE))[-1] == [2]
    assert wamp.client.session_id == session_id
