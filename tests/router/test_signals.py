"""Signals: their time, sender and payload. Receivers that fail have no effect."""

from __future__ import annotations

import threading
import typing as t

import pytest
from flask import Flask, current_app, g

from flask_wamp import (
    ApplicationError,
    FlaskWAMP,
    SessionLost,
    WAMPError,
    event,
    invocation,
    signals,
)
from tests.conftest import eventually
from tests.support.notes import Notes, publish
from tests.support.peers import PATIENCE

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter
    from flask_wamp.testing import MakeRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def listen(notes: Notes) -> t.Iterator[t.Callable[..., None]]:
    """Record name, sender and payload of signals of one app or of all apps."""
    connected = []

    def connect(*names: str, sender: Flask | None = None) -> None:
        for name in names:
            signal = getattr(signals, name)

            def receive(app: Flask, name: str = name, **payload: t.Any) -> None:
                assert current_app == app
                notes((name, app, payload))

            connected.append((signal, receive))
            if sender is None:
                signal.connect(receive)
            else:
                signal.connect(receive, sender)

    yield connect
    for signal, receive in connected:
        signal.disconnect(receive)


# The session.


def test_receivers_of_session_joined_call_and_publish(
    make_app: t.Callable[..., Flask], wamp_router: DevRouter, notes: Notes
) -> None:
    app = make_app(WAMP_ROUTER_URL=wamp_router.url)
    wamp = FlaskWAMP(app)
    wamp.callee("com.example.square")(lambda x: x * x)
    wamp.subscriber("com.example.up")(lambda name: notes(name))

    @signals.session_joined.connect_via(app)
    def joined(sender: Flask, **payload: t.Any) -> None:
        notes((sender is app, payload, g.wampy.session_id, g.wampy.rpc.com.example.square(3)))
        g.wampy.with_options(exclude_me=False).publish("com.example.up", name=current_app.name)

    wamp.start()
    ours, payload, session_id, nine = notes.next()
    assert (ours, nine) == (True, 9)
    assert payload.keys() == {"session_id", "realm", "details"}
    assert payload["session_id"] == session_id == wamp.client.session_id
    assert payload["realm"] == wamp_router.realm
    assert payload["details"]["authrole"] == "anonymous"
    assert notes.next() == app.name


def test_session_left_is_sent_when_the_client_stops(
    app: Flask, wamp: FlaskWAMP, listen: t.Any, notes: Notes
) -> None:
    session_id = wamp.client.session_id
    listen("session_left", "session_lost")
    wamp.stop()
    assert notes.rest == [("session_left", app, {"session_id": session_id, "realm": "realm1"})]


@pytest.fixture(scope="module")
def mortal_router(make_wamp_router: MakeRouter) -> DevRouter:
    """A router that may be killed, because no other test uses it."""
    return make_wamp_router()


def test_session_lost_is_sent_and_the_next_session_joined(
    join: Join, mortal_router: DevRouter, listen: t.Any, notes: Notes
) -> None:
    listen("session_joined", "session_left", "session_lost")
    app, wamp = join(mortal_router.url, _add_endless)
    session_id = wamp.client.session_id
    assert notes.next()[2]["session_id"] == session_id
    future = wamp.client.submit("com.example.endless")
    eventually(lambda: wamp.client.call("com.example.entered"))
    mortal_router.kill()
    name, sender, payload = notes.next()
    assert (name, sender) == ("session_lost", app)
    assert isinstance(payload.pop("reason"), WAMPError)
    assert payload == {"session_id": session_id, "realm": "realm1", "unanswered": 1}
    with pytest.raises(SessionLost):
        future.result(PATIENCE)
    mortal_router.start()
    mortal_router.wait_until_ready()
    name, sender, payload = notes.next()
    assert (name, sender) == ("session_joined", app)
    assert payload["session_id"] not in (session_id, None)
    assert wamp.client.call("com.example.entered") is True
    assert notes.rest == []


