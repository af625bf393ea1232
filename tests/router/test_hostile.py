"""A caller or publisher can at most make its own call fail, whatever it sends through a real router."""

from __future__ import annotations

import contextlib
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


@contextlib.contextmanager
def raw_session(url: str) -> t.Iterator[ClientConnection]:
    """Join, and send any bytes as JSON."""
    with connect(url, subprotocols=[JSON], open_timeout=PATIENCE) as raw:
        roles = {"caller": {}, "publisher": {}}
        raw.send(json.dumps([1, "realm1", {"roles": roles}]))
        assert json.loads(raw.recv(PATIENCE))[0] == 2
        yield raw


@pytest.fixture
def raw(wamp_router: DevRouter) -> t.Iterator[ClientConnection]:
    """Such a session."""
    with raw_session(wamp_router.url) as raw:
        yield raw


#: Crossbar 26.10 decodes all of these, and forwards them. Up to Python 3.11, the built-in router cannot
#: decode the first one, and ends the session that sends it.
PAYLOADS = {
    "deep": "[" * 990 + "]" * 990,
    "deep bytes": "[" * 900 + '"\\u0000YQ=="' + "]" * 900,
    "deep object": '{"a":' * 900 + "1" + "}" * 900,
    "overflow": "1e999999",
}


@pytest.mark.parametrize("name", PAYLOADS)
@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_the_session_stays(
    join: Join,
    wamp_router: DevRouter,
    raw: ClientConnection,
    on_crossbar: bool,
    serializer: str,
    name: str,
) -> None:
    payload = PAYLOADS[name]
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=[serializer])
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp.callee("com.example.count", validate=False)(lambda *args: len(args))
    wamp.subscriber("com.example.news", validate=False)(lambda *args: seen.put("news"))
    wamp.subscriber("com.example.end")(lambda: seen.put("end"))
    session_id = wamp.client.session_id
    raw.send(f'[48,1,{{}},"com.example.count",[{payload}]]')
    code = json.loads(raw.recv(PATIENCE)[:200].split(",", 1)[0] + "]")[0]
    is_over = name == "deep" and not on_crossbar and code == 3
    assert is_over or code in (8, 50)
    if not is_over:
        raw.send(f'[16,2,{{}},"com.example.news",[{payload}]]')
        raw.send('[16,3,{},"com.example.end"]')
        while seen.get(timeout=PATIENCE) != "end":
            pass
    with raw_session(wamp_router.url) as other:
        other.send('[48,1,{},"com.example.count",[1,2]]')
        assert json.loads(other.recv(PATIENCE))[-1] == [2]
    assert wamp.client.session_id == session_id


#: These never reach the app. Crossbar 26.10 cannot encode them for the callee, and sends no answer. The
#: built-in router answers invalid text with ABORT (3), and values that a serializer lacks with ERROR (8).
LOST = {"surrogate": ("json", '"\\ud800"', 3), "large": ("msgpack", "9" * 30, 8)}


@pytest.mark.parametrize(("serializer", "payload", "answer"), LOST.values(), ids=LOST)
def test_payloads_that_the_router_cannot_forward_never_arrive(
    join: Join,
    wamp_router: DevRouter,
    raw: ClientConnection,
    monkeypatch: pytest.MonkeyPatch,
    on_crossbar: bool,
    serializer: str,
    payload: str,
    answer: int,
) -> None:
    _, wamp = join(wamp_router.url, WAMP_SERIALIZERS=[serializer])
    wamp.callee("com.example.count", validate=False)(lambda *args: len(args))
    session_id = wamp.client.session_id
    arrived: list[bytes] = []
    take = Connection._take

    def spy(self: Connection, messages: t.Sequence[bytes]) -> t.Any:
        arrived.extend(map(bytes, messages))
        return take(self, messages)

    monkeypatch.setattr(Connection, "_take", spy)
    raw.send(f'[48,1,{{}},"com.example.count",[{payload}]]')
    if not on_crossbar:
        assert json.loads(raw.recv(PATIENCE))[0] == answer
    is_over = answer == 3 and not on_crossbar
    with raw_session(wamp_router.url) if is_over else contextlib.nullcontext(raw) as other:
        request_id = 1 if is_over else 2
        other.send(f'[48,{request_id},{{}},"com.example.count",[1,2]]')
        result = json.loads(other.recv(PATIENCE))
    assert (result[1], result[-1]) == (request_id, [2]), "Crossbar answers the first call"
    assert len(arrived) == 1
    assert wamp.client.session_id == session_id


def test_a_tag_fails_only_its_call(join: Join, wamp_router: DevRouter) -> None:
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
