"""``g.wampy.with_options(best_effort=True).publish(...)``: no view fails because the router is down."""

from __future__ import annotations

import logging
import threading
import typing as t

import pytest

from flask_wamp import FlaskWAMP, InvalidURI, SerializationError
from flask_wamp.client.publications import Publications
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import MemoryRouter

TOPIC = "com.example.news"

MakeApp = t.Callable[..., t.Any]


@pytest.fixture
def away(make_app: MakeApp, router: MemoryRouter) -> t.Iterator[FlaskWAMP]:
    """An app whose router does not answer yet."""
    router.silent = True
    yield FlaskWAMP(
        make_app(
            WAMP_ROUTER_URL="ws://in.memory/ws",
            WAMP_CONNECT_TIMEOUT=60.0,
            WAMP_EVENT_QUEUE=10,
            WAMP_MAX_MESSAGE_SIZE=4096,
        )
    )
    router.give_up()


def numbers(router: MemoryRouter) -> list[int]:
    return [message.args[0] for message in router.sent(m.Publish)]


def counts(wamp: FlaskWAMP) -> tuple[int, int]:
    found = wamp.health()["publications"]
    return found["waiting"], found["dropped"]


def welcome(router: MemoryRouter) -> None:
    router.wait_for(m.Hello)
    router.welcome()


def test_events_wait_for_the_session_in_order(away: FlaskWAMP, router: MemoryRouter) -> None:
    publish = away.client.with_options(best_effort=True, exclude_me=False).publish
    for number in range(10):
        assert publish(".news", number) is None
    assert counts(away) == (10, 0)
    welcome(router)
    router.wait_for(m.Publish, 10)
    publish(TOPIC, 10)
    router.wait_for(m.Publish, 11)
    assert numbers(router) == list(range(11))
    assert router.sent(m.Publish)[0].options == {"exclude_me": False}
    assert router.sent(m.Publish)[0].topic == TOPIC
    assert counts(away) == (0, 0)


def test_the_oldest_events_over_the_limit_are_dropped_counted_and_logged(
    away: FlaskWAMP, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    publish = away.client.with_options(best_effort=True).publish
    for number in range(25):
        publish(TOPIC, number)
    assert counts(away) == (10, 15)
    welcome(router)
    router.wait_for(m.Publish, 10)
    assert numbers(router) == list(range(15, 25))
    warnings = [r.message for r in caplog.records if "best-effort" in r.message]
    assert len(warnings) == 4, "1, 2, 4, 8"


def test_the_bytes_of_waiting_events_are_limited_too(away: FlaskWAMP, router: MemoryRouter) -> None:
    publish = away.client.with_options(best_effort=True).publish
    for number in range(10):
        publish(TOPIC, number, "x" * 3000)
    waiting, dropped = counts(away)
    assert 0 < waiting < 6
    assert waiting + dropped == 10


def test_a_waiting_event_is_a_copy_of_the_payload(away: FlaskWAMP, router: MemoryRouter) -> None:
    news = ["tea"]
    away.client.with_options(best_effort=True).publish(TOPIC, 1, news=news)
    news.append("coffee")
    welcome(router)
    assert router.wait_for(m.Publish).kwargs == {"news": ["tea"]}


def test_events_published_after_a_loss_are_sent_later(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    publish = wamp.client.with_options(best_effort=True).publish
    publish(TOPIC, 1)
    router.wait_for(m.Publish)
    router.silent = True
    router.drop()
    eventually(lambda: not wamp.client.joined)
    publish(TOPIC, 2)
    router.wait_for(m.Hello, 2)
    assert numbers(router) == [1]
    router.welcome()
    router.wait_for(m.Publish, 2)
    assert numbers(router) == [1, 2]


def test_a_stopped_client_drops_events(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve()
    wamp.stop()
    wamp.client.with_options(best_effort=True).publish(TOPIC, 1)
    assert counts(wamp) == (0, 1)


def test_events_that_wait_when_the_client_stops_are_dropped(
    away: FlaskWAMP, router: MemoryRouter
) -> None:
    away.client.with_options(best_effort=True).publish(TOPIC, 1)
    router.give_up()
    away.stop()
    assert counts(away) == (0, 1)


def test_an_event_that_is_published_during_the_drain_is_counted(
    serve: Serve, router: MemoryRouter
) -> None:
    began, may_end = threading.Event(), threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def slow() -> None:
            began.set()
            assert may_end.wait(10.0)
            wamp.client.with_options(best_effort=True).publish(TOPIC, 2)

    _, wamp = serve(setup)
    wamp.client.with_options(best_effort=True).publish(TOPIC, 1)
    peer = wamp.client.peer
    assert peer is not None and peer.listener(Publications) is not None
    call = router.invoke("com.example.slow")
    assert began.wait(10.0)
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    eventually(lambda: peer.listener(Publications) is None)  # it sends no more events
    may_end.set()
    stopping.join(10.0)
    assert isinstance(call.result(10.0), m.Result)
    assert numbers(router) == [1]
    assert counts(wamp) == (0, 1)


def test_an_event_that_can_never_be_sent_raises(away: FlaskWAMP) -> None:
    publish = away.client.with_options(best_effort=True).publish
    with pytest.raises(SerializationError):
        publish(TOPIC, object())
    with pytest.raises(InvalidURI):
        publish("com..news")
    assert counts(away) == (0, 0)


def test_an_event_that_is_too_large_does_not_delay_the_others(
    away: FlaskWAMP, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    publish = away.client.with_options(best_effort=True).publish
    publish(TOPIC, 1, "x" * 4096)
    publish(TOPIC, 2)
    welcome(router)
    router.wait_for(m.Publish)
    assert numbers(router) == [2]
    assert counts(away) == (0, 1)
    assert "over the limit of 4096 bytes" in caplog.text


def test_a_log_handler_may_publish_while_an_event_is_too_large(
    away: FlaskWAMP, router: MemoryRouter
) -> None:
    publish = away.client.with_options(best_effort=True).publish

    class Publishing(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "best-effort" in record.getMessage():
                publish("com.example.log", record.levelname)

    logger, handler = logging.getLogger("flask_wamp"), Publishing()
    logger.addHandler(handler)
    try:
        publish(TOPIC, 1, "x" * 4096)
        welcome(router)
        assert router.wait_for(m.Publish).topic == "com.example.log"
    finally:
        logger.removeHandler(handler)


def test_wampys_form_of_publish_works_too(away: FlaskWAMP, router: MemoryRouter) -> None:
    away.client.publish(topic=TOPIC, message=1, options={"best_effort": True})
    welcome(router)
    assert router.wait_for(m.Publish).kwargs == {"message": 1}
