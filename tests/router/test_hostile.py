"""What a caller or publisher sends through a real router can at most fail its own call."""

from __future__ import annotations

import datetime as dt
import json
import queue
import typing as t

import pytest
from flask import Flask
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Subprotocol

from flask_wamp import FlaskWAMP
from flask_wamp.peer.connection import Connection
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

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


#: Crossbar 26.10 cannot write them for the callee, and answers nobody: nothing of it reaches the app.
LOST = {"surrogate": ("json", '"\\ud800"'), "large": ("msgpack", "9" * 30)}


@pytest.mark.parametrize(("serializer", "payload"), LOST.values(), ids=LOST)
def test_what_crossbar_cannot_pass_on_never_arrives(
    join: Join,
    wamp_router: DevRouter,
    raw: ClientConnection,
    monkeypatch: pytest.MonkeyPatch,
    serializer: str,
    payload: str,
) -> None:
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=[serializer])
    wamp.callee("com.example.count", validate=False)(lambda *args: len(args))
    session_id = wamp.client.session_id
    arrived: list[bytes] = []
    receive = Connection._receive

    def spy(self: Connection, data: t.Any, *rest: t.Any) -> t.Any:
        arrived.append(bytes(data))
        return receive(self, data, *rest)

    monkeypatch.setattr(Connection, "_receive", spy)
    raw.send(f'[48,1,{{}},"com.example.count",[{payload}]]')
    raw.send('[48,2,{},"com.example.count",[1,2]]')
    answer = json.loads(raw.recv(PATIENCE))
    assert (answer[1], answer[-1]) == (2, [2]), "the first is never answered"
    assert len(arrived) == 1
    assert wamp.client.session_id == session_id


def test_a_tag_costs_only_its_call(join: Join, wamp_router: DevRouter) -> None:
    cbor2 = pytest.importorskip("cbor2")
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=["cbor"])
    wamp.callee("com.example.count", validate=False)(lambda *args: len(args))
    session_id = wamp.client.session_id
    with connect(wamp_router.url, subprotocols=[Subprotocol("wamp.2.cbor")]) as raw:
        raw.send(cbor2.dumps([1, "realm1", {"roles": {"caller": {}}}]))
        raw.recv(PATIENCE)
        for number, argument in enumerate((dt.datetime.now(dt.timezone.utc), 10**30, "text"), 1):
            raw.send(cbor2.dumps([48, number, {}, "com.example.count", [argument]]))
        answers = [cbor2.loads(raw.recv(PATIENCE)) for _ in range(3)]
    refused = {answer[2]: answer[4] for answer in answers if answer[0] == 8}
    assert refused == dict.fromkeys((1, 2), "wamp.error.invalid_argument")
    assert [answer[1:] for answer in answers if answer[0] == 50][0][-1] == [1]
    assert wamp.client.session_id == session_id
