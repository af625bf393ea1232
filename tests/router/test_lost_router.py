"""A router that starts late, ends during a call, restarts, or becomes silent."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import tempfile
import threading
import time
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined, SessionLost, event, invocation
from flask_wamp.crossbar import DevRouter, free_port
from tests.conftest import eventually
from tests.support.nodes import Node
from tests.support.peers import PATIENCE, AutobahnPeer, RemoteError
from tests.support.sockets import Forwarder

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
MakeApp = t.Callable[..., Flask]

SOON = 8.0
"""Seconds within which a loss is noticed. Otherwise a call would wait for ten."""


@pytest.fixture(scope="module")
def mortal(
    router_class: type[DevRouter], tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[DevRouter]:
    """A router for this module, not started yet."""
    with tempfile.TemporaryDirectory(prefix="wamp-") as folder:
        urls = [
            f"ws://127.0.0.1:{free_port()}/ws",
            f"tcp://127.0.0.1:{free_port()}",
            f"unix://{folder}/router.sock",
        ]
        router = router_class(urls, log=tmp_path_factory.mktemp("mortal") / "router.log")
        yield router
        router.stop()


@pytest.fixture
def alive(mortal: DevRouter) -> DevRouter:
    """The same router, started."""
    if not mortal.running:
        mortal.restart()
    return mortal


def serve(wamp: FlaskWAMP, name: str) -> queue.SimpleQueue[t.Any]:
    """Declare procedures and subscriptions with options. Return the queue of the events."""
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    @wamp.callee(f"com.example.{name}.here")
    def here() -> str:
        return name

    @wamp.callee(f"com.example.{name}.all", match="prefix", invoke="single")
    def pattern() -> str:
        return f"all of {name}"

    @wamp.subscriber(f"com.example.{name}")
    def news(text: str) -> None:
        seen.put(text)

    @wamp.subscriber(f"com.example.{name}..news", match="wildcard")
    def any_news(text: str) -> None:
        seen.put((event.topic, text))

    return seen


def assert_served(peer: AutobahnPeer, name: str, seen: queue.SimpleQueue[t.Any]) -> None:
    assert peer.call(f"com.example.{name}.here").value == name
    assert peer.call(f"com.example.{name}.all.of.it").value == f"all of {name}"
    peer.publish(f"com.example.{name}", f"for {name}")
    assert seen.get(timeout=PATIENCE) == f"for {name}"
    peer.publish(f"com.example.{name}.tea.news", "tea")
    assert seen.get(timeout=PATIENCE) == (f"com.example.{name}.tea.news", "tea")


def test_a_router_that_starts_late_is_joined(make_app: MakeApp, mortal: DevRouter) -> None:
    apps = {}
    for name, url in zip(("ws", "tcp", "unix"), mortal.urls, strict=True):
        wamp = FlaskWAMP(make_app(name, WAMP_ROUTER_URL=url))
        apps[name] = (wamp, serve(wamp, name))
        wamp.start()
        with pytest.raises(NotJoined, match=r"Connection refused|No such file"):
            wamp.client.call("com.shop.echo")
    mortal.start()
    mortal.wait_until_ready()
    for wamp, _ in apps.values():
        wamp.client.wait_until_joined(PATIENCE)
    with AutobahnPeer(mortal.rawsocket_url) as peer:
        for name, (_, seen) in apps.items():
            assert_served(peer, name, seen)


def test_waiting_calls_fail_and_registrations_return_after_the_router_was_killed(
    join: Join, alive: DevRouter
) -> None:
    apps = {}
    for name, url in zip(("ws", "tcp", "unix"), alive.urls, strict=True):
        _, wamp = join(url, WAMP_RECONNECT_MAX=0.2)
        wamp.callee("com.example.shared")(lambda name=name: name)
        apps[name] = (wamp, serve(wamp, name))
    first_ids = {wamp.client.session_id for wamp, _ in apps.values()}
    with AutobahnPeer(alive.rawsocket_url) as peer:
        procedure = peer.register("com.shop.slow", "hold")
        calls = [wamp.client.submit("com.shop.slow") for wamp, _ in apps.values()]
        for _ in calls:
            procedure.next()
        lost = _kill_in_the_middle_of_a_call([wamp for wamp, _ in apps.values()], alive, procedure)
        for call in calls:
            assert isinstance(call.exception(SOON), SessionLost)
        assert [type(error) for error in lost] == [SessionLost] * 3
        peer.wait_until_lost()
    for wamp, _ in apps.values():
        started = time.monotonic()
        with pytest.raises((NotJoined, SessionLost)):
            wamp.client.call("com.shop.slow")
        assert time.monotonic() - started < SOON

    alive.start()
    alive.wait_until_ready()
    for wamp, _ in apps.values():
        wamp.client.wait_until_joined(PATIENCE)
        assert wamp.client.session_id not in first_ids
    with AutobahnPeer(alive.rawsocket_url) as peer:
        for name, (_, seen) in apps.items():
            assert_served(peer, name, seen)
        shared = sorted(peer.call("com.example.shared").value for _ in range(6))
        assert shared == ["tcp", "tcp", "unix", "unix", "ws", "ws"]


def _kill_in_the_middle_of_a_call(
    wamps: list[FlaskWAMP], router: DevRouter, procedure: t.Any
) -> list[BaseException]:
    """Check the errors of blocking calls when the router is killed, and that they are raised soon."""
    lost: list[BaseException] = []

    def call(wamp: FlaskWAMP) -> None:
        try:
            wamp.client.call("com.shop.slow")
        except Exception as error:
            lost.append(error)

    threads = [threading.Thread(target=call, args=[wamp]) for wamp in wamps]
    for thread in threads:
        thread.start()
    for _ in threads:
        procedure.next()
    router.kill()
    killed = time.monotonic()
    for thread in threads:
        thread.join(PATIENCE)
    assert time.monotonic() - killed < SOON
    return lost


def test_a_handler_whose_session_is_lost_may_finish(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, caplog: pytest.LogCaptureFixture
) -> None:
    entered, leave = threading.Event(), threading.Event()
    canceled: queue.SimpleQueue[bool] = queue.SimpleQueue()
    with Forwarder(wamp_router.rawsocket_url) as line:
        _, wamp = join(line.url)

        @wamp.callee
        def slow() -> str:
            entered.set()
            assert leave.wait(PATIENCE)
            canceled.put(invocation.canceled)
            return "to nobody"

        call = peer.submit("com.example.slow")
        assert entered.wait(PATIENCE)
        line.cut()
        eventually(lambda: not wamp.client.joined)
        with pytest.raises(RemoteError, match=r"wamp\.error\.canceled"):
            call.wait()
        leave.set()
        assert canceled.get(timeout=PATIENCE) is True
        eventually(lambda: "before com.example.slow was answered" in caplog.text)
        line.mend()
        wamp.client.wait_until_joined(PATIENCE)
        assert peer.call("com.example.slow").value == "to nobody"
        wamp.stop()


def test_calls_without_a_session_fail_at_once(join: Join, wamp_router: DevRouter) -> None:
    with Forwarder(wamp_router.rawsocket_url) as line:
        _, wamp = join(line.url, WAMP_CALL_TIMEOUT=30, WAMP_CONNECT_TIMEOUT=30)
        line.cut()
        eventually(lambda: not wamp.client.joined)
        started = time.monotonic()
        for use in (wamp.client.call, wamp.client.publish, wamp.client.submit):
            with pytest.raises(NotJoined):
                use("com.shop.echo")
        assert time.monotonic() - started < SOON
        wamp.stop()


def test_options_are_restored_too(join: Join, wamp_router: DevRouter, peer: AutobahnPeer) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    peer.publish("com.example.door", "open", options={"retain": True})
    with Forwarder(wamp_router.rawsocket_url) as line:
        _, wamp = join(line.url)

        @wamp.subscriber(get_retained=True)
        def door(state: str) -> None:
            seen.put((state, event.retained))

        assert seen.get(timeout=PATIENCE) == ("open", True)
        line.cut()
        line.mend()
        assert seen.get(timeout=PATIENCE) == ("open", True)
        wamp.stop()


def test_declarations_without_a_session_are_registered_later(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    with Forwarder(wamp_router.rawsocket_url) as line:
        _, wamp = join(line.url)
        gone = serve(wamp, "gone")
        line.cut()
        eventually(lambda: not wamp.client.joined)
        seen = serve(wamp, "late")
        wamp.client.register(lambda: "at run time", "com.example.run")
        wamp.client.unregister("com.example.gone.here")
        line.mend()
        wamp.client.wait_until_joined(PATIENCE)
        assert_served(peer, "late", seen)
        assert peer.call("com.example.run").value == "at run time"
        assert peer.error("com.example.gone.here").uri == "wamp.error.no_such_procedure"
        assert gone.empty()
        wamp.stop()


def test_a_connection_that_breaks_repeatedly(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer
) -> None:
    with Forwarder(wamp_router.rawsocket_url) as line:
        _, wamp = join(line.url, WAMP_RECONNECT_MIN=0.01)
        seen = serve(wamp, "here")
        for _ in range(10):
            session_id = wamp.client.session_id
            line.cut()
            line.mend()
            eventually(lambda old=session_id: wamp.client.session_id not in (None, old))
        wamp.client.wait_until_joined(PATIENCE)
        assert_served(peer, "here", seen)
        wamp.stop()


@contextlib.contextmanager
def _stopped(router: DevRouter) -> t.Iterator[None]:
    """Suspend the router, while its sockets stay open."""
    assert router.pid is not None
    os.killpg(router.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.killpg(router.pid, signal.SIGCONT)


@pytest.mark.parametrize("attribute", ["url", "rawsocket_url", "unix_url"])
def test_a_silent_router_counts_as_lost(join: Join, alive: DevRouter, attribute: str) -> None:
    config = {"WAMP_HEARTBEAT": 0.8, "WAMP_CONNECT_TIMEOUT": 0.3, "WAMP_CALL_TIMEOUT": 30}
    _, wamp = join(getattr(alive, attribute), **config)
    seen = serve(wamp, "here")
    with _stopped(alive):
        started = time.monotonic()
        with pytest.raises(SessionLost, match="silent for too long"):
            wamp.client.call("com.shop.slow")
        assert 0.3 < time.monotonic() - started < SOON
    wamp.client.wait_until_joined(PATIENCE)
    with AutobahnPeer(alive.rawsocket_url) as peer:
        assert_served(peer, "here", seen)


def test_an_idle_session_is_kept(join: Join, alive: DevRouter) -> None:
    # Its heartbeat sends pings all the time, which are answered.
    sessions = {}
    for url in alive.urls:
        _, wamp = join(url, WAMP_HEARTBEAT=0.4)
        sessions[wamp] = wamp.client.session_id
    assert_none_changes(sessions, 1.5)


def test_the_routers_own_pings_are_answered(join: Join, node: Node) -> None:
    _, wamp = join(node.pinging_url, WAMP_HEARTBEAT=60)
    wamp.callee("com.example.here")(lambda: "here")
    assert_none_changes({wamp: wamp.client.session_id}, 3.2)
    with AutobahnPeer(node.pinging_url) as peer:
        assert peer.call("com.example.here").value == "here"


def assert_none_changes(sessions: dict[FlaskWAMP, int | None], seconds: float) -> None:
    """Check that the sessions stay the same."""
    with pytest.raises(AssertionError, match="still not so"):
        eventually(
            lambda: any(wamp.client.session_id != old for wamp, old in sessions.items()), seconds
        )


def test_the_client_joins_again_after_the_routers_goodbye(
    join: Join, alive: DevRouter, caplog: pytest.LogCaptureFixture
) -> None:
    _, wamp = join(alive.url)
    seen = serve(wamp, "here")
    session_id = wamp.client.session_id
    with AutobahnPeer(alive.rawsocket_url) as peer:
        peer.call("wamp.session.kill", session_id, reason="com.example.error.kicked")
        eventually(lambda: wamp.client.session_id not in (None, session_id))
        assert "com.example.error.kicked" in caplog.text
        wamp.client.wait_until_joined(PATIENCE)
        assert_served(peer, "here", seen)
