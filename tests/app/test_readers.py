"""The thread that reads runs a single call itself. Meanwhile another thread reads."""

from __future__ import annotations

import threading
import time
import typing as t
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from flask import g

from flask_wamp import FlaskWAMP
from flask_wamp.concurrency.leader_followers import LeaderFollowers, read_all
from flask_wamp.concurrency.pool import Pool
from flask_wamp.concurrency.threads import is_monkey_patched
from flask_wamp.exceptions import ProtocolError
from tests.app.conftest import Serve
from tests.conftest import eventually, our_threads
from tests.support.memory import MemoryRouter

pytestmark = pytest.mark.skipif(is_monkey_patched(), reason="greenlets have one reader")

TIMEOUT = 10.0


@pytest.fixture(autouse=True, params=["wary", "trusting"])
def trust(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Whether every job is treated as slow, or as quick."""
    if request.param == "wary":
        monkeypatch.setattr(LeaderFollowers, "QUICK", 0)
    else:
        monkeypatch.setattr(LeaderFollowers, "QUICK", 60)
        monkeypatch.setattr(LeaderFollowers, "TRUST", 0)
    return str(request.param)


class Procedures:
    """``.quick`` returns the name of its thread. ``.slow`` does so when the test lets it end."""

    def __init__(self) -> None:
        self.begun = threading.Semaphore(0)
        self.gate = threading.Event()

    def declare(self, wamp: FlaskWAMP) -> None:
        wamp.callee(".quick")(self.quick)
        wamp.callee(".slow")(self.slow)

    def quick(self) -> str:
        return threading.current_thread().name

    def slow(self) -> str:
        self.begun.release()
        assert self.gate.wait(TIMEOUT)
        return threading.current_thread().name


@pytest.fixture
def procedures() -> t.Iterator[Procedures]:
    procedures = Procedures()
    yield procedures
    procedures.gate.set()


def readers_rest(wamp: FlaskWAMP) -> None:
    """Wait until no work is running, including the work of a join."""
    eventually(lambda: wamp.health()["in_hand"]["running"] == 0)
    time.sleep(0.05)  # and until the thread that ran it waits again, which is not observable


def test_lone_call_does_not_change_threads(
    serve: Serve, router: MemoryRouter, procedures: Procedures
) -> None:
    _, wamp = serve(procedures.declare)
    names = set()
    for _ in range(20):
        readers_rest(wamp)
        names.add(router.call("com.example.quick"))
    assert names & {"wamp-worker-reader-1", "wamp-worker-reader-2"}


def test_others_are_answered_while_one_reader_is_busy(
    serve: Serve, router: MemoryRouter, procedures: Procedures
) -> None:
    _, wamp = serve(procedures.declare)
    readers_rest(wamp)
    slow = [router.invoke("com.example.slow") for _ in range(3)]
    for _ in slow:
        assert procedures.begun.acquire(timeout=TIMEOUT)
    assert [router.call("com.example.quick") for _ in range(5)]
    procedures.gate.set()
    names = [answer.result(TIMEOUT).args[0] for answer in slow]
    assert len(set(names)) == 3
    assert len([name for name in names if name.startswith("wamp-worker-reader")]) <= 1


@pytest.mark.parametrize("trust", ["trusting"], indirect=True)
@pytest.mark.parametrize("at_once", [1, 5])
def test_quick_handlers_run_in_the_same_thread(
    serve: Serve,
    router: MemoryRouter,
    procedures: Procedures,
    monkeypatch: pytest.MonkeyPatch,
    at_once: int,
) -> None:
    monkeypatch.setattr(LeaderFollowers, "WATCH", 60)
    _, wamp = serve(procedures.declare)
    names = set()
    for _ in range(20):
        readers_rest(wamp)
        with router.together:
            answers = [router.invoke("com.example.quick") for _ in range(at_once)]
        names |= {answer.result(TIMEOUT).args[0] for answer in answers}
    assert names in ({"wamp-worker-reader-1"}, {"wamp-worker-reader-2"})


@pytest.mark.parametrize("trust", ["trusting"], indirect=True)
def test_the_answer_for_a_waiting_handler_is_read_at_once(
    serve: Serve, router: MemoryRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeaderFollowers, "WATCH", 60)
    router.register("com.shop.echo", lambda *args: args[0])

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def ask(text: str) -> list[str]:
            return [g.wampy.call("com.shop.echo", text) for _ in range(2)]

    _, wamp = serve(setup)
    for number in range(5):
        readers_rest(wamp)
        assert router.call("com.example.ask", f"{number}") == [f"{number}"] * 2


def test_calls_that_arrive_with_a_slow_one_do_not_wait_for_it(
    serve: Serve, router: MemoryRouter, procedures: Procedures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeaderFollowers, "WATCH", 0.2)  # it still watches when the calls arrive
    _, wamp = serve(procedures.declare)
    for _ in range(5):
        readers_rest(wamp)
        procedures.gate.clear()
        with router.together:  # procedures take turns: quick, slow, quick ...
            quick = [router.invoke("com.example.quick") for _ in range(2)]
            slow = [router.invoke("com.example.slow") for _ in range(3)]
            quick += [router.invoke("com.example.quick") for _ in range(2)]
        assert all(answer.result(TIMEOUT).args[0] for answer in quick)
        assert router.call("com.example.quick")
        assert not any(answer.done() for answer in slow)
        procedures.gate.set()
        assert all(answer.result(TIMEOUT).args[0] for answer in slow)


@pytest.mark.parametrize("trust", ["trusting"], indirect=True)
def test_calls_that_arrive_with_a_waiting_one_do_not_wait_for_it(
    serve: Serve,
    router: MemoryRouter,
    procedures: Procedures,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(LeaderFollowers, "WATCH", 60)
    held = router.hold("com.shop.wait")

    def setup(wamp: FlaskWAMP) -> None:
        procedures.declare(wamp)
        wamp.callee(".ask")(lambda: g.wampy.call("com.shop.wait"))

    _, wamp = serve(setup, WAMP_HEARTBEAT=60)
    for number in range(5):
        readers_rest(wamp)
        with router.together:
            ask = router.invoke("com.example.ask")
            quick = [router.invoke("com.example.quick") for _ in range(3)]
        call = held.get(timeout=TIMEOUT)
        assert all(answer.result(TIMEOUT).args[0] for answer in quick)
        procedures.gate.clear()
        with router.together:
            later = router.invoke("com.example.quick")
            slow = router.invoke("com.example.slow")
        assert later.result(TIMEOUT).args[0]
        assert not ask.done()
        procedures.gate.set()
        assert slow.result(TIMEOUT).args[0]
        call.answer(number)
        assert ask.result(TIMEOUT).args == [number]


@pytest.mark.parametrize("trust", ["trusting"], indirect=True)
def test_answer_is_sent_if_no_other_answer_follows(
    serve: Serve, router: MemoryRouter, procedures: Procedures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LeaderFollowers, "WATCH", 60)

    def setup(wamp: FlaskWAMP) -> None:
        procedures.declare(wamp)
        wamp.subscriber(".news")(lambda: None)

    _, wamp = serve(setup, WAMP_HEARTBEAT=60)  # which would send it
    for _ in range(5):
        readers_rest(wamp)
        with router.together:
            answer = router.invoke("com.example.quick")
            router.publish("com.example.news")
        assert answer.result(TIMEOUT).args[0]


def test_waiting_and_quick_handlers_alternate(
    serve: Serve, router: MemoryRouter, procedures: Procedures
) -> None:
    router.register("com.shop.echo", lambda *args: args[0])

    def setup(wamp: FlaskWAMP) -> None:
        procedures.declare(wamp)

        @wamp.callee
        def ask(number: int) -> int:
            if number % 3 == 0:
                time.sleep(0.004)  # longer than two checks
            return t.cast(int, g.wampy.call("com.shop.echo", number)) if number % 2 else number

    serve(setup)

    def call(first: int) -> None:
        for number in range(first, first + 200):
            assert router.call("com.example.ask", number) == number
            assert router.call("com.example.quick")

    with ThreadPoolExecutor(3) as callers:
        for done in [callers.submit(call, first) for first in range(3)]:
            done.result(3 * TIMEOUT)


def test_session_that_is_lost_does_not_wait_for_a_reader(
    serve: Serve, router: MemoryRouter, procedures: Procedures
) -> None:
    _, wamp = serve(procedures.declare)
    readers_rest(wamp)
    router.invoke("com.example.slow")
    assert procedures.begun.acquire(timeout=TIMEOUT)
    first = wamp.client.session_id
    router.drop()
    eventually(lambda: wamp.client.session_id not in (None, first))
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call("com.example.quick")
    procedures.gate.set()
    expected = {"wamp-reader", "wamp-worker-reader-1", "wamp-worker-reader-2"}
    eventually(lambda: sorted(n for n in our_threads() if "reader" in n) == sorted(expected))


def test_handler_may_stop_the_client(serve: Serve, router: MemoryRouter) -> None:
    stopped = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.callee
        def stop() -> None:
            wamp.stop()
            stopped.set()

    _, wamp = serve(setup)
    readers_rest(wamp)
    router.invoke("com.example.stop")
    assert stopped.wait(TIMEOUT)
    eventually(lambda: not our_threads())


def test_no_reference_to_a_call_is_kept(serve: Serve, router: MemoryRouter) -> None:
    class Payload(str):
        pass

    seen: list[weakref.ref[Payload]] = []

    def setup(wamp: FlaskWAMP) -> None:
        @wamp.before_dispatch
        def note(message: t.Any) -> None:
            message.args[0] = Payload(message.args[0])
            seen.append(weakref.ref(message.args[0]))

        @wamp.callee(".take", validate=False)
        def take(text: str) -> None: ...

    _, wamp = serve(setup)
    for _ in range(6):
        readers_rest(wamp)
        router.call("com.example.take", "something large")
    eventually(lambda: [ref() for ref in seen] == [None] * 6)


def test_a_job_that_arrived_before_an_error_runs() -> None:
    pool = Pool(1, 10)
    ran = threading.Event()
    reads = iter([[ran.set]])

    def read() -> list[t.Callable[[], None]]:
        for events in reads:
            return events
        raise ProtocolError("nonsense")

    def handle(events: list[t.Callable[[], None]]) -> None:
        for event in events:
            pool.submit(event)

    with pytest.raises(ProtocolError, match="nonsense"):
        read_all(pool, read, handle, lambda: None)
    assert ran.wait(TIMEOUT)
    assert pool.stop(TIMEOUT)


def test_call_before_broken_bytes_does_not_block_the_reader(
    serve: Serve, router: MemoryRouter, procedures: Procedures
) -> None:
    _, wamp = serve(procedures.declare, WAMP_RECONNECT_MIN=0.001, WAMP_RECONNECT_MAX=0.001)
    for _ in range(10):
        readers_rest(wamp)
        transport = router.transports[-1]
        router.invoke(
            "com.example.quick"
        )  # whether it ran does not matter, because its session is lost
        transport.put_bytes(b"nonsense")
        eventually(lambda: router.transports[-1:] not in ([], [transport]))  # noqa: B023
        wamp.client.wait_until_joined(TIMEOUT)
        assert router.call("com.example.quick")
