"""``wamp.health()``, ``wamp.health_view``, and procedures that the router refuses."""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import queue
import socket
import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.crossbar import free_port
from flask_wamp.signals import event_dropped, registration_refused
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.scripts import script
from tests.support.sockets import Forwarder, Impostor

from .test_limits import Gate

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
MakeApp = t.Callable[..., Flask]


@pytest.fixture
def gate() -> t.Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


@pytest.mark.parametrize("transport", ["websocket", "rawsocket"])
def test_joined(join: Join, wamp_router: DevRouter, transport: str) -> None:
    url = wamp_router.url if transport == "websocket" else wamp_router.rawsocket_url
    before = dt.datetime.now(dt.timezone.utc).replace(microsecond=0)

    def declare(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.add")(lambda a, b: a + b)
        wamp.subscriber("com.example.hello")(lambda: None)

    app, wamp = join(url, declare, WAMP_SERIALIZERS=["json"])
    eventually(lambda: not wamp.health()["in_hand"]["running"])  # session_joined is being sent
    health = wamp.health()
    assert before <= dt.datetime.fromisoformat(health.pop("joined_since"))
    assert health == {
        "joined": True,
        "session_id": wamp.client.session_id,
        "realm": "realm1",
        "router_url": url,
        "transport": transport,
        "serializer": "json",
        "failure": None,
        "reconnects": 0,
        "procedures": {"registered": 1, "refused": {}},
        "topics": {"subscribed": 1, "refused": {}, "dropped": {}},
        "streams": {},
        "in_hand": {"running": 0, "waiting": 0},
        "publications": {"dropped": 0, "waiting": 0},
    }
    assert json.loads(json.dumps(wamp.health())) == wamp.health()
    assert app.test_client().get("/").status_code == 404  # no view unless the app adds one


def test_before_it_was_started(make_app: MakeApp) -> None:
    wamp = FlaskWAMP(make_app())
    wamp.callee("com.example.add")(lambda a, b: a + b)
    health = wamp.health()
    assert health["joined"] is False
    assert health["procedures"] == {"registered": 0, "refused": {}}
    for key in ("joined_since", "session_id", "transport", "serializer", "failure"):
        assert health[key] is None


def test_health_shows_why_the_client_has_not_joined(make_app: MakeApp) -> None:
    port = free_port()
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=f"tcp://127.0.0.1:{port}"))
    wamp.start()
    eventually(lambda: wamp.health()["failure"])
    health = wamp.health()
    assert "Connection refused" in health["failure"]
    assert health["joined"] is False
    assert health["joined_since"] is health["session_id"] is health["transport"] is None
    assert health["router_url"] == f"tcp://127.0.0.1:{port}"


def test_user_and_password_are_never_shown(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"ws://joe:hushhush@127.0.0.1:{free_port()}/ws"
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url))
    wamp.start()
    eventually(lambda: wamp.health()["failure"])
    for said in (json.dumps(wamp.health()), caplog.text, repr(wamp.client)):
        assert "hushhush" not in said
        assert "joe" not in said


def test_the_view(join: Join, wamp_router: DevRouter) -> None:
    app, wamp = join(wamp_router.url)
    app.add_url_rule("/wamp/health", view_func=wamp.health_view)
    response = app.test_client().get("/wamp/health")
    assert response.status_code == 200
    assert response.json == wamp.health()


def test_the_view_while_not_joined(make_app: MakeApp) -> None:
    app = make_app(WAMP_ROUTER_URL=f"tcp://127.0.0.1:{free_port()}", WAMP_AUTOSTART=False)
    wamp = FlaskWAMP(app)
    app.add_url_rule("/wamp/health", view_func=wamp.health_view)
    response = app.test_client().get("/wamp/health")
    assert response.status_code == 503
    assert response.json is not None
    assert response.json["joined"] is False


