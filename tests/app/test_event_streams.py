"""Streams of events: one subscription per topic, limits, lost sessions, and the end of a stream."""

from __future__ import annotations

import json
import queue
import threading
import time
import typing as t

import pytest
from flask import Flask, Response, g, request

from flask_wamp import (
    ApplicationError,
    CallTimeout,
    FlaskWAMP,
    NotJoined,
    TooSlow,
    background_tasks,
    invocation,
)
from flask_wamp.client.event_hub import EventHub
from flask_wamp.client.event_stream import EventStream
from flask_wamp.exceptions import PayloadTooLarge
from flask_wamp.protocol import messages as m
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

TOPIC = "com.example.chat"

Serve = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def served(serve: Serve) -> tuple[Flask, FlaskWAMP]:
    return serve()


@pytest.fixture
def app(served: tuple[Flask, FlaskWAMP]) -> Flask:
    return served[0]


@pytest.fixture
def wamp(served: tuple[Flask, FlaskWAMP]) -> FlaskWAMP:
    return served[1]


def values(events: EventStream, count: int) -> list[t.Any]:
    """Return the values of the next events."""
    found = []
    for _ in range(count):
        event = events.next(TIMEOUT)
        assert event is not None, f"only {found} came"
        found += event.args
    return found


def gone(router: MemoryRouter) -> None:
    """Wait until there is no subscription."""
    eventually(lambda: not router.topics)


# The items of a stream.


