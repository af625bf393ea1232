"""Frozen time in tests, schedules and shared delivery."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
import time
import typing as t

import pytest
from flask import Flask, g

from flask_wamp import ApplicationError, CallTimeout, FlaskWAMP, event
from flask_wamp.concurrency.clock import monotonic
from tests.conftest import eventually

pytest.importorskip("schedule")

Move = t.Callable[[float], object]
Freeze = t.Callable[[str], t.ContextManager[Move]]


@contextlib.contextmanager
def with_time_machine(when: str) -> t.Iterator[Move]:
    time_machine = pytest.importorskip("time_machine")
    with time_machine.travel(dt.datetime.fromisoformat(when), tick=False) as traveller:
        yield traveller.shift


@contextlib.contextmanager
def with_freezegun(when: str) -> t.Iterator[Move]:
    freezegun = pytest.importorskip("freezegun")
    with freezegun.freeze_time(when) as frozen:
        yield frozen.tick


@pytest.fixture(params=[with_time_machine, with_freezegun], ids=["time-machine", "freezegun"])
def freeze(request: pytest.FixtureRequest) -> Freeze:
    return t.cast(Freeze, request.param)


class Shop(t.NamedTuple):
    app: Flask
    wamp: FlaskWAMP
    ran: list[str]


def make_shop(**config: t.Any) -> Shop:
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop", **config)
    wamp, ran = FlaskWAMP(app), []

    @wamp.callee(".now")
    def now() -> str:
        return dt.datetime.now().isoformat()

    @wamp.callee(".wait", timeout=0.05)
    def wait(seconds: float) -> None:
        threading.Event().wait(seconds)

    def report() -> None:
        ran.append(dt.datetime.now().isoformat())
        g.wampy.publish(".reported", len(ran))

    wamp.schedule.every(10).minutes.do(report)
    wamp.schedule.every().day.at("06:00").do(report)
    return Shop(app, wamp, ran)


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
def test_jobs_run_after_the_test_has_moved_the_time(freeze: Freeze, inline: bool) -> None:
    with freeze("2030-01-01T05:00:00") as move:
        shop = make_shop()
        with shop.wamp.test_client(inline=inline) as peer:
            inbox = peer.subscribe(".reported")
            shop.wamp.schedule.run_pending()
            assert shop.ran == []
            move(599)
            shop.wamp.schedule.run_pending()
            assert shop.ran == []
            move(2)
            shop.wamp.schedule.run_pending()
            assert shop.ran == ["2030-01-01T05:10:01"]
            shop.wamp.schedule.run_pending()
            assert len(shop.ran) == 1
            move(3600)
            shop.wamp.schedule.run_pending()  # the other one too
            assert shop.ran[1:] == ["2030-01-01T06:10:01"] * 2
            assert [event.args for event in inbox] == [[1], [2], [3]]


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
def test_calls_and_their_timeouts_do_not_depend_on_frozen_time(
    freeze: Freeze, inline: bool
) -> None:
    shop = make_shop(WAMP_HEARTBEAT=2.0)
    with shop.wamp.test_client(inline=inline) as peer:
        session = peer.session_id
        with freeze("2030-01-01") as move:
            assert peer.call(".now") == "2030-01-01T00:00:00"
            if not inline:  # inline, a call ends when its handler does
                with pytest.raises(CallTimeout):
                    peer.with_options(timeout=0.02).call(".wait", 0.3)
            with pytest.raises(ApplicationError, match="timeout"):
                peer.call(".wait", 0.2)
            move(30 * 86400)
            assert peer.call(".now") == "2030-01-31T00:00:00"
            inbox = peer.subscribe(".nothing")
            with pytest.raises(AssertionError, match="no event"):
                inbox.get(timeout=0.05)
            threading.Event().wait(1.2)  # until the heartbeat has asked the router
        assert peer.call(".now") < "2030"
        assert peer.session_id == session


def test_settling_ends_in_frozen_time(freeze: Freeze) -> None:
    shop = make_shop()
    with shop.wamp.test_client() as peer, freeze("2030-01-01"):
        future = peer.submit(".wait", 0.3)
        with pytest.raises(AssertionError, match="did not settle within"):
            shop.wamp.settle(0.02)
        with pytest.raises(ApplicationError, match="timeout"):
            future.result(30)
        shop.wamp.settle(30)


def test_the_monotonic_clock_is_not_frozen(freeze: Freeze) -> None:
    with freeze("2030-01-01") as move:
        before, real = monotonic(), time.get_clock_info("monotonic").monotonic
        threading.Event().wait(0.01)
        move(1000)
        assert real and 0 < monotonic() - before < 500


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
@pytest.mark.parametrize("schedule", ["once", "every"])
def test_jobs_run_by_themselves_with_one_process(schedule: str, inline: bool) -> None:
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop", WAMP_SCHEDULE=schedule)
    wamp, ran = FlaskWAMP(app), []
    wamp.schedule.every(1).seconds.do(lambda: ran.append(threading.current_thread()))
    with wamp.test_client(inline=inline) as peer:
        inbox = peer.subscribe(".nothing")
        eventually(lambda: [inbox.all(timeout=30), ran][1])
        assert (ran[0] is threading.current_thread()) == inline


@pytest.mark.parametrize("inline", [False, True], ids=["threads", "inline"])
def test_delivery_to_one_process(inline: bool) -> None:
    app = Flask("shop")
    app.config.update(TESTING=True, WAMP_URI_PREFIX="com.shop")
    wamp, seen = FlaskWAMP(app), []

    @wamp.subscriber(".orders", delivery="one")
    def on_order(item: str) -> None:
        seen.append((item, event.topic, threading.current_thread()))

    with wamp.test_client(inline=inline) as peer:
        for item in ("tea", "jam"):
            peer.publish(".orders", item)
            wamp.settle(30)
        assert [each[:2] for each in seen] == [
            ("tea", "com.shop.orders"),
            ("jam", "com.shop.orders"),
        ]
        if inline:
            assert {each[2] for each in seen} == {threading.current_thread()}
