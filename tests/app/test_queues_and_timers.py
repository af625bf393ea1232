"""Serial queues keep the order, waiters carry one answer, timers call functions at their time."""

from __future__ import annotations

import logging
import threading
import time
import typing as t
import weakref

import pytest

from flask_wamp.concurrency.pool import Pool
from flask_wamp.concurrency.serial_queue import SerialQueue
from flask_wamp.concurrency.threads import Waiter
from flask_wamp.concurrency.timer_thread import TimerHandle, TimerThread
from flask_wamp.protocol.checks import is_seconds
from tests.app.test_pool import TIMEOUT, VARIABLE, Call, Gate, Gauge
from tests.conftest import eventually


@pytest.fixture
def pool() -> t.Iterator[Pool]:
    pool = Pool(4, 1000)
    yield pool
    pool.stop(TIMEOUT)


# Serial queues.


def test_queue_runs_jobs_in_order(pool: Pool) -> None:
    queue, ran, done = SerialQueue(pool, 1, 1000), [], threading.Event()
    for number in range(200):
        assert queue.submit(lambda number=number: ran.append(number))  # type: ignore[misc]
    queue.submit(done.set)
    assert done.wait(TIMEOUT)
    assert ran == list(range(200))


def test_queue_runs_no_more_than_its_concurrency(pool: Pool) -> None:
    queue, gauge, gates = SerialQueue(pool, 2, 1000), Gauge(), [Gate() for _ in range(6)]

    def job(gate: Gate) -> None:
        with gauge:
            gate()

    for gate in gates:
        queue.submit(lambda gate=gate: job(gate))  # type: ignore[misc]
    assert gates[0].began.wait(TIMEOUT)
    assert gates[1].began.wait(TIMEOUT)
    assert queue.pending == 4
    assert not gates[2].began.is_set()
    for gate in gates:
        gate.may_end.set()
    for gate in gates:
        assert gate.ended.wait(TIMEOUT)
    assert gauge.most == 2


def test_queues_run_concurrently(pool: Pool) -> None:
    first, second = SerialQueue(pool, 1, 10), SerialQueue(pool, 1, 10)
    gate, done = Gate(), threading.Event()
    first.submit(gate)
    assert gate.began.wait(TIMEOUT)
    second.submit(done.set)
    assert done.wait(TIMEOUT)
    gate.may_end.set()


def test_a_full_queue_refuses_jobs(pool: Pool) -> None:
    queue, gate = SerialQueue(pool, 1, 2), Gate()
    queue.submit(gate)
    assert gate.began.wait(TIMEOUT)
    assert [queue.submit(lambda: None) for _ in range(3)] == [True, True, False]
    gate.may_end.set()
    eventually(lambda: queue.pending == 0)
    assert queue.submit(lambda: None) is True


def test_a_queue_with_too_many_bytes_refuses_jobs(pool: Pool) -> None:
    queue, gate = SerialQueue(pool, 1, 1000, max_bytes=100), Gate()
    queue.submit(gate, size=1000)  # a single message over the limit is accepted
    assert gate.began.wait(TIMEOUT)
    sizes = [1000, 1]
    assert [queue.submit(lambda: None, size=size) for size in sizes] == [True, False]
    gate.may_end.set()
    eventually(lambda: queue.pending == 0)
    assert queue.submit(lambda: None, size=100) is True


def test_each_job_of_a_queue_has_a_context_of_its_own(pool: Pool) -> None:
    queue, gate, seen, done = SerialQueue(pool, 1, 10), Gate(), [], threading.Event()
    queue.submit(gate)
    assert gate.began.wait(TIMEOUT)

    def job() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("used")

    for _ in range(3):
        queue.submit(job)
    queue.submit(done.set)
    gate.may_end.set()
    assert done.wait(TIMEOUT)
    assert seen == ["fresh"] * 3