def _add_endless(wamp: FlaskWAMP) -> None:
    entered = threading.Event()

    @wamp.callee("com.example.endless")
    def endless() -> None:
        entered.set()
        eventually(lambda: invocation.canceled, PATIENCE)

    wamp.callee("com.example.entered")(lambda: entered.is_set())


# Dispatch.

DISPATCH = ("dispatch_started", "dispatch_finished", "dispatch_failed")


def test_a_call_that_succeeds(app: Flask, wamp: FlaskWAMP, listen: t.Any, notes: Notes) -> None:
    listen(*DISPATCH)
    wamp.callee("com.example.square")(lambda x: x * x)
    wamp.client.call("com.example.square", 3)
    (first, sender, started), (second, _, finished) = notes.take(2)
    assert (first, second) == ("dispatch_started", "dispatch_finished")
    assert sender is app
    assert started.keys() == {"message"}
    assert (started["message"].procedure, started["message"].args) == ("com.example.square", [3])
    assert finished == {"message": started["message"], "result": 9}
    assert notes.rest == []


def test_a_call_that_fails(app: Flask, wamp: FlaskWAMP, listen: t.Any, notes: Notes) -> None:
    listen(*DISPATCH)
    wamp.callee("com.example.fail")(lambda: 1 / 0)
    with pytest.raises(ApplicationError):
        wamp.client.call("com.example.fail")
    (first, _, started), (second, sender, failed) = notes.take(2)
    assert (first, second, sender) == ("dispatch_started", "dispatch_failed", app)
    assert failed.keys() == {"message", "error"}
    assert failed["message"] is started["message"]
    assert isinstance(failed["error"], ZeroDivisionError)
    assert notes.rest == []


def test_a_call_that_returns_an_error(wamp: FlaskWAMP, listen: t.Any, notes: Notes) -> None:
    listen("dispatch_finished", "dispatch_failed")
    wamp.callee("com.example.gone")(lambda: current_app.response_class("gone", 410))
    with pytest.raises(ApplicationError):
        wamp.client.call("com.example.gone")
    name, _, payload = notes.next()
    assert (name, payload["error"].uri) == ("dispatch_failed", "com.example.error.gone")
    assert notes.rest == []


def test_a_handled_error_counts_as_success(wamp: FlaskWAMP, listen: t.Any, notes: Notes) -> None:
    listen("dispatch_finished", "dispatch_failed")
    wamp.errorhandler(ZeroDivisionError)(lambda error: "much")
    wamp.callee("com.example.fail")(lambda: 1 / 0)
    wamp.client.call("com.example.fail")
    ((name, _, payload),) = notes.rest
    assert (name, payload["result"]) == ("dispatch_finished", "much")


def test_events_are_dispatched_with_the_same_signals(
    wamp: FlaskWAMP, listen: t.Any, notes: Notes
) -> None:
    listen(*DISPATCH)
    wamp.subscriber("com.example.news")(lambda text: 1 / len(text))
    publish(wamp, "com.example.news", "tea")
    publish(wamp, "com.example.news", "")
    sent = notes.take(4)
    names = ["dispatch_started", "dispatch_finished", "dispatch_started", "dispatch_failed"]
    assert [name for name, _, _ in sent] == names
    payloads = [payload for _, _, payload in sent]
    assert [payload.pop("message").topic for payload in payloads] == ["com.example.news"] * 4
    assert payloads[1] == {"result": 1 / 3}
    assert isinstance(payloads[3]["error"], ZeroDivisionError)


def test_they_are_sent_in_the_handlers_context_around_the_hooks(
    app: Flask, wamp: FlaskWAMP, notes: Notes
) -> None:
    @signals.dispatch_started.connect_via(app)
    def started(sender: Flask, **payload: t.Any) -> None:
        assert payload["message"] == (invocation or event)
        g.begun = "begun"

    @signals.dispatch_finished.connect_via(app)
    def finished(sender: Flask, **payload: t.Any) -> None:
        notes(f"finished, {g.begun}")

    wamp.before_dispatch(lambda message: notes(f"before, {g.begun}"))
    wamp.teardown_dispatch(lambda message, error: notes("teardown"))
    wamp.subscriber("com.example.news")(lambda: notes("event"))
    wamp.callee("com.example.call")(lambda: notes("call"))
    wamp.client.call("com.example.call")
    assert notes.take(4) == ["before, begun", "call", "finished, begun", "teardown"]
    publish(wamp, "com.example.news")
    assert notes.take(4) == ["before, begun", "event", "finished, begun", "teardown"]


