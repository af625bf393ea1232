"""Registering and subscribing at run time, through the client."""

from __future__ import annotations

import threading
import typing as t

import pytest

from flask_wamp import ApplicationError, FlaskWAMP, InvalidURI
from flask_wamp.client.client import Client
from flask_wamp.peer import registrar
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter
from tests.support.memory_transport import MemoryTransport

ADD, TOPIC = "com.example.add", "com.example.topic"


def add(a: int, b: int = 1) -> int:
    return a + b


@pytest.fixture
def client(serve: Serve) -> Client:
    """A client that has joined."""
    return serve()[1].client


# Procedures.


def test_registered_function_is_called_as_any_handler(client: Client, router: MemoryRouter) -> None:
    client.register(add, ADD)
    assert router.call(ADD, "1", b="2") == 3
    with pytest.raises(ApplicationError, match="invalid_argument"):
        router.call(ADD, "x")


def test_relative_uri_and_options(client: Client, router: MemoryRouter) -> None:
    client.register(add, ".sum", invoke="last", validate=False)
    assert router.call("com.example.sum", 1) == 2
    assert router.sent(m.Register)[0].options == {"invoke": "last"}
    with pytest.raises(ValueError, match="invoke"):
        client.register(add, ".x", invoke="all")
    with pytest.raises(InvalidURI):
        client.register(add, "com..x")


def test_second_registration_of_a_uri_names_both(client: Client) -> None:
    client.register(add, ADD)
    with pytest.raises(
        ValueError, match=r"test_declaring\.add \(.*\) and by .*<lambda> \(.*:\d+\)$"
    ):
        client.register(lambda: None, ADD)


def test_refused_registration_raises_and_is_forgotten(client: Client, router: MemoryRouter) -> None:
    router.refuse(ADD)
    with pytest.raises(ApplicationError, match="wamp.error.not_authorized: 'not today'"):
        client.register(add, ADD)
    assert client.declarations == []
    with pytest.raises(ApplicationError):
        client.register(add, ADD)


def test_unregistering(client: Client, router: MemoryRouter) -> None:
    client.register(add, ADD)
    client.unregister(ADD)
    assert router.procedures == set()
    with pytest.raises(ApplicationError, match="no_such_procedure"):
        router.call(ADD, 1)
    client.register(add, ADD)
    assert router.call(ADD, 1) == 2


def test_unregistering_an_unknown_uri_lists_the_known_ones(client: Client) -> None:
    client.register(add, ADD)
    with pytest.raises(
        ValueError, match=r"'com\.x' is not declared. These are declared: \['com.example.add'"
    ):
        client.unregister("com.x")
    with pytest.raises(ValueError, match="not declared"):
        client.unregister(ADD, match="prefix")


def test_running_call_is_answered_after_unregistering(client: Client, router: MemoryRouter) -> None:
    gate, began = threading.Event(), threading.Event()

    def slow() -> str:
        began.set()
        assert gate.wait(TIMEOUT)
        return "answered"

    client.register(slow, ".slow")
    answer = router.invoke("com.example.slow")
    assert began.wait(TIMEOUT)
    client.unregister("com.example.slow")
    gate.set()
    assert answer.result(TIMEOUT).args == ["answered"]


# Topics.


def test_subscribing_and_unsubscribing(client: Client, router: MemoryRouter) -> None:
    seen: list[t.Any] = []

    def on_topic(x: int) -> None:
        seen.append(x)

    client.subscribe(on_topic, TOPIC)
    router.publish(TOPIC, "1")
    eventually(lambda: seen == [1])
    with pytest.raises(ValueError, match="declared twice"):
        client.subscribe(on_topic, ".topic")
    client.unsubscribe(TOPIC)
    assert router.topics == set()
    with pytest.raises(ValueError, match="not declared"):
        client.unsubscribe(TOPIC)