def test_calls_of_a_queue_are_refused_if_all_threads_are_blocked() -> None:
    pool = Pool(1, 10, max_threads=1)
    queue, ran = SerialQueue(pool, 1, 10), threading.Event()
    waiting, calls = Call(pool), [Call(pool), Call(pool)]
    pool.submit(waiting)
    assert waiting.began.wait(TIMEOUT)
    for call in calls:
        queue.submit(call)
    queue.submit(ran.set)
    eventually(lambda: pool.starving_since is not None)
    pool.refuse_starving(patience=0)
    assert all(call.refused.is_set() for call in calls)
    waiting.answered.set()
    assert ran.wait(TIMEOUT)
    assert queue.pending == 0
    assert pool.stop(TIMEOUT)


def test_a_queue_continues_after_a_job_that_raises(pool: Pool, caplog: t.Any) -> None:
    queue, done = SerialQueue(pool, 1, 10), threading.Event()
    queue.submit(lambda: t.cast(t.Any, None).broken)
    queue.submit(done.set)
    assert done.wait(TIMEOUT)
    assert "a job failed" in caplog.text


def test_a_long_queue_lets_other_jobs_run_in_between() -> None:
    pool = Pool(1, 1000)
    queue, ran, gate, done = SerialQueue(pool, 1, 1000), [], Gate(), threading.Event()
    queue.submit(gate)
    assert gate.began.wait(TIMEOUT)
    for number in range(SerialQueue.TURN * 3):
        queue.submit(lambda number=number: ran.append(number))  # type: ignore[misc]
    queue.submit(done.set)
    pool.submit(lambda: ran.append("other"))
    gate.may_end.set()
    assert done.wait(TIMEOUT)
    pool.stop(TIMEOUT)
    assert ran.index("other") < SerialQueue.TURN
    assert [each for each in ran if each != "other"] == list(range(SerialQueue.TURN * 3))


# Waiters.


def test_a_waiter_gets_an_answer_that_arrived_earlier() -> None:
    waiter = Waiter()
    waiter.resolve(42)
    assert waiter.wait(0) is True
    assert (waiter.value, waiter.error) == (42, None)


def test_waiter_is_woken_from_another_thread() -> None:
    waiter, waits = Waiter(), threading.Event()
    outcome: list[bool] = []

    def wait() -> None:
        waits.set()
        outcome.append(waiter.wait(TIMEOUT))

    thread = threading.Thread(target=wait)
    thread.start()
    assert waits.wait(TIMEOUT)
    waiter.resolve("answer")
    thread.join(TIMEOUT)
    assert outcome == [True]


def test_waiter_gets_an_error() -> None:
    waiter, error = Waiter(), KeyError("x")
    waiter.fail(error)
    assert waiter.wait(0) is True
    assert waiter.error is error


@pytest.mark.parametrize("timeout", [0, 0.01, -1])
def test_a_waiter_waits_no_longer_than_its_timeout(timeout: float) -> None:
    assert Waiter().wait(timeout) is False


def test_waiter_that_is_answered_twice() -> None:
    waiter = Waiter()
    waiter.resolve(1)
    waiter.resolve(1)
    waiter.fail(KeyError())
    assert waiter.wait(0) is True


# Timers.


@pytest.fixture
def timer() -> t.Iterator[TimerThread]:
    timer = TimerThread()
    yield timer
    timer.stop()


def test_timer_calls_in_the_order_of_time(timer: TimerThread) -> None:
    gate, done, order, now = Gate(), threading.Event(), [], time.monotonic()
    timer.call_at(now - 9, gate)  # the timer's only thread waits here until all are scheduled
    assert gate.began.wait(TIMEOUT)
    for at in (-1, -3, -2, -3, -4):
        timer.call_at(now + at, lambda at=at: order.append(at))  # type: ignore[misc]
    timer.call_at(now, done.set)
    gate.may_end.set()
    assert done.wait(TIMEOUT)
    assert order == [-4, -3, -3, -2, -1]


