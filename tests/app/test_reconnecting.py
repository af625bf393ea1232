"""After a lost connection, waiting calls fail at once, and the next session serves the same."""

from __future__ import annotations

import concurrent.futures
import logging
import threading
import typing as t

import pytest

from flask_wamp import FlaskWAMP, NotJoined, SessionLost, invocation
from flask_wamp.peer.settings import PeerSettings
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

ADD, TOPIC = "com.example.add", "com.example.topic"


def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.fixture
def threads() -> t.Iterator[concurrent.futures.ThreadPoolExecutor]:
    """Threads to wait in."""
    with concurrent.futures.ThreadPoolExecutor(20) as executor:
        yield executor


Threads = concurrent.futures.ThreadPoolExecutor

# Waiting calls.


def test_waiting_calls_fail_at_once(serve: Serve, router: MemoryRouter, threads: Threads) -> None:
    client = serve()[1].client
    router.hold(ADD)
    waiting = [threads.submit(client.call, ADD, number) for number in range(5)]
    futures = [client.submit(ADD) for _ in range(5)]
    router.wait_for(m.Call, 10)
    router.silent = True
    waiting.append(threads.submit(client.with_options(acknowledge=True).publish, TOPIC))
    waiting.append(threads.submit(client.register, add, ".new"))
    waiting.append(threads.submit(client.subscribe, add, ".new"))
    for kind in (m.Publish, m.Register, m.Subscribe):
        router.wait_for(kind)
    router.drop()
    for future in [*waiting, *futures]:
        with pytest.raises(SessionLost, match="before an answer came"):
            future.result(TIMEOUT)


def test_handler_that_waits_for_a_call_gets_the_error(serve: Serve, router: MemoryRouter) -> None:
    errors: list[BaseException | None] = []

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def outer() -> None:
            try:
                wamp.client.call("com.example.inner")
            except SessionLost as error:
                errors.append(error)

    serve(setup)
    held = router.hold("com.example.inner")
    router.invoke("com.example.outer")
    held.get(timeout=TIMEOUT)
    router.drop()
    eventually(lambda: len(errors) == 1)


def test_nothing_is_sent_a_second_time(serve: Serve, router: MemoryRouter) -> None:
    client = serve()[1].client
    router.hold(ADD)
    future = client.submit(ADD)
    router.wait_for(m.Call)
    router.drop()
    with pytest.raises(SessionLost):
        future.result(TIMEOUT)
    router.wait_for(m.Hello, 2)
    client.wait_until_joined(TIMEOUT)
    assert len(router.sent(m.Call)) == 1


def test_late_answer_of_the_old_session_answers_nothing(serve: Serve, router: MemoryRouter) -> None:
    client = serve()[1].client
    held = router.hold(ADD)
    lost = client.submit(ADD)
    old = held.get(timeout=TIMEOUT)
    router.drop()
    with pytest.raises(SessionLost):
        lost.result(TIMEOUT)
    client.wait_until_joined(TIMEOUT)
    future = client.submit(ADD)
    new = held.get(timeout=TIMEOUT)
    assert [call.request_id for call in router.sent(m.Call)] == [1, 1]  # ids begin at 1 again
    old.answer("of the old session")
    new.answer("of the new session")
    assert future.result(TIMEOUT) == "of the new session"


def test_invocation_of_the_old_session_is_not_answered(serve: Serve, router: MemoryRouter) -> None:
    began, gate, seen = threading.Event(), threading.Event(), []

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def slow() -> str:
            began.set()
            assert gate.wait(TIMEOUT)
            seen.append(invocation.canceled)
            return "nobody is there"

    _, wamp = serve(setup)
    router.invoke("com.example.slow")
    assert began.wait(TIMEOUT)
    router.drop()
    router.wait_for(m.Hello, 2)
    wamp.client.wait_until_joined(TIMEOUT)
    gate.set()
    eventually(lambda: seen == [True])
    assert router.sent(m.Yield) == []


# The next session.


def test_everything_is_registered_and_subscribed_again(serve: Serve, router: MemoryRouter) -> None:
    seen: list[int] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".a", match="prefix", invoke="last")(add)
        wamp.subscriber(".b", get_retained=True)(lambda x: seen.append(x))

    _, wamp = serve(setup)
    client = wamp.client
    wamp.callee(".late")(add)
    client.register(add, ".runtime")
    client.register(add, ".gone")
    client.unregister("com.example.gone")
    sessions = {client.session_id}
    for number in range(3):
        router.drop()
        router.wait_for(m.Hello, number + 2)
        client.wait_until_joined(TIMEOUT)
        sessions.add(client.session_id)
        assert router.procedures == {"com.example.a", "com.example.late", "com.example.runtime"}
        assert router.call("com.example.a.x", number) == number + 1
        router.publish("com.example.b", number)
    eventually(lambda: seen == [0, 1, 2])
    assert len(sessions) == 4
    options = [each.options for each in router.sent(m.Register) if each.procedure.endswith(".a")]
    assert options == [{"match": "prefix", "invoke": "last"}] * 4
    assert [each.options for each in router.sent(m.Subscribe)] == [{"get_retained": True}] * 4