def test_an_event_has_the_attributes_that_a_handler_sees(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    with wamp.client.events(TOPIC) as events:
        number = router.publish(TOPIC, 1, name="tea")
        event = next(events)
    assert (event.topic, event.args, event.kwargs) == (TOPIC, [1], {"name": "tea"})
    assert (event.publication, event.publisher_authid, event.retained) == (number, "joe", False)
    assert event.age < TIMEOUT
    gone(router)


def test_an_event_of_a_pattern_has_its_topic(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    with wamp.client.events("com.example.", match="prefix") as events:
        router.publish("com.example.a", 1)
        router.publish("com.other", 2)
        router.publish("com.example.b", 3)
        assert [next(events).topic for _ in range(2)] == ["com.example.a", "com.example.b"]


def test_each_stream_has_its_own_copy(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    with wamp.client.events(TOPIC) as one, wamp.client.events(TOPIC) as other:
        router.publish(TOPIC, [1], secret={"of": "one"})
        first = next(one)
        first.args[0].append(2)
        del first.kwargs["secret"]["of"]
        second = next(other)
    assert (second.args, second.kwargs) == ([[1]], {"secret": {"of": "one"}})


def test_next_returns_none_after_its_timeout(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    with wamp.client.events(TOPIC) as events:
        assert events.next(timeout=0.01) is None
        router.publish(TOPIC, 1)
        assert values(events, 1) == [1]


def test_map_replaces_and_drops_events(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    with wamp.client.events(TOPIC).map(lambda event: event.args[0] * 2 or None) as doubled:
        for number in range(4):
            router.publish(TOPIC, number)
        assert [next(doubled) for _ in range(3)] == [2, 4, 6]


# One subscription.


def test_many_streams_share_a_subscription(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    streams = [wamp.client.events(TOPIC) for _ in range(50)]
    assert wamp.health()["streams"] == {TOPIC: 50}
    router.publish(TOPIC, "hello")
    assert [values(events, 1) for events in streams] == [["hello"]] * 50
    assert len(router.sent(m.Subscribe)) == 1
    for events in streams[1:]:
        events.close()
    assert wamp.health()["streams"] == {TOPIC: 1}
    assert router.topics == {TOPIC}
    streams[0].close()
    gone(router)
    assert len(router.sent(m.Unsubscribe)) == 1
    assert wamp.health()["streams"] == {}


def test_a_subscriber_of_the_app_is_not_affected(serve: Serve, router: MemoryRouter) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
    router.retain(TOPIC, "old")
    _, wamp = serve(lambda wamp: wamp.subscriber(TOPIC, get_retained=True)(seen.put))
    for number in range(3):
        with wamp.client.events(TOPIC, get_retained=True) as events:
            router.publish(TOPIC, number)
            assert values(events, 2) == ["old", number]
    assert [seen.get(timeout=TIMEOUT) for _ in range(4)] == ["old", 0, 1, 2]
    assert router.topics == {TOPIC}
    assert router.sent(m.Unsubscribe) == []
    assert seen.empty()


def test_streams_that_open_and_close_miss_no_event(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    """One thread closes the last stream while another opens the next one."""

    def come_and_go() -> None:
        try:
            for number in range(100):
                with wamp.client.events(TOPIC) as events:
                    topic = (threading.get_ident(), number)
                    router.publish(TOPIC, *topic)
                    while (got := events.next(TIMEOUT)).args != [*topic]:
                        assert got is not None
        except BaseException as error:
            failures.append(error)

    failures: list[BaseException] = []
    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    gone(router)
    assert wamp.health()["streams"] == {}


# Retained events.


def test_only_streams_that_ask_get_the_retained_event(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.retain(TOPIC, "now")
    plain = wamp.client.events(TOPIC)
    first = wamp.client.events(TOPIC, get_retained=True)
    event = first.next(TIMEOUT)
    assert (event.args, event.retained) == (["now"], True)
    late = wamp.client.events(TOPIC, get_retained=True)
    assert values(late, 1) == ["now"]
    router.publish(TOPIC, "next")
    assert [values(each, 1) for each in (plain, first, late)] == [["next"]] * 3


def test_the_retained_event_arrives_again_after_a_lost_session(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.retain(TOPIC, "now")
    streams = [wamp.client.events(TOPIC, get_retained=True) for _ in range(3)]
    plain = wamp.client.events(TOPIC)
    assert [values(each, 1) for each in streams] == [["now"]] * 3
    router.drop()
    assert [values(each, 1) for each in streams] == [["now"]] * 3
    assert [each.gaps for each in (*streams, plain)] == [1, 1, 1, 1]
    router.publish(TOPIC, "next")
    assert [values(each, 1) for each in (*streams, plain)] == [["next"]] * 4


# Lost sessions and refusals.


def test_a_stream_continues_after_a_lost_session(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    with wamp.client.events(TOPIC) as events:
        router.publish(TOPIC, 1)
        for number in (2, 3):
            count = len(router.sent(m.Subscribe))
            router.drop()
            router.wait_for(m.Subscribe, count + 1)
            router.publish(TOPIC, number)
        assert values(events, 3) == [1, 2, 3]
        assert events.gaps == 2


def test_a_stream_may_be_opened_without_a_session(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    router.down = True
    router.drop()
    eventually(lambda: not wamp.client.joined)
    with wamp.client.events(TOPIC) as events:
        router.down = False
        eventually(lambda: TOPIC in router.topics)
        router.publish(TOPIC, 1)
        assert values(events, 1) == [1]


def test_a_refused_topic_raises(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    router.refuse(TOPIC)
    for _ in range(2):
        with pytest.raises(ApplicationError, match="not_authorized"):
            wamp.client.events(TOPIC)
    assert wamp.health()["streams"] == {}


def test_a_stream_that_is_refused_after_a_lost_session_ends(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    events = wamp.client.events(TOPIC)
    router.publish(TOPIC, 1)
    router.refuse(TOPIC)
    router.drop()
    assert next(events).args == [1]
    with pytest.raises(ApplicationError, match="not_authorized"):
        next(events)
    assert list(events) == []


def test_a_topic_too_long_for_a_message(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(WAMP_MAX_MESSAGE_SIZE=1000)
    with pytest.raises(PayloadTooLarge):
        wamp.client.events("com." + "x" * 2000)
    router.down = True
    router.drop()
    eventually(lambda: not wamp.client.joined)
    events = wamp.client.events("com." + "x" * 2000)
    router.down = False
    with pytest.raises(PayloadTooLarge):
        next(events)
    wamp.client.wait_until_joined(TIMEOUT)


def test_a_stream_whose_subscription_is_revoked_ends(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    events = wamp.client.events(TOPIC)
    details = {"subscription": router.subscription_id(TOPIC), "reason": "com.example.away"}
    router.send(m.Unsubscribed(0, details))
    with pytest.raises(ApplicationError, match="unsubscribed"):
        next(events)


@pytest.mark.parametrize(
    "options",
    [
        {"match": "glob"},
        {"get_retained": 1},
        {"keep_alive": 0},
        {"keep_alive": None},
        {"max_age": 0},
        {"max_age": "1"},
        {"max_age": float("nan")},
        {"match": "prefix", "get_retained": True},
    ],
    ids=str,
)
def test_wrong_options(wamp: FlaskWAMP, options: t.Any) -> None:
    with pytest.raises(ValueError, match="must be|not of patterns"):
        wamp.client.events(TOPIC, **options)


def test_named_parts_are_for_handlers(wamp: FlaskWAMP) -> None:
    with pytest.raises(ValueError, match='match="wildcard"'):
        wamp.client.events("com.example.<room>.note")


# Limits.


def test_only_the_slow_stream_is_closed(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(WAMP_EVENT_QUEUE=4)
    slow, quick = wamp.client.events(TOPIC), wamp.client.events(TOPIC)
    for number in range(6):
        router.publish(TOPIC, number)
        assert values(quick, 1) == [number]
    assert values(slow, 4) == [0, 1, 2, 3]
    with pytest.raises(TooSlow, match=f"{TOPIC} was read too slowly: 4"):
        next(slow)
    assert list(slow) == []
    assert wamp.health()["streams"] == {TOPIC: 1}


def test_the_bytes_of_waiting_events_are_limited_too(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(WAMP_MAX_MESSAGE_SIZE=10_000)
    slow = wamp.client.events(TOPIC)
    for _ in range(6):
        router.publish(TOPIC, "x" * 8000)
    assert len(values(slow, 4)) == 4
    with pytest.raises(TooSlow):
        next(slow)


# The end.


def test_a_stream_that_is_garbage_collected_is_closed(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    events = wamp.client.events(TOPIC)
    assert router.topics == {TOPIC}
    del events
    gone(router)


def test_a_stream_whose_greenlet_is_killed_is_closed(
    wamp: FlaskWAMP, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is referred to: the garbage collector does not close it."""
    events = wamp.client.events(TOPIC)
    monkeypatch.setattr(events._buffer, "take", raise_keyboard_interrupt)
    with pytest.raises(KeyboardInterrupt):
        events.next()
    gone(router)
    assert events._buffer.over


def raise_keyboard_interrupt(timeout: float | None) -> t.NoReturn:
    raise KeyboardInterrupt


@pytest.mark.parametrize("events_format", [True, False])
def test_a_stream_whose_response_is_closed_is_closed(
    wamp: FlaskWAMP, router: MemoryRouter, events_format: bool
) -> None:
    """It is referred to: the garbage collector does not close it."""
    events = wamp.client.events(TOPIC)
    lines = events.lines(json.dumps, events_format)
    next(lines)
    lines.close()  # type: ignore[attr-defined]
    gone(router)
    assert events._buffer.over


@pytest.mark.parametrize("get_retained", [False, True])
def test_unanswered_streams_leave_one_pending_request(
    wamp: FlaskWAMP, router: MemoryRouter, get_retained: bool
) -> None:
    router.silent = True
    client = wamp.client.with_options(timeout=0.01)
    for _ in range(20):
        with pytest.raises(CallTimeout):
            client.events(TOPIC, get_retained=get_retained)
    eventually(lambda: pending(wamp) == 1)
    assert wamp.health()["streams"] == {}


def test_a_subscription_that_is_answered_too_late_is_unsubscribed(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.silent = True
    with pytest.raises(CallTimeout):
        wamp.client.with_options(timeout=0.01).events(TOPIC)
    router.send(m.Subscribed(router.wait_for(m.Subscribe).request_id, 77))
    assert router.wait_for(m.Unsubscribe).subscription_id == 77


def test_a_stream_that_opens_meanwhile_uses_the_late_subscription(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.silent = True
    client = wamp.client.with_options(timeout=0.01)
    with pytest.raises(CallTimeout):
        client.events(TOPIC)
    found: list[EventStream] = []
    thread = threading.Thread(target=lambda: found.append(wamp.client.events(TOPIC)))
    thread.start()
    eventually(lambda: wamp.health()["streams"] == {TOPIC: 1})
    router.send(m.Subscribed(router.wait_for(m.Subscribe).request_id, 77))
    thread.join(TIMEOUT)
    router.send(m.Event(77, 1, {}, ["late"]))
    assert values(found[0], 1) == ["late"]
    assert len(router.sent(m.Subscribe)) == 1


def pending(wamp: FlaskWAMP) -> int:
    """Return the number of pending requests of the session."""
    peer = wamp.client.peer
    assert peer is not None and peer.connection is not None
    return len(peer.connection.session._pending)


def test_close_ends_a_waiting_next(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    events = wamp.client.events(TOPIC)
    thread = threading.Thread(target=lambda: got.extend(events))
    got: list[t.Any] = []
    thread.start()
    events.close()
    events.close()
    thread.join(TIMEOUT)
    assert not thread.is_alive()
    assert got == []


def test_stop_ends_streams_in_any_state(serve: Serve, router: MemoryRouter) -> None:
    got: list[str] = []
    ended: list[str] = []

    def watch_as(who: str) -> None:
        got.extend(who for _ in g.wampy.events(TOPIC))
        ended.append(who)

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def watch() -> str:
            watch_as("handler")
            return "watched"

    app, wamp = serve(setup, WAMP_WORKERS=1)

    @app.get("/watch")
    def watch_later() -> str:
        background_tasks.add(watch_as, "task")
        return "later"

    def plain() -> None:
        with app.app_context():
            watch_as("thread")

    thread = threading.Thread(target=plain)
    thread.start()
    answers = [router.invoke("com.example.watch") for _ in range(3)]  # with one slot
    assert app.test_client().get("/watch").text == "later"
    eventually(lambda: wamp.health()["streams"] == {TOPIC: 5})
    router.publish(TOPIC, 1)
    eventually(lambda: len(got) == 5)
    began = time.monotonic()
    wamp.stop()
    print(f"stopped in {time.monotonic() - began:.3f} s")
    thread.join(TIMEOUT)
    assert sorted(ended) == sorted(got) == ["handler", "handler", "handler", "task", "thread"]
    assert [answer.result(TIMEOUT).args for answer in answers] == [["watched"]] * 3
    with app.app_context(), pytest.raises(NotJoined):
        g.wampy.events(TOPIC)


def test_a_stream_in_a_handler_ends_when_its_caller_leaves(
    serve: Serve, router: MemoryRouter
) -> None:
    ended = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def watch() -> t.Any:
            try:
                for event in g.wampy.events(TOPIC):
                    yield event.args[0]
            finally:
                assert invocation.canceled
                ended.set()

    _, wamp = serve(setup)
    answer = router.invoke("com.example.watch")
    eventually(lambda: router.topics == {TOPIC})
    router.publish(TOPIC, 1)
    eventually(lambda: [each.args for each in answer.progress] == [[1]])
    answer.interrupt()
    assert ended.wait(TIMEOUT)
    gone(router)
    eventually(lambda: wamp.health()["in_hand"]["running"] == 0)


def test_a_stream_ends_when_the_server_stops(wamp: FlaskWAMP, router: MemoryRouter) -> None:
    ending = threading.Event()
    wamp.client.start_policy.ending = ending.is_set
    events = wamp.client.events(TOPIC)
    ending.set()
    assert list(events) == []
    with pytest.raises(NotJoined):
        wamp.client.events(TOPIC)


def test_no_stream_is_opened_while_the_client_stops(serve: Serve, router: MemoryRouter) -> None:
    began, may_end = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def slow() -> bool:
            began.set()
            return may_end.wait(TIMEOUT)

    _, wamp = serve(setup)
    peer = wamp.client.peer
    assert peer is not None
    call = router.invoke("com.example.slow")
    assert began.wait(TIMEOUT)
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    eventually(lambda: EventHub.of(peer) is None)
    with pytest.raises(NotJoined, match="being stopped"):
        wamp.client.events(TOPIC)
    may_end.set()
    stopping.join(TIMEOUT)
    assert isinstance(call.result(TIMEOUT), m.Result)


# Over HTTP.


@pytest.fixture
def lines(app: Flask) -> t.Callable[..., t.Any]:
    """Open ``/events`` and return the response and its lines."""

    @app.get("/events")
    def events() -> t.Any:
        return g.wampy.events(TOPIC, keep_alive=0.05)

    def opened(path: str = "/events", **headers: str) -> t.Any:
        response = app.test_client().get(path, headers=headers, buffered=False)
        assert response.status_code == 200, response.text
        return response, (line.decode() for line in response.iter_encoded())

    return opened


def after_pulses(lines: t.Iterator[str], pulse: str = ": \n\n") -> str:
    return next(line for line in lines if line != pulse)


def test_a_view_sends_server_sent_events(lines: t.Any, router: MemoryRouter) -> None:
    response, sent = lines()
    assert response.mimetype == "text/event-stream"
    assert response.headers["Cache-Control"] == "no-cache"
    assert response.headers["X-Accel-Buffering"] == "no"
    assert next(sent) == next(sent) == ": \n\n"
    number = router.publish(TOPIC, {"text": "a\nb"})
    assert after_pulses(sent) == f'id: {number}\ndata: {{"text": "a\\nb"}}\n\n'
    number = router.publish(TOPIC, 1, 2, a=3)
    assert after_pulses(sent) == f'id: {number}\ndata: {{"args": [1, 2], "kwargs": {{"a": 3}}}}\n\n'
    response.close()
    gone(router)


def test_lines_of_json_if_the_client_accepts_them(lines: t.Any, router: MemoryRouter) -> None:
    response, sent = lines(Accept="application/x-ndjson")
    assert response.mimetype == "application/x-ndjson"
    assert next(sent) == "\n"
    router.publish(TOPIC, 1)
    assert after_pulses(sent, "\n") == "1\n"
    response.close()


def test_a_browser_gets_an_event_about_a_gap(lines: t.Any, router: MemoryRouter) -> None:
    response, sent = lines()
    next(sent)
    router.drop()
    assert after_pulses(sent) == "event: gap\ndata: 1\n\n"
    router.publish(TOPIC, 1)
    assert "data: 1\n" in after_pulses(sent)
    response.close()


def test_map_sees_the_request(app: Flask, lines: t.Any, router: MemoryRouter) -> None:
    @app.get("/mine/<int:above>")
    def mine(above: int) -> t.Any:
        def item(event: t.Any) -> t.Any:
            return {"path": request.path, "n": event.args[0]} if event.args[0] > above else None

        return Response(g.wampy.events(TOPIC).map(item))

    response, sent = lines("/mine/1")
    next(sent)
    for number in (1, 2):
        number = router.publish(TOPIC, number)
    assert next(sent) == f'id: {number}\ndata: {{"n": 2, "path": "/mine/1"}}\n\n'
    response.close()


def test_a_stream_whose_map_drops_all_events_sends_keep_alives(
    app: Flask, lines: t.Any, router: MemoryRouter
) -> None:
    app.add_url_rule(
        "/none", view_func=lambda: g.wampy.events(TOPIC, keep_alive=0.2).map(lambda event: None)
    )
    stop = threading.Event()

    def flood() -> None:
        while not stop.wait(0.01):
            router.publish(TOPIC, 1)

    thread = threading.Thread(target=flood)
    thread.start()
    response, sent = lines("/none")
    assert [next(sent) for _ in range(3)] == [": \n\n"] * 3
    response.close()
    stop.set()
    thread.join()


def test_text_that_is_not_escaped(app: Flask, lines: t.Any, router: MemoryRouter) -> None:
    app.json.ensure_ascii = False  # type: ignore[attr-defined]
    response, sent = lines()
    text = "a\u2028b\x85c\r\nd"
    next(sent)
    router.publish(TOPIC, text)
    frame = after_pulses(sent)
    assert frame.count("\n") == 3
    assert json.loads(frame.split("\n")[1].removeprefix("data: ")) == text
    response.close()


def test_a_pattern_sends_the_topic(app: Flask, lines: t.Any, router: MemoryRouter) -> None:
    @app.get("/all")
    def all_() -> t.Any:
        return g.wampy.events("com.", match="prefix")

    response, sent = lines("/all")
    next(sent)
    router.publish("com.tea", 1)
    assert '{"args": [1], "kwargs": {}, "topic": "com.tea"}' in next(sent)
    response.close()


def test_a_response_that_is_never_started_is_closed(
    app: Flask, lines: t.Any, router: MemoryRouter, wamp: FlaskWAMP
) -> None:
    app.test_client().head("/events").close()
    gone(router)
    assert len(router.sent(m.Subscribe)) == 1
    assert wamp.health()["streams"] == {}


def test_a_response_that_is_too_slow_ends(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    app, _ = serve(WAMP_EVENT_QUEUE=2)
    app.add_url_rule("/events", view_func=lambda: g.wampy.events(TOPIC))
    response = app.test_client().get("/events", buffered=False)
    sent = response.iter_encoded()
    next(sent)
    for number in range(4):
        router.publish(TOPIC, number)
    gone(router)
    assert len(list(sent)) == 2
    assert "was read too slowly: 2 items were waiting" in caplog.text
    response.close()


def test_a_refused_topic_is_a_bad_gateway(app: Flask, lines: t.Any, router: MemoryRouter) -> None:
    router.refuse(TOPIC)
    assert app.test_client().get("/events").status_code == 502


# The age of a response.


@pytest.mark.parametrize("busy", [False, True])
def test_a_response_ends_at_its_maximum_age(serve: Serve, router: MemoryRouter, busy: bool) -> None:
    """Some servers do not notice that a client has disconnected, and iterate forever."""
    app, wamp = serve()
    app.add_url_rule("/feed", view_func=lambda: g.wampy.events(TOPIC, keep_alive=0.05, max_age=0.3))
    response = app.test_client().get("/feed", headers={"Accept": "text/event-stream"})
    received = []
    for part in response.response:
        received.append(part)
        if busy:
            router.publish(TOPIC, len(received))
    assert len(received) > 2  # it has sent keep-alives
    eventually(lambda: TOPIC not in router.topics)
    response.close()