def test_a_timer_does_not_call_before_its_time(timer: TimerThread) -> None:
    called: list[float] = []
    done = threading.Event()
    deadline = time.monotonic() + 0.05
    timer.call_at(deadline, lambda: (called.append(time.monotonic()), done.set()))
    assert done.wait(TIMEOUT)
    assert called[0] >= deadline


def test_a_timer_wakes_up_for_an_earlier_alarm(timer: TimerThread) -> None:
    done = threading.Event()
    timer.call_at(time.monotonic() + 1000, lambda: None)
    timer.call_at(time.monotonic() + 0.01, done.set)
    assert done.wait(TIMEOUT)


def test_canceled_alarm_is_not_called(timer: TimerThread) -> None:
    gate, done, called, now = Gate(), threading.Event(), [], time.monotonic()
    timer.call_at(now - 9, gate)
    assert gate.began.wait(TIMEOUT)
    alarm = timer.call_at(now - 1, lambda: called.append("canceled"))
    timer.call_at(now, done.set)
    alarm.cancel()
    alarm.cancel()
    assert alarm.canceled
    gate.may_end.set()
    assert done.wait(TIMEOUT)
    assert called == []


class Big:
    def method(self) -> None: ...


def test_a_canceled_alarm_releases_its_function(timer: TimerThread) -> None:
    big = Big()
    gone = weakref.ref(big)
    alarm = timer.call_at(time.monotonic() + 1000, big.method)
    del big
    assert gone() is not None
    alarm.cancel()
    assert gone() is None


def test_timer_that_was_stopped_lets_go_of_what_was_not_due(timer: TimerThread) -> None:
    timer.call_at(time.monotonic() + 1000, threading.Event().set)
    big = Big()
    timer.call_at(time.monotonic() + 1000, big.method)
    timer.stop()
    timer.call_at(time.monotonic() + 1000, big.method)
    gone = weakref.ref(big)
    del big
    assert gone() is None
    assert len(timer) == 0


def test_alarm_is_called_once() -> None:
    called: list[int] = []
    alarm = TimerHandle(lambda: called.append(1))
    alarm.fire()
    alarm.fire()
    assert called == [1]
    assert alarm.canceled


def test_a_timer_continues_after_a_function_that_raises(timer: TimerThread, caplog: t.Any) -> None:
    done = threading.Event()
    timer.call_at(0, lambda: t.cast(t.Any, None).broken)
    timer.call_at(0, done.set)
    assert done.wait(TIMEOUT)
    assert "a timer failed" in caplog.text


@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError])
def test_a_timer_survives_any_exception(timer: TimerThread, error: type[BaseException]) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error

    def fail() -> None:
        raise error

    handler, done = Broken(), threading.Event()
    logger = logging.getLogger("flask_wamp.execution")
    logger.addHandler(handler)
    try:
        timer.call_at(0, fail)
        timer.call_at(0, done.set)
        assert done.wait(TIMEOUT)
    finally:
        logger.removeHandler(handler)
    assert timer.is_alive


def test_canceled_alarms_leave_the_heap(timer: TimerThread) -> None:
    at = time.monotonic() + 1000
    kept = [timer.call_at(at, lambda: None) for _ in range(10)]
    for _ in range(10_000):
        timer.call_at(at, lambda: None).cancel()
    assert len(timer) < 1000
    assert not any(handle.canceled for handle in kept)


def test_timer_stops_with_alarms_left() -> None:
    timer = TimerThread()
    timer.call_at(time.monotonic() + 1000, lambda: None)
    timer.stop()
    assert not timer._thread.is_alive()


def test_timer_stops_by_its_own_function() -> None:
    timer, done = TimerThread(), threading.Event()
    timer.call_at(0, lambda: (timer.stop(), done.set()))
    assert done.wait(TIMEOUT)
    eventually(lambda: not timer._thread.is_alive())


# Timeouts.


@pytest.mark.parametrize("value", [1, 0.5, 1e9])
def test_seconds(value: float) -> None:
    assert is_seconds(value)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf"), 1e10, True, None, "1"])
def test_invalid_timeouts(value: t.Any) -> None:
    assert not is_seconds(value)
