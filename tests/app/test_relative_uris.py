"""URIs that begin with a dot are relative to ``WAMP_URI_PREFIX``, everywhere."""

from __future__ import annotations

import typing as t

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP, InvalidURI
from flask_wamp.client.client import Client
from flask_wamp.client.testaments import ADD
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter


@pytest.fixture
def client(serve: Serve, router: MemoryRouter) -> Client:
    router.register("com.example.add", lambda *args: sum(args))
    router.register(ADD, lambda *args: 1)
    return serve()[1].client


@pytest.mark.parametrize(
    "add",
    [
        lambda client: client.call(".add", 1, 2),
        lambda client: client.with_options(timeout=5).call(".add", 1, 2),
        lambda client: client.submit(".add", 1, 2).result(),
        lambda client: list(client.stream(".add", 1, 2))[-1],
        lambda client: client.call("com.example.add", 1, 2),
    ],
)
def test_calls(client: Client, add: t.Callable[[Client], int]) -> None:
    assert add(client) == 3


@pytest.mark.parametrize("options", [{}, {"acknowledge": True}, {"best_effort": True}])
def test_publications(client: Client, router: MemoryRouter, options: t.Any) -> None:
    client.with_options(**options).publish(".news", 1)
    client.publish(topic=".news", message=1)
    router.wait_for(m.Publish, 2)
    assert [message.topic for message in router.sent(m.Publish)] == ["com.example.news"] * 2


def test_streams_of_events(client: Client, router: MemoryRouter) -> None:
    with client.events(".news") as events, client.events(".", match="prefix"):
        assert router.topics == {"com.example.news", "com.example."}
        assert events.topic == "com.example.news"


def test_testaments(client: Client) -> None:
    assert client.testament(".gone").topic == "com.example.gone"


def test_at_run_time(client: Client, router: MemoryRouter) -> None:
    client.register(lambda: 1, ".one")
    client.subscribe(lambda: None, ".news")
    assert (router.procedures, router.topics) == ({"com.example.one"}, {"com.example.news"})
    client.unregister(".one")
    client.unsubscribe(".news")
    eventually(lambda: not (router.procedures or router.topics))


def test_error_uris(serve: Serve, router: MemoryRouter) -> None:
    class Declared(ApplicationError):
        uri = ".error.declared"

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee(".fail")
        def fail(how: int) -> None:
            raise [ApplicationError(".error.sold_out", "tea"), Declared("tea")][how]

    serve(setup)
    for how, uri in enumerate(["com.example.error.sold_out", "com.example.error.declared"]):
        with pytest.raises(ApplicationError) as info:
            router.call("com.example.fail", how)
        assert (info.value.uri, info.value.args) == (uri, ("tea",))


def test_without_a_prefix(router: MemoryRouter) -> None:
    app = Flask("tests")
    app.config["TESTING"] = True
    app.config["WAMP_ROUTER_URL"] = "ws://127.0.0.1:8080/ws"
    wamp = FlaskWAMP(app)
    router.register("add", lambda: 1)
    assert wamp.client.call(".add") == 1
    with pytest.raises(InvalidURI):
        wamp.client.call("..add")
    wamp.stop()
