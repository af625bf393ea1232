"""The stop: accept no more work, finish running work, send GOODBYE. And a new start."""

from __future__ import annotations

import threading
import typing as t

import pytest

from flask_wamp import FlaskWAMP, NotJoined
from flask_wamp.protocol import messages as m
from flask_wamp.servers import lifecycle
from tests.app.conftest import Serve
from tests.conftest import eventually, our_threads
from tests.support.memory import TIMEOUT, MemoryRouter


def test_registrations_and_subscriptions_are_removed_before_goodbye(
    serve: Serve, router: MemoryRouter
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".a")(lambda: None)
        wamp.callee(".b")(lambda: None)
        wamp.subscriber(".c")(lambda: None)

    _, wamp = serve(setup)
    count = len(router.messages)
    wamp.stop()
    kinds = [type(message) for message in router.messages[count:]]
    assert sorted(kinds[:-1], key=str) == [m.Unregister, m.Unregister, m.Unsubscribe]
    assert kinds[-1] is m.Goodbye
    assert router.transports == []
    assert not wamp.client.joined
    eventually(lambda: not our_threads())


def test_stop_waits_until_everything_is_unregistered(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".a")(lambda: None)
        wamp.callee(".b")(lambda: None)
        wamp.subscriber(".c")(lambda: None)

    def hold_first(transport: object, message: m.Message) -> bool:
        return router.sent(m.Unregister) == [message]

    monkeypatch.setattr("flask_wamp.peer.registrar.PATIENCE", TIMEOUT)
    _, wamp = serve(setup, WAMP_DRAIN_TIMEOUT=TIMEOUT)
    router.script = hold_first
    connection = wamp.client.peer.connection  # type: ignore[union-attr]
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    router.wait_for(m.Unsubscribe)
    eventually(lambda: len(connection.session._pending) == 1)  # type: ignore[union-attr]
    assert router.sent(m.Goodbye) == []
    router.send(m.Unregistered(router.sent(m.Unregister)[0].request_id))
    stopping.join(TIMEOUT)
    assert type(router.messages[-1]) is m.Goodbye


def test_running_call_is_answered_before_goodbye(serve: Serve, router: MemoryRouter) -> None:
    began, gate = threading.Event(), threading.Event()

    def slow() -> str:
        began.set()
        assert gate.wait(TIMEOUT)
        return "answered"

    _, wamp = serve(lambda wamp: wamp.callee(".slow")(slow))
    answer = router.invoke("com.example.slow")
    assert began.wait(TIMEOUT)
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    router.wait_for(m.Unregister)
    assert router.sent(m.Goodbye) == []
    gate.set()
    stopping.join(TIMEOUT)
    assert answer.result(TIMEOUT).args == ["answered"]
    assert type(router.messages[-1]) is m.Goodbye


def test_stop_does_not_wait_forever_for_a_handler(serve: Serve, router: MemoryRouter) -> None:
    began, gate = threading.Event(), threading.Event()

    def slow() -> None:
        began.set()
        assert gate.wait(TIMEOUT)

    _, wamp = serve(lambda wamp: wamp.callee(".slow")(slow), WAMP_DRAIN_TIMEOUT=0.05)
    router.invoke("com.example.slow")
    assert began.wait(TIMEOUT)
    wamp.stop()
    assert type(router.messages[-1]) is m.Goodbye
    gate.set()


def test_call_that_waits_in_a_handler_is_still_answered(serve: Serve, router: MemoryRouter) -> None:
    held = router.hold("com.example.inner")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".outer")(lambda: wamp.client.call("com.example.inner"))

    _, wamp = serve(setup)
    answer = router.invoke("com.example.outer")
    call = held.get(timeout=TIMEOUT)
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    router.wait_for(m.Unregister)
    call.answer("inner")
    stopping.join(TIMEOUT)
    assert answer.result(TIMEOUT).args == ["inner"]


