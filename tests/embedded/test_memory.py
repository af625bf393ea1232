"""``memory:``: apps and peers in one process, through the real core and the real serializers."""

from __future__ import annotations

import os
import threading
import time
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, FlaskWAMP, invocation
from flask_wamp.exceptions import CallTimeout, TransportError
from flask_wamp.protocol.identity import Identity
from flask_wamp.router import RouterSettings
from flask_wamp.router.memory import MemoryRouter
from tests.conftest import eventually
from tests.embedded.memory_peer import Peer

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.mark.parametrize("serializer", ["msgpack", "json", "cbor"])
def test_an_app_receives_its_own_calls_and_events(join: Join, serializer: str) -> None:
    heard: list[t.Any] = []
    has_heard = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.add")
        def add(a: int, b: int) -> dict[str, t.Any]:
            return {"sum": a + b, "caller": invocation.caller, "bytes": b"\x00\xff"}

        @wamp.subscriber("com.example.news")
        def news(text: str) -> None:
            heard.append(text)
            has_heard.set()

    app, _ = join("memory:", setup, WAMP_SERIALIZERS=[serializer])
    with app.app_context():
        answer = g.wampy.call("com.example.add", 1, 2)
        assert answer == {"sum": 3, "caller": g.wampy.session_id, "bytes": b"\x00\xff"}
        options = g.wampy.with_options(acknowledge=True, exclude_me=False)
        assert options.publish("com.example.news", "hello") > 0
        assert has_heard.wait(10)
        assert heard == ["hello"]
        with pytest.raises(ApplicationError) as caught:
            g.wampy.call("com.example.nothing")
        assert caught.value.uri == "wamp.error.no_such_procedure"


def test_each_app_has_a_router_of_its_own(join: Join) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.name")(lambda: "mine")

    one, _ = join("memory:", setup)
    two, _ = join("memory:", name="two")
    with one.app_context():
        assert g.wampy.call("com.example.name") == "mine"
    with two.app_context(), pytest.raises(ApplicationError):
        g.wampy.call("com.example.name")


def test_credentials_for_another_router_are_ignored(join: Join) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.who")
        def who() -> list[str | None]:
            return [invocation.caller_authid, invocation.caller_authrole]

    secrets = {"WAMP_AUTHID": "backend", "WAMP_SECRET": "s3cret", "WAMP_AUTHMETHODS": ["scram"]}
    app, _ = join("memory:", setup, **secrets)
    with app.app_context():
        assert g.wampy.call("com.example.who") == ["backend", "trusted"]


def test_many_threads_call_at_once(join: Join) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.double")
        def double(x: int) -> int:
            return 2 * x

    app, _ = join("memory:", setup)
    answers: dict[int, list[int]] = {}

    def work(number: int) -> None:
        with app.app_context():
            answers[number] = [
                g.wampy.call("com.example.double", number * 100 + each) for each in range(20)
            ]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert answers == {
        number: [2 * (number * 100 + each) for each in range(20)] for number in range(10)
    }


def test_a_call_times_out_without_a_thread_of_the_routers(join: Join) -> None:
    release = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.slow")(lambda: release.wait(30))

    app, _ = join("memory:", setup)
    with app.app_context(), pytest.raises(CallTimeout):
        try:
            g.wampy.with_options(timeout=0.1).call("com.example.slow")
        finally:
            release.set()


def test_an_app_joins_again_when_its_session_is_killed(join: Join) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.name")(lambda: "still here")

    app, wamp = join("memory:", setup, WAMP_RECONNECT_MIN=0.01, WAMP_RECONNECT_MAX=0.01)
    with app.app_context():
        first = g.wampy.session_id
        [realm] = exchange_of(wamp).core.realms.values()
        exchange_of(wamp).run(realm.sessions[first].disconnect)
        eventually(lambda: g.wampy.session_id not in (None, first))
        g.wampy.wait_until_joined(10)
        assert g.wampy.call("com.example.name") == "still here"


def exchange_of(wamp: FlaskWAMP) -> t.Any:
    return wamp._state().own_router.memory._exchange()


# Peers at the transport.


def test_a_peer_joins_with_the_given_identity() -> None:
    router = MemoryRouter()
    welcome = Peer(router, Identity("ann", "member")).join()
    assert [welcome["authid"], welcome["authrole"]] == ["ann", "member"]
    assert Peer(router).join()["authrole"] == "trusted"


