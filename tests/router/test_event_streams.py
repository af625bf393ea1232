"""Streams of events on the real router, with autobahn as the publisher."""

from __future__ import annotations

import contextlib
import queue
import typing as t
import urllib.request
from pathlib import Path

import pytest
from flask import Flask, g

from flask_wamp import FlaskWAMP
from flask_wamp.client.event_stream import EventStream
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer, RemoteError
from tests.support.served import Served

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter
    from flask_wamp.testing import MakeRouter

pytestmark = pytest.mark.router

TOPIC = "com.example.stream"


def values(events: EventStream, count: int) -> list[t.Any]:
    """Return the values of the next events."""
    return [events.next(PATIENCE).args[0] for _ in range(count)]


def subscribers(peer: AutobahnPeer, topic: str = TOPIC) -> int:
    """Return the number of subscribers of a topic at the router."""
    subscription = peer.call("wamp.subscription.lookup", topic).value
    try:
        count: int = peer.call("wamp.subscription.count_subscribers", subscription).value
    except RemoteError as error:
        assert error.uri in ("wamp.error.no_such_subscription", "wamp.error.invalid_argument"), (
            error
        )
        return 0
    return count


def test_all_streams_share_a_subscription(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    with contextlib.ExitStack() as stack:
        streams = [stack.enter_context(wamp.client.events(TOPIC)) for _ in range(20)]
        publication = peer.publish(TOPIC, 1, b"\x00\xff", a={"b": None})
        for events in streams:
            event = events.next(PATIENCE)
            assert (event.args, event.kwargs) == ([1, b"\x00\xff"], {"a": {"b": None}})
            assert (event.topic, event.publication) == (TOPIC, publication)
            assert event.publisher == peer.session_id
        assert subscribers(peer) == 1
    eventually(lambda: subscribers(peer) == 0)


def test_retained_events_and_a_subscriber_of_the_app(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    topic = f"{TOPIC}.retained"
    peer.publish(topic, "kept", options={"retain": True})
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp.client.subscribe(seen.put, topic, get_retained=True)
    assert seen.get(timeout=PATIENCE) == "kept"
    plain = wamp.client.events(topic)
    for number in range(3):
        with wamp.client.events(topic, get_retained=True) as events:
            event = events.next(PATIENCE)
            assert (event.args, event.retained) == (["kept"], True)
            peer.publish(topic, number)
            assert values(events, 1) == [number]
    assert values(plain, 3) == [seen.get(timeout=PATIENCE) for _ in range(3)] == [0, 1, 2]
    plain.close()
    assert subscribers(peer, topic) == 1
    wamp.client.unsubscribe(topic)
    assert subscribers(peer, topic) == 0
    peer.publish(topic, None, options={"retain": True})


def test_own_events_arrive_with_exclude_me_off(wamp: FlaskWAMP) -> None:
    with wamp.client.events(TOPIC) as events:
        wamp.client.publish(TOPIC, 1)
        wamp.client.with_options(exclude_me=False).publish(TOPIC, 2)
        assert values(events, 1) == [2]


@pytest.mark.parametrize("match", ["prefix", "wildcard"])
def test_patterns(wamp: FlaskWAMP, peer: AutobahnPeer, match: str) -> None:
    pattern = {"prefix": f"{TOPIC}.x", "wildcard": "com.example..x1"}[match]
    with wamp.client.events(pattern, match=match) as events:
        peer.publish(f"{TOPIC}.x1", 1)
        event = events.next(PATIENCE)
        assert (event.topic, event.args) == (f"{TOPIC}.x1", [1])


def test_a_handler_that_streams_events_to_autobahn(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee("com.example.watch")
    def watch() -> t.Any:
        with g.wampy.events(TOPIC) as events:
            yield "ready"
            for event in events:
                yield event.args[0]

    call = peer.submit("com.example.watch", progress=True)
    assert call.progress() == "ready"
    for number in range(3):
        peer.publish(TOPIC, number)
        assert call.progress() == number
    call.cancel()
    eventually(lambda: subscribers(peer) == 0)


@pytest.mark.slow
def test_streams_continue_after_a_restart_of_the_router(
    join: t.Callable[..., tuple[Flask, FlaskWAMP]], make_wamp_router: MakeRouter
) -> None:
    router = make_wamp_router()
    app, wamp = join(router.rawsocket_url)
    app.add_url_rule("/events", view_func=lambda: g.wampy.events(TOPIC))
    response = app.test_client().get("/events", buffered=False)
    lines = response.iter_encoded()
    next(lines)
    with wamp.client.events(TOPIC) as events:
        router.restart()
        assert next(lines) == b"event: gap\ndata: 1\n\n"
        with AutobahnPeer(router.rawsocket_url) as peer:
            peer.publish(TOPIC, "back")
        assert values(events, 1) == ["back"]
        assert b'data: "back"\n' in next(lines)
        assert events.gaps == 1
    response.close()


APP = """
from flask import Flask, g
from flask_wamp import FlaskWAMP

app = Flask(__name__)
app.config.from_prefixed_env()
wamp = FlaskWAMP(app)
app.add_url_rule("/health", view_func=wamp.health_view)

@wamp.callee("com.shop.who")
def who():
    return {"pid": 1}

@app.get("/events")
def events():
    return g.wampy.events("com.example.stream")
"""

SERVERS = {
    "flask": ["flask", "--app", "{app}", "run", "--port", "{port}"],
    "gunicorn sync": ["gunicorn", "--bind", "127.0.0.1:{port}", "sse_app:app"],
    "gunicorn threads": ["gunicorn", "--threads", "4", "--bind", "127.0.0.1:{port}", "sse_app:app"],
    "gunicorn gevent": ["gunicorn", "-k", "gevent", "--bind", "127.0.0.1:{port}", "sse_app:app"],
    "waitress": ["waitress", "--listen", "127.0.0.1:{port}", "sse_app:app"],
    "worker": [
        "flask",
        "--app",
        "{app}",
        "wamp",
        "worker",
        "--gevent",
        "--http",
        "127.0.0.1:{port}",
    ],
}


@pytest.mark.slow
@pytest.mark.parametrize("server", SERVERS)
def test_no_server_waits_for_open_streams(
    server: str, wamp_router: DevRouter, peer: AutobahnPeer, tmp_path: Path
) -> None:
    if server == "waitress":
        pytest.importorskip("waitress")
    app = tmp_path / "sse_app.py"
    app.write_text(APP)
    command = [each.replace("{app}", str(app)) for each in SERVERS[server]]
    environ = {"FLASK_WAMP_ROUTER_URL": wamp_router.url, "PYTHONPATH": f"{tmp_path}:{_path()}"}
    with Served(command, wamp_router.url, tmp_path / "log", **environ) as served:
        served.workers(peer)
        url = f"http://127.0.0.1:{served.port}/events"
        with urllib.request.urlopen(url, timeout=PATIENCE) as response:
            assert response.readline() == b": \n"
            assert response.readline() == b"\n"
            peer.publish(TOPIC, 1)
            assert [response.readline() for _ in range(3)][1:] == [b"data: 1\n", b"\n"]
            served.process.terminate()
            assert response.read() == b"", served.log
            assert served.process.wait(PATIENCE) is not None  # far less than any graceful timeout
        assert "Traceback" not in served.log, served.log
        assert "still running" not in served.log, served.log
    eventually(lambda: subscribers(peer) == 0)


def _path() -> str:
    return str(Path(__file__).parents[2])