def test_reconnects_are_counted(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    wamp.callee("com.example.add")(lambda a, b: a + b)
    session_id, since = wamp.client.session_id, wamp.health()["joined_since"]
    peer.call("wamp.session.kill", session_id)
    eventually(lambda: wamp.client.session_id not in (None, session_id), PATIENCE)
    wamp.client.wait_until_joined(PATIENCE)
    health = wamp.health()
    assert health["reconnects"] == 1
    assert health["procedures"] == {"registered": 1, "refused": {}}
    assert health["joined_since"] >= since


def test_running_calls_are_counted(wamp: FlaskWAMP, peer: AutobahnPeer, gate: Gate) -> None:
    wamp.callee("com.example.wait", concurrency=1)(gate.wait)
    calls = [peer.submit("com.example.wait") for _ in range(3)]
    gate.wait_for(1)
    eventually(lambda: wamp.health()["in_hand"] == {"running": 1, "waiting": 2})
    gate.open()
    for call in calls:
        call.wait()
    eventually(lambda: wamp.health()["in_hand"] == {"running": 0, "waiting": 0})


def test_dropped_events(join: Join, wamp_router: DevRouter, peer: AutobahnPeer, gate: Gate) -> None:
    dropped: queue.SimpleQueue[dict[str, t.Any]] = queue.SimpleQueue()
    app, wamp = join(wamp_router.url, WAMP_EVENT_QUEUE=2)
    wamp.subscriber("com.example.news")(lambda number: gate.wait())
    wamp.subscriber("com.example.other")(lambda: None)

    def on_dropped(sender: Flask, **payload: t.Any) -> None:
        dropped.put(payload)

    with event_dropped.connected_to(on_dropped, sender=app):
        peer.publish("com.example.news", 0)
        gate.wait_for(1)
        for number in range(1, 6):  # two wait, three are dropped
            peer.publish("com.example.news", number)
        eventually(lambda: wamp.health()["topics"]["dropped"] == {"com.example.news": 3})
        payload = dropped.get(timeout=PATIENCE)
    assert payload == {"topic": "com.example.news", "count": 1, "realm": "realm1"}
    gate.open()


@pytest.fixture
def refused() -> t.Iterator[queue.SimpleQueue[tuple[Flask, dict[str, t.Any]]]]:
    """The payloads of ``registration_refused``."""
    said: queue.SimpleQueue[tuple[Flask, dict[str, t.Any]]] = queue.SimpleQueue()

    def on_refused(sender: Flask, **payload: t.Any) -> None:
        said.put((sender, payload))

    with registration_refused.connected_to(on_refused):
        yield said


def test_a_procedure_that_another_app_holds(
    join: Join,
    wamp_router: DevRouter,
    peer: AutobahnPeer,
    refused: queue.SimpleQueue[tuple[Flask, dict[str, t.Any]]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged once, signalled, retried and visible; the others are served meanwhile."""
    held = peer.register("com.example.mine", options={"invoke": "single"})

    def declare(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.mine", invoke="single")(lambda: "mine")
        wamp.callee("com.example.other")(lambda: "other")

    app, wamp = join(wamp_router.url, declare)
    assert peer.call("com.example.other").value == "other"
    health = wamp.health()
    assert health["joined"] is True
    assert health["procedures"]["registered"] == 1
    assert "procedure_already_exists" in health["procedures"]["refused"]["com.example.mine"]
    sender, payload = refused.get(timeout=PATIENCE)
    assert sender is app
    error = payload.pop("error")
    assert isinstance(error, ApplicationError)
    assert error.uri == "wamp.error.procedure_already_exists"
    assert payload == {"uri": "com.example.mine", "realm": "realm1"}

    held.unregister()
    eventually(lambda: wamp.health()["procedures"] == {"registered": 2, "refused": {}}, PATIENCE)
    assert peer.call("com.example.mine").value == "mine"
    assert refused.empty()
    errors = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert len(errors) == 1
    assert "com.example.mine was refused" in errors[0].getMessage()


# Each phase of a client.


def facts(wamp: FlaskWAMP) -> tuple[t.Any, ...]:
    """Check that the state, the registrations and the response of the view agree."""
    found, (view, status) = wamp.health(), wamp.health_view()
    assert view["joined"] is (status == 200)
    absent = [
        found[key] is None for key in ("joined_since", "session_id", "transport", "serializer")
    ]
    assert absent == [not found["joined"]] * 4
    failed = found["failure"] is not None
    counts = found["procedures"]["registered"], found["topics"]["subscribed"]
    return found["joined"], failed, *counts, found["reconnects"]


def test_every_phase(
    make_app: MakeApp, wamp_router: DevRouter, peer: AutobahnPeer, caplog: t.Any
) -> None:
    with Impostor(b"") as silent:  # a port that is free afterwards
        port = silent.port
    url = f"tcp://127.0.0.1:{port}"
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_RECONNECT_MAX=0.1))
    for match in ("exact", "prefix", "wildcard"):
        wamp.callee("com.example.same", match=match)(lambda: "here")
        wamp.subscriber("com.example.same", match=match)(lambda: None)
    assert facts(wamp) == (False, False, 0, 0, 0)  # before the start

    with socket.create_server(("127.0.0.1", port)):
        wamp.start()
        assert facts(wamp) == (False, False, 0, 0, 0)  # connecting to a silent server
    eventually(lambda: wamp.health()["failure"])
    assert facts(wamp) == (False, True, 0, 0, 0)

    with Forwarder(wamp_router.rawsocket_url, port) as line:
        wamp.client.wait_until_joined(PATIENCE)
        assert facts(wamp) == (True, False, 3, 3, 0)
        assert peer.call("wamp.session.get", wamp.health()["session_id"]).value
    line.cut()
    eventually(lambda: wamp.health()["failure"])
    assert facts(wamp) == (False, True, 0, 0, 1)  # lost

    held = peer.register("com.example.same", options={"invoke": "single"})
    with Forwarder(wamp_router.rawsocket_url, port) as line:
        wamp.client.wait_until_joined(PATIENCE)
        assert facts(wamp) == (True, False, 2, 3, 1)  # refused
        assert list(wamp.health()["procedures"]["refused"]) == ["com.example.same"]
        wamp.stop()
        line.cut()
    held.unregister()
    assert facts(wamp) == (False, False, 0, 0, 0)  # stopped
    assert wamp.health()["procedures"]["refused"] == {}
    assert len([r for r in caplog.records if "was refused" in r.getMessage()]) == 1


def test_no_procedure_counts_as_refused_after_a_lost_session(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    """A registration that was refused in an ended session is requested again."""
    held = peer.register("com.example.mine", options={"invoke": "single"})
    with Forwarder(wamp_router.rawsocket_url) as line:
        _, wamp = join(line.url, lambda wamp: wamp.callee("com.example.mine")(lambda: 1))
        assert wamp.health()["procedures"]["refused"]
        line.cut()
        eventually(lambda: not wamp.health()["joined"])
        assert wamp.health()["procedures"]["refused"] == {}
        wamp.stop()
    held.unregister()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("signalled", [False, True], ids=["idle", "after events were dropped"])
def test_a_forked_child_is_not_joined(wamp_router: DevRouter, signalled: bool) -> None:
    code = FORKED.replace("DROP", str(signalled))
    assert script(code, silent=False, URL=wamp_router.rawsocket_url) == {
        "child": [False, None, None, 0, {}, 0, 0, {}, 503],
        "parent": [True, 1, 200],
    }


FORKED = """
import json, os, warnings
warnings.simplefilter("ignore")
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.update(WAMP_ROUTER_URL=os.environ["URL"], WAMP_EVENT_QUEUE=1, WAMP_WORKERS=1)
wamp = FlaskWAMP(app)
wamp.callee("com.forked.here")(lambda: "here")
wamp.subscriber("com.forked.news")(lambda: __import__("time").sleep(0.5))
wamp.start()
wamp.client.wait_until_joined(20)
if DROP:
    publish = wamp.client.with_options(exclude_me=False, acknowledge=True).publish
    for _ in range(6):
        publish("com.forked.news")
    wamp.client.call("wamp.session.count")
    assert wamp.health()["topics"]["dropped"]
read, write = os.pipe()
if not os.fork():
    found, (_, status) = wamp.health(), wamp.health_view()
    said = [found[key] for key in ("joined", "session_id", "failure", "reconnects")]
    said += [found["procedures"]["refused"], found["procedures"]["registered"]]
    said += [found["topics"]["subscribed"], found["topics"]["dropped"], status]
    os.write(write, json.dumps(said).encode())
    os._exit(0)
os.wait()
found, (_, status) = wamp.health(), wamp.health_view()
child = json.loads(os.read(read, 10000))
parent = [found["joined"], found["procedures"]["registered"], status]
wamp.stop()
print(json.dumps({"child": child, "parent": parent}))
"""