# Dropped events.


def test_event_dropped_counts(
    join: Join, wamp_router: DevRouter, listen: t.Any, notes: Notes
) -> None:
    app, wamp = join(wamp_router.url, WAMP_EVENT_QUEUE=1)
    listen("event_dropped")
    entered, release = threading.Event(), threading.Event()

    @wamp.subscriber("com.example.news")
    def news() -> None:
        entered.set()
        release.wait(PATIENCE)

    publish(wamp, "com.example.news")
    assert entered.wait(PATIENCE)
    for _ in range(6):  # one may wait, five are dropped
        publish(wamp, "com.example.news")
    expected = [
        ("event_dropped", app, {"topic": "com.example.news", "count": count, "realm": "realm1"})
        for count in (1, 2, 4)
    ]
    assert sorted(notes.take(3), key=lambda note: note[2]["count"]) == expected
    release.set()


# Receivers.


def test_a_receiver_that_raises_has_no_effect(
    app: Flask,
    wamp: FlaskWAMP,
    listen: t.Any,
    notes: Notes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(sender: Flask, **payload: t.Any) -> None:
        raise LookupError("in a receiver")

    listened = ("dispatch_started", "dispatch_finished", "session_left")
    for name in listened:
        getattr(signals, name).connect(fail, app)
    listen(*listened)
    wamp.callee("com.example.square")(lambda x: x * x)
    assert wamp.client.call("com.example.square", 3) == 9
    wamp.stop()
    assert [name for name, _, _ in notes.rest] == list(listened)
    failed = [r for r in caplog.records if r.name == "flask_wamp.signals"]
    assert [r.getMessage().split()[3] for r in failed] == [
        "dispatch-started",
        "dispatch-finished",
        "session-left",
    ]
    assert all(r.levelname == "ERROR" and r.exc_info for r in failed)


def test_a_receiver_may_be_async(app: Flask, wamp: FlaskWAMP, notes: Notes) -> None:
    @signals.dispatch_finished.connect_via(app)
    async def finished(sender: Flask, **payload: t.Any) -> None:
        notes([payload["result"], g.wampy.call("com.example.echo", "nested")])

    signals.dispatch_finished.connect(finished, app)
    wamp.client.register(lambda text: text, "com.example.echo")
    nested = threading.Event()

    @wamp.before_dispatch
    def once(message: t.Any) -> None:
        if message.args == ["nested"]:
            signals.dispatch_finished.disconnect(finished, app)
            nested.set()

    assert wamp.client.call("com.example.echo", "outer") == "outer"
    assert notes.next() == ["outer", "nested"]
    assert nested.is_set()


def test_the_sender_is_the_app(
    join: Join, wamp_router: DevRouter, listen: t.Any, notes: Notes
) -> None:
    first, wamp = join(wamp_router.url, _add_named("one"), name="first")
    second, other = join(wamp_router.url, _add_named("two"), name="second")
    listen("dispatch_finished", "session_left", sender=second)
    for caller in (wamp, other):
        caller.client.call("com.example.one")
        caller.client.call("com.example.two")
    wamp.stop()
    other.stop()
    sent = [(name, sender, payload.get("result")) for name, sender, payload in notes.rest]
    assert sent == [
        ("dispatch_finished", second, "two"),
        ("dispatch_finished", second, "two"),
        ("session_left", second, None),
    ]
    assert first is not second


def _add_named(name: str) -> t.Callable[[FlaskWAMP], None]:
    return lambda wamp: wamp.callee(f"com.example.{name}")(lambda: name)
