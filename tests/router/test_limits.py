"""Deadlines, cancellation, and too many calls at once."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, invocation
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer, Canceled, RemoteError

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]


class Gate:
    """A gate in which a handler waits until the test opens it."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.count = 0
        self.most = 0
        self._inside = 0
        self._lock = threading.Lock()
        self._open = threading.Event()

    def wait(self) -> None:
        with self._lock:
            self.count += 1
            self._inside += 1
            self.most = max(self.most, self._inside)
        self.entered.release()
        try:
            assert self._open.wait(PATIENCE)
        finally:
            with self._lock:
                self._inside -= 1

    def wait_for(self, count: int) -> None:
        """Wait until this many handlers are inside."""
        for _ in range(count):
            assert self.entered.acquire(timeout=PATIENCE)

    def open(self) -> None:
        self._open.set()


@pytest.fixture
def gate() -> t.Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open()


# Deadlines.


def test_the_caller_gets_an_error_when_the_deadline_passes(
    wamp: FlaskWAMP, peer: AutobahnPeer, gate: Gate
) -> None:
    @wamp.callee(timeout=0.1)
    def slow() -> None:
        gate.wait()

    started = time.monotonic()
    error = peer.error("com.example.slow")
    assert 0.1 <= time.monotonic() - started < 2
    assert error.uri == "wamp.error.timeout"
    assert "com.example.slow" in error.args[0]
    assert error.kwargs == {}


def test_an_answer_after_the_deadline_is_dropped(
    wamp: FlaskWAMP, peer: AutobahnPeer, gate: Gate, caplog: pytest.LogCaptureFixture
) -> None:
    @wamp.callee(timeout=0.1)
    def slow() -> str:
        gate.wait()
        return "too late"

    wamp.callee("com.example.quick")(lambda: "here")
    session_id = wamp.client.session_id
    peer.error("com.example.slow")
    gate.open()
    # A thread cannot be ended, a greenlet can.
    said = ("com.example.slow ended too late", "took too long and was ended")
    eventually(lambda: any(text in caplog.text for text in said))
    assert peer.call("com.example.quick").value == "here"
    assert wamp.client.session_id == session_id


def test_the_handler_knows_its_deadline(wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    @wamp.callee(timeout=5)
    def limited() -> float:
        assert invocation.deadline is not None
        return invocation.deadline - time.monotonic()

    @wamp.callee
    def unlimited() -> float | None:
        return invocation.deadline

    assert 4 < peer.call("com.example.limited").value <= 5
    assert peer.call("com.example.unlimited").value is None


# Cancellation.


def test_the_handler_sees_that_its_caller_has_canceled(
    wamp: FlaskWAMP, peer: AutobahnPeer, gate: Gate
) -> None:
    seen = threading.Event()

    @wamp.callee
    def patient() -> None:
        try:  # a greenlet is ended there
            gate.wait()
            eventually(lambda: invocation.canceled)
        finally:
            if invocation.canceled:
                seen.set()

    call = peer.submit("com.example.patient")
    gate.wait_for(1)
    call.cancel()
    with pytest.raises(Canceled):
        call.wait()
    gate.open()
    assert seen.wait(PATIENCE)


def test_a_canceled_waiting_call_never_runs(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, gate: Gate
) -> None:
    _, wamp = join(wamp_router.url, WAMP_WORKERS=1)
    ran: list[str] = []

    @wamp.callee
    def work(name: str) -> None:
        ran.append(name)
        gate.wait()

    first = peer.submit("com.example.work", "first")
    gate.wait_for(1)
    second = peer.submit("com.example.work", "second")
    second.cancel()
    third = peer.submit("com.example.work", "third")
    # The router handles one session's messages in order: once this is answered, it has sent INTERRUPT.
    peer.error("com.example.nothing")
    gate.open()
    first.wait()
    third.wait()
    assert ran == ["first", "third"]


# Calls over the limit.


def test_too_many_calls_are_refused_at_once(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, gate: Gate
) -> None:
    _, wamp = join(wamp_router.url, WAMP_WORKERS=1, WAMP_MAX_PENDING=1)

    @wamp.callee
    def work(number: int) -> int:
        gate.wait()
        return number

    running = peer.submit("com.example.work", 1)
    gate.wait_for(1)
    waiting = peer.submit("com.example.work", 2)
    error = peer.error("com.example.work", 3)
    assert error.uri == "wamp.error.unavailable"
    assert "com.example.work" in error.args[0]
    gate.open()
    assert [running.wait().value, waiting.wait().value] == [1, 2]
    assert gate.count == 2
    assert peer.call("com.example.work", 4).value == 4


def test_concurrency_limits_one_procedure_and_not_the_others(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, gate: Gate
) -> None:
    _, wamp = join(wamp_router.url, WAMP_WORKERS=8)

    @wamp.callee(concurrency=2)
    def few() -> None:
        gate.wait()

    wamp.callee("com.example.many")(lambda: "here")
    calls = [peer.submit("com.example.few") for _ in range(6)]
    gate.wait_for(2)
    assert peer.call("com.example.many").value == "here"
    assert gate.count == 2
    gate.open()
    for call in calls:
        call.wait()
    assert (gate.count, gate.most) == (6, 2)


def test_the_queue_of_a_procedure_with_concurrency_is_limited(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, gate: Gate
) -> None:
    _, wamp = join(wamp_router.url, WAMP_MAX_PENDING=1)

    @wamp.callee(concurrency=1)
    def few() -> None:
        gate.wait()

    calls = [peer.submit("com.example.few") for _ in range(2)]
    gate.wait_for(1)
    assert peer.error("com.example.few").uri == "wamp.error.unavailable"
    gate.open()
    for call in calls:
        call.wait()


def test_events_over_the_limit_are_dropped_and_counted(
    join: Join,
    wamp_router: DevRouter,
    peer: AutobahnPeer,
    gate: Gate,
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, wamp = join(wamp_router.url, WAMP_EVENT_QUEUE=2)
    seen: list[int] = []

    @wamp.subscriber
    def news(number: int) -> None:
        seen.append(number)
        gate.wait()

    peer.publish("com.example.news", 0)
    gate.wait_for(1)
    for number in range(1, 6):
        peer.publish("com.example.news", number)
    (subscription,) = wamp.client.declarations
    eventually(lambda: getattr(subscription, "dropped", 0) == 3)
    gate.open()
    eventually(lambda: seen == [0, 1, 2])
    assert "com.example.news dropped" in caplog.text


def test_a_long_call_does_not_delay_others(wamp: FlaskWAMP, peer: AutobahnPeer, gate: Gate) -> None:
    @wamp.callee
    def forever() -> None:
        gate.wait()

    wamp.callee("com.example.quick")(lambda: "here")
    call = peer.submit("com.example.forever")
    gate.wait_for(1)
    assert peer.call("com.example.quick").value == "here"
    gate.open()
    call.wait()


def test_a_callee_that_leaves_ends_its_calls(
    join: Join, wamp_router: DevRouter, peer: AutobahnPeer, gate: Gate
) -> None:
    _, wamp = join(wamp_router.url, WAMP_DRAIN_TIMEOUT=0)

    @wamp.callee
    def forever() -> None:
        gate.wait()

    call = peer.submit("com.example.forever")
    gate.wait_for(1)
    wamp.stop()
    with pytest.raises(RemoteError, match=r"wamp\.error\.canceled"):
        call.wait()