def test_refused_subscription_raises_and_is_forgotten(client: Client, router: MemoryRouter) -> None:
    router.refuse(TOPIC)
    with pytest.raises(ApplicationError, match="not_authorized"):
        client.subscribe(add, TOPIC)
    assert client.declarations == []


def test_subscriptions_that_share_an_id_at_the_router(serve: Serve, router: MemoryRouter) -> None:
    # Two apps have separate sessions. Here one session has a topic twice, and a router
    # answers with the same subscription id.
    seen: list[str] = []
    _, wamp = serve(lambda wamp: wamp.subscriber(".topic")(lambda: seen.append("first")))
    subscription_id = router.subscription_id(TOPIC)

    def share(transport: MemoryTransport, message: m.Message) -> bool:
        if isinstance(message, m.Subscribe):
            transport.put(m.Subscribed(message.request_id, subscription_id))
        return isinstance(message, m.Subscribe)

    router.script = share
    wamp.client.subscribe(lambda: seen.append("second"), TOPIC, match="prefix")
    first, second = wamp.client.declarations
    assert first.id == second.id
    router.publish(TOPIC)
    eventually(lambda: sorted(seen) == ["first", "second"])
    wamp.client.unsubscribe(TOPIC, match="prefix")
    assert router.sent(m.Unsubscribe) == []
    router.publish(TOPIC)
    eventually(lambda: seen.count("first") == 2)
    assert seen.count("second") == 1


# Without a session.


def test_a_declaration_before_the_start_is_kept(make_app: t.Any, router: MemoryRouter) -> None:
    wamp = FlaskWAMP(make_app())
    wamp.client.register(add, ADD)
    wamp.client.register(add, ".gone")
    wamp.client.subscribe(add, TOPIC)
    wamp.client.unregister("com.example.gone")
    assert router.attempts == 0
    wamp.start()
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.procedures == {ADD}
    assert router.topics == {TOPIC}


def test_a_declaration_while_the_router_is_down_is_kept(serve: Serve, router: MemoryRouter) -> None:
    client = serve(lambda wamp: wamp.callee(".old")(add))[1].client
    router.down = True
    router.drop()
    eventually(lambda: not client.joined)
    client.register(add, ADD)
    client.unregister("com.example.old")
    router.down = False
    client.wait_until_joined(TIMEOUT)
    assert router.procedures == {ADD}


def test_a_handler_may_declare(client: Client, router: MemoryRouter) -> None:
    def install(name: str) -> list[str]:
        client.register(add, f".{name}")
        client.subscribe(add, f".{name}")
        return sorted(client.registration_map)

    client.register(install, ".install")
    assert router.call("com.example.install", "new") == ["com.example.install", "com.example.new"]
    assert router.call("com.example.new", 1) == 2


def test_many_threads_declare_at_once(client: Client, router: MemoryRouter) -> None:
    threads = [
        threading.Thread(target=client.register, args=(add, f".add{number}"))
        for number in range(30)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(TIMEOUT)
    assert len(router.procedures) == 30
    assert [each.request_id for each in router.sent(m.Register)] == list(range(1, 31))


def test_two_threads_wait_for_one_answer(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(WAMP_CALL_TIMEOUT=10 * TIMEOUT, WAMP_DRAIN_TIMEOUT=10 * TIMEOUT)[1].client
    monkeypatch.setattr(registrar, "PATIENCE", 10 * TIMEOUT)
    waits, wait = threading.Event(), registrar._await_acknowledgement

    def noted(*args: t.Any) -> None:
        waits.set()
        wait(*args)

    monkeypatch.setattr(registrar, "_await_acknowledgement", noted)
    router.script = lambda transport, message: isinstance(message, m.Register)
    registering = threading.Thread(target=client.register, args=(add, ADD))
    registering.start()
    asked = router.wait_for(m.Register)
    stopping = threading.Thread(target=client.stop)
    stopping.start()
    assert waits.wait(TIMEOUT)
    router.send(m.Registered(asked.request_id, 77))
    for thread in (registering, stopping):
        thread.join(TIMEOUT)
        assert not thread.is_alive()
