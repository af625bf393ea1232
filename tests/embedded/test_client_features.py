"""The features that a client can use, on the embedded router and through the whole library."""

from __future__ import annotations

import concurrent.futures
import queue
import threading
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, FlaskWAMP, event, invocation
from flask_wamp.exceptions import CallTimeout
from tests.conftest import eventually
from tests.embedded.memory_peer import Peer

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def app_of(join: Join) -> t.Callable[..., Flask]:
    """Create an app that has joined its router in memory."""

    def app_of(setup: t.Callable[[FlaskWAMP], t.Any] = lambda wamp: None, **config: t.Any) -> Flask:
        app, wamp = join("memory:", setup, **config)
        wamp.client.wait_until_joined(10)
        return app

    return app_of


def test_results_are_streamed(app_of: t.Callable[..., Flask]) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.count")
        def count(to: int) -> t.Iterator[int]:
            yield from range(to)
            return "done"

    with app_of(setup).app_context():
        assert list(g.wampy.stream("com.example.count", 3)) == [0, 1, 2, "done"]


def test_closing_a_stream_ends_its_handler(app_of: t.Callable[..., Flask]) -> None:
    ended = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.forever")
        def forever() -> t.Iterator[int]:
            try:
                number = 0
                while True:
                    yield number
                    number += 1
                    ended.wait(0.001)
            finally:
                ended.set()

    with app_of(setup).app_context():
        with g.wampy.stream("com.example.forever") as results:
            assert next(results) == 0
        assert ended.wait(10)


def test_a_call_is_canceled(app_of: t.Callable[..., Flask]) -> None:
    began, was_canceled = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.slow")
        def slow() -> None:
            began.set()
            try:
                while not invocation.canceled:
                    was_canceled.wait(0.001)
            finally:  # a greenlet is ended while it waits
                was_canceled.set()

    with app_of(setup).app_context():
        future = g.wampy.submit("com.example.slow")
        assert began.wait(10)
        future.cancel()
        with pytest.raises(concurrent.futures.CancelledError):
            future.result(10)
        assert was_canceled.wait(10)


def test_a_deadline_reaches_the_handler(app_of: t.Callable[..., Flask]) -> None:
    release = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.slow")(lambda: release.wait(30))

    with app_of(setup).app_context():
        with pytest.raises(CallTimeout):
            g.wampy.with_options(timeout=0.05).call("com.example.slow")
        release.set()


def test_patterns_and_their_parts(app_of: t.Callable[..., Flask]) -> None:
    heard: queue.Queue[tuple[str, int]] = queue.Queue()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.users.<int:user>.name")
        def name(user: int) -> str:
            return f"{invocation.procedure} {user}"

        @wamp.subscriber("com.example.users.<int:user>.news")
        def news(user: int) -> None:
            heard.put((event.topic, user))

    with app_of(setup).app_context():
        assert g.wampy.call("com.example.users.7.name") == "com.example.users.7.name 7"
        g.wampy.with_options(exclude_me=False).publish("com.example.users.8.news")
        assert heard.get(timeout=10) == ("com.example.users.8.news", 8)


def test_a_later_subscriber_gets_the_retained_event(app_of: t.Callable[..., Flask]) -> None:
    heard: queue.Queue[t.Any] = queue.Queue()
    with app_of().app_context():
        options = g.wampy.with_options(retain=True, acknowledge=True, exclude_me=False)
        options.publish("com.example.temperature", 21)
        g.wampy.subscribe(
            lambda degrees: heard.put((degrees, event.retained)),
            "com.example.temperature",
            get_retained=True,
        )
        assert heard.get(timeout=10) == (21, True)


def test_the_meta_api_answers(app_of: t.Callable[..., Flask]) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee("com.example.add")(lambda: 1)
        wamp.subscriber("com.example.", match="prefix")(lambda: None)

    with app_of(setup).app_context():
        meta, own = g.wampy.meta, g.wampy.session_id
        assert meta.sessions.list() == [own] and meta.sessions.count("nobody") == 0
        session = meta.sessions.get(own)
        assert (session.authid, session.authrole) == ("app", "trusted")
        assert session.transport.framing == "memory"
        [registration_id] = meta.registrations.list()
        registration = meta.registrations.get(registration_id)
        assert (registration.uri, registration.invoke) == ("com.example.add", "roundrobin")
        assert registration.created is not None
        assert meta.registrations.list_callees(registration_id) == [own]
        assert meta.subscriptions.match("com.example.news")
        assert (
            meta.subscriptions.get(meta.subscriptions.match("com.example.x")[0]).match == "prefix"
        )


def test_a_testament_is_published(join: Join) -> None:
    _, wamp = join("memory:")
    own_router = wamp._state().own_router
    assert own_router is not None
    heir = Peer(own_router.memory)
    heir.join()
    heir.send(32, 1, {}, "com.example.gone")
    assert heir.take()[0] == 33
    wamp.client.testament("com.example.gone", "app")
    first = wamp.client.session_id
    heir.send(48, 2, {}, "wamp.session.kill", [first])
    kinds = [heir.take(), heir.take()]
    assert sorted(message[0] for message in kinds) == [36, 50]
    assert [message[4] for message in kinds if message[0] == 36] == [["app"]]
    heir.transport.close()


def test_errors_arrive_as_they_were_raised(app_of: t.Callable[..., Flask]) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.fail")
        def fail() -> None:
            raise ApplicationError("com.example.error.sold_out", "tea", left=0)

    with app_of(setup).app_context():
        with pytest.raises(ApplicationError) as caught:
            g.wampy.call("com.example.fail")
        error = caught.value
        assert (error.uri, error.args, error.kwargs) == (
            "com.example.error.sold_out",
            ("tea",),
            {"left": 0},
        )


def test_refusals_are_raised(app_of: t.Callable[..., Flask]) -> None:
    with app_of().app_context():
        for procedure in ("com.example.nothing", "wamp.nothing"):
            with pytest.raises(ApplicationError) as caught:
                g.wampy.call(procedure)
            assert caught.value.uri == "wamp.error.no_such_procedure"


def test_fifty_calls_deep(app_of: t.Callable[..., Flask]) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee("com.example.deep")
        def deep(left: int) -> int:
            return 1 + (g.wampy.call("com.example.deep", left - 1) if left else 0)

    with app_of(setup).app_context():
        assert g.wampy.call("com.example.deep", 50) == 51


def test_many_events_come_in_order(app_of: t.Callable[..., Flask]) -> None:
    heard: list[int] = []

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber("com.example.numbers")(lambda number: heard.append(number))

    with app_of(setup).app_context():
        options = g.wampy.with_options(exclude_me=False)
        for number in range(500):
            options.publish("com.example.numbers", number)
        eventually(lambda: len(heard) == 500)
        assert heard == list(range(500))