def test_the_client_tries_again_until_the_router_is_back(
    serve: Serve, router: MemoryRouter
) -> None:
    client = serve(lambda wamp: wamp.callee(add), WAMP_RECONNECT_MAX=0.06)[1].client
    router.down = True
    router.drop()
    router.wait_for_attempts(6)
    assert not client.joined
    assert client.session_id is None
    assert client.registration_map == {}
    with pytest.raises(NotJoined, match="Connection refused"):
        client.call(ADD)
    router.down = False
    client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2


def test_pauses_grow_if_the_router_ends_every_session_at_once(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[int] = []

    def delay(settings: PeerSettings, attempts: int) -> float:
        pauses.append(attempts)
        return 0.01

    monkeypatch.setattr("flask_wamp.peer.peer.delay", delay)
    client = serve(lambda wamp: wamp.callee(add), WAMP_RECONNECT_MAX=60)[1].client
    for lost in range(1, 5):
        client.wait_until_joined(TIMEOUT)
        router.drop()
        eventually(lambda lost=lost: len(pauses) == lost)
    assert pauses == [0, 1, 2, 3]


def test_a_router_that_is_not_running_yet_is_not_an_error(
    make_app: t.Any, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    router.down = True
    wamp = FlaskWAMP(make_app(WAMP_RECONNECT_MAX=0.06))
    wamp.callee(add)
    wamp.start()
    router.wait_for_attempts(5)
    said = [record for record in caplog.records if "Connection refused" in record.getMessage()]
    assert len(said) == 1  # once for each reason, not for each attempt
    assert all(record.levelno <= logging.WARNING for record in caplog.records)
    router.down = False
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2


def test_calls_succeed_as_soon_as_the_router_is_back(
    serve: Serve, router: MemoryRouter, threads: Threads
) -> None:
    client = serve()[1].client
    router.register(ADD, add)
    stop = threading.Event()
    outcomes: list[t.Any] = []

    def caller() -> None:
        while not stop.is_set():
            try:
                outcomes.append(client.call(ADD, 1))
            except (SessionLost, NotJoined) as error:
                outcomes.append(type(error))
                stop.wait(0.001)

    callers = [threads.submit(caller) for _ in range(5)]
    for number in range(2, 5):
        router.drop()
        router.wait_for(m.Hello, number)
        eventually(lambda: client.joined)
    stop.set()
    for future in callers:
        future.result(TIMEOUT)
    assert set(outcomes) <= {2, SessionLost, NotJoined}
    assert client.call(ADD, 1) == 2


def test_a_refused_declaration_is_requested_again(serve: Serve, router: MemoryRouter) -> None:
    router.refuse(ADD)
    client = serve(lambda wamp: wamp.callee(add))[1].client
    [declaration] = client.declarations
    assert "not_authorized" in str(declaration.refused)
    router.refused.clear()
    router.drop()
    router.wait_for(m.Register, 2)
    eventually(lambda: declaration.id is not None)
    assert declaration.refused is None
    assert router.call(ADD, 1) == 2


# The heartbeat.


def test_a_session_with_a_silent_router_is_ended(
    serve: Serve, router: MemoryRouter, caplog: t.Any
) -> None:
    client = serve(lambda wamp: wamp.callee(add), WAMP_HEARTBEAT=0.1)[1].client
    router.hold("com.example.held")
    future = client.with_options(timeout=TIMEOUT).submit("com.example.held")
    router.wait_for(m.Call)
    router.silent = True
    with pytest.raises(SessionLost, match=r"was silent for too long \(WAMP_HEARTBEAT\)"):
        future.result(TIMEOUT)
    router.silent = False
    client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2


def test_a_session_with_a_router_that_answers_pings_is_kept(
    serve: Serve, router: MemoryRouter
) -> None:
    serve(WAMP_HEARTBEAT=0.1)
    [transport] = router.transports
    eventually(lambda: transport.pings >= 3)
    assert router.attempts == 1


def test_no_ping_is_sent_to_an_active_router(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.callee(add), WAMP_HEARTBEAT=30)
    [transport] = router.transports
    for number in range(10):
        router.call(ADD, number)
    assert transport.pings == 0