def test_stopping_twice_and_before_the_start(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    wamp.stop()
    wamp.stop()
    assert len(router.sent(m.Goodbye)) == 1


def test_stopping_a_client_that_was_never_started(make_app: t.Any, router: MemoryRouter) -> None:
    wamp = FlaskWAMP(make_app())
    wamp.stop()
    assert router.attempts == 0
    assert our_threads() == []


def test_start_again(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(".x")(lambda: "x"))
    for count in range(2, 5):
        wamp.stop()
        wamp.start()
        wamp.client.wait_until_joined(TIMEOUT)
        assert router.attempts == count
        assert router.call("com.example.x") == "x"


def test_starting_twice_connects_once(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    threads = [threading.Thread(target=wamp.start) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.attempts == 1


def test_starting_at_once_from_many_threads_connects_once(
    make_app: t.Any, router: MemoryRouter
) -> None:
    wamp = FlaskWAMP(make_app())
    barrier = threading.Barrier(10)

    def start() -> None:
        barrier.wait(TIMEOUT)
        wamp.client.wait_until_joined(TIMEOUT)

    threads = [threading.Thread(target=start) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert router.attempts == 1


def test_stopping_while_it_connects(make_app: t.Any, router: MemoryRouter) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app(WAMP_CONNECT_TIMEOUT=0.2))
    wamp.start()
    router.wait_for(m.Hello)
    wamp.stop()
    eventually(lambda: not our_threads())
    with pytest.raises(NotJoined, match="stopped"):
        wamp.client.call("com.example.x")


def test_stopping_while_the_router_is_away(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    router.down = True
    router.drop()
    router.wait_for_attempts(2)
    wamp.stop()
    eventually(lambda: not our_threads())


def test_stopping_by_a_handler(serve: Serve, router: MemoryRouter) -> None:
    done = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.subscriber(".shutdown")
        def shutdown() -> None:
            wamp.stop()
            done.set()

    serve(setup)
    router.publish("com.example.shutdown")
    assert done.wait(TIMEOUT)
    assert type(router.messages[-1]) is m.Goodbye
    eventually(lambda: not our_threads())


def test_client_as_a_context_manager(make_app: t.Any, router: MemoryRouter) -> None:
    wamp = FlaskWAMP(make_app())
    with wamp.client as client:
        assert client is wamp.client
        assert client.joined
        assert client.session is not None
        assert client.session.id == client.session_id
    assert not client.joined
    assert client.session is None


def test_waiting_for_a_session_that_does_not_join(make_app: t.Any, router: MemoryRouter) -> None:
    router.down = True
    wamp = FlaskWAMP(make_app(WAMP_CONNECT_TIMEOUT=0.05))
    for timeout in (0.01, None):
        with pytest.raises(NotJoined, match="Connection refused"):
            wamp.client.wait_until_joined(timeout)


def test_waiting_ends_when_it_is_stopped(make_app: t.Any, router: MemoryRouter) -> None:
    router.down = True
    wamp = FlaskWAMP(make_app())
    errors: list[Exception] = []

    def wait() -> None:
        try:
            wamp.client.wait_until_joined(TIMEOUT)
        except NotJoined as error:
            errors.append(error)

    waiting = threading.Thread(target=wait)
    waiting.start()
    router.wait_for_attempts(1)
    wamp.stop()
    waiting.join(TIMEOUT)
    assert "stopped" in str(errors[0])


def test_states_of_the_client(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(".x")(lambda: None))
    client = wamp.client
    assert client.realm == "realm1"
    assert client.url == "ws://router.in.memory/ws"
    assert client.call_timeout == 10
    assert client.name == "tests"
    assert list(client.registration_map) == ["com.example.x"]
    assert client.subscription_map == {}
    assert repr(client) == f"<Client 'tests' realm 'realm1' session {client.session_id}>"
    wamp.stop()
    assert repr(client) == "<Client 'tests' realm 'realm1' not joined>"


# The stop ends within the server's timeout.


@pytest.mark.parametrize(
    ("grace", "restarting", "linger", "drain"),
    [
        (None, False, 2.0, 10.0),
        (None, True, 30.0, 10.0),
        (100.0, True, 30.0, 10.0),
        (30.0, False, 2.0, 10.0),
        (30.0, True, 9.0, 10.0),
        (10.0, True, 3.0, 6.0),
        (2.0, False, 0.6, 1.2),
        (1.0, True, 0.3, 0.6),
    ],
)
def test_linger_and_drain_stay_below_the_servers_timeout(
    make_app: t.Any, grace: float | None, restarting: bool, linger: float, drain: float
) -> None:
    client = FlaskWAMP(make_app(WAMP_AUTOSTART=False)).client
    client.start_policy.serves = False  # only what it would send
    client.start_policy.linger, client.start_policy.linger_at_restart = 2.0, 30.0
    lifecycle.start(client, grace=grace, restarting=lambda: restarting)
    assert client.start_policy.limits(10.0) == pytest.approx((linger, drain))
    if grace is not None:
        assert sum(client.start_policy.limits(10.0)) <= 0.9 * grace + 1e-9


def test_a_stop_ends_before_the_servers_timeout(serve: Serve, router: MemoryRouter) -> None:
    gate, entered = threading.Event(), threading.Event()

    def slow() -> None:
        entered.set()
        gate.wait(TIMEOUT)

    _, wamp = serve(lambda wamp: wamp.callee(".slow")(slow), WAMP_DRAIN_TIMEOUT=1000)
    lifecycle.start(wamp.client, grace=0.2)
    router.invoke("com.example.slow")
    assert entered.wait(TIMEOUT)
    wamp.stop()  # the test's own limit is far below WAMP_DRAIN_TIMEOUT
    assert len(router.sent(m.Goodbye)) == 1
    gate.set()