def test_rights_apply_to_peers() -> None:
    router = MemoryRouter(authorizer=lambda identity, *asked: identity.authrole == "member")
    for role, code in (("member", 33), ("guest", 8)):
        peer = Peer(router, Identity("ann", role))
        peer.join()
        peer.send(32, 1, {}, "com.example.news")
        assert peer.take()[0] == code


def test_receiving_fails_at_its_deadline() -> None:
    peer = Peer(MemoryRouter())
    peer.join()
    peer.transport.settimeout(time.monotonic() + 0.01)
    with pytest.raises(TransportError):
        peer.transport.receive()
    peer.transport.settimeout(None)
    peer.transport.ping()
    assert peer.transport.receive() == []


def test_a_thread_that_waits_returns_when_the_connection_is_closed() -> None:
    peer, other = (Peer(router) for router in [MemoryRouter()] * 2)
    peer.join()
    other.join()
    received: list[t.Any] = []
    thread = threading.Thread(target=lambda: received.append(peer.transport.receive()))
    thread.start()
    peer.transport.close()
    thread.join(10)
    assert received == [None]
    with pytest.raises(TransportError):
        peer.send(48, 1, {}, "com.example.add")
    other.send(48, 1, {}, "wamp.session.count")
    assert other.take()[3] == [1]


def test_a_timeout_wakes_a_thread_that_waits_for_something_else() -> None:
    router = MemoryRouter()
    caller, callee = Peer(router), Peer(router)
    for peer in (caller, callee):
        peer.join()
    callee.send(64, 1, {}, "com.example.slow")
    assert callee.take()[0] == 65
    interrupted = threading.Event()

    def wait() -> None:
        while callee.take()[0] != 69:
            pass
        interrupted.set()

    thread = threading.Thread(target=wait)
    thread.start()
    caller.send(48, 1, {"timeout": 50}, "com.example.slow")
    assert interrupted.wait(10)
    thread.join(10)
    assert caller.take()[4] == "wamp.error.timeout"


def test_only_a_session_that_does_not_read_is_closed() -> None:
    router = MemoryRouter(RouterSettings(max_unsent=10_000))
    publisher, deaf, other = Peer(router), Peer(router), Peer(router)
    for peer in (publisher, deaf, other):
        peer.join()
    for peer in (deaf, other):
        peer.send(32, 1, {}, "com.example.news")
        assert peer.take()[0] == 33
    for number in range(1, 30):
        publisher.send(16, number, {}, "com.example.news", ["x" * 1000])
        assert other.take()[0] == 36
    assert deaf.transport.receive() is None
    publisher.send(48, 30, {}, "wamp.session.count")
    assert publisher.take()[3] == [2]


def test_the_routers_last_messages_are_read_before_the_end() -> None:
    peer = Peer(MemoryRouter())
    peer.join()
    peer.send(99)
    assert peer.take()[0] == 3
    assert peer.transport.receive() is None


def test_jobs_that_arrive_while_the_router_is_busy_run_afterwards() -> None:
    """A signal handler that stops the app does so."""
    router = MemoryRouter(authorizer=lambda *asked: closing() or True)
    closed: list[None] = []
    peer, other = Peer(router), Peer(router)
    peer.join()
    other.join()

    def closing() -> None:
        if not closed:
            closed.append(other.transport.close())
            assert other.transport._session in router._exchange().core.sessions

    peer.send(48, 1, {}, "wamp.session.count")
    assert peer.take()[3] == [2]
    assert other.transport.receive() is None
    peer.send(48, 2, {}, "wamp.session.count")
    assert peer.take()[3] == [1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_has_an_empty_router_even_if_it_was_busy() -> None:
    router = MemoryRouter()
    peer = Peer(router)
    peer.join()
    with router._exchange().lock:  # as another thread may hold it
        pid = os.fork()
        if not pid:
            code = 1
            try:
                peer.transport.forget()
                peer.transport.close()
                child = Peer(router)
                child.join()
                child.send(48, 1, {}, "wamp.session.count")
                code = 0 if child.take()[3] == [1] else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    peer.send(48, 1, {}, "wamp.session.count")
    assert peer.take()[3] == [1]
