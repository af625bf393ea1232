"""The pool: its limits, and jobs that wait for other jobs without starving."""

from __future__ import annotations

import contextvars
import logging
import threading
import typing as t

import pytest

from flask_wamp.concurrency.pool import Pool
from flask_wamp.concurrency.threads import Waiter
from flask_wamp.concurrency.workers import InlineWorker
from tests.conftest import eventually

TIMEOUT = 10.0


@pytest.fixture
def make_pool() -> t.Iterator[t.Callable[..., Pool]]:
    """Create pools. They are stopped after the test."""
    pools: list[Pool] = []

    def make(size: int = 2, max_pending: int = 1000, **options: t.Any) -> Pool:
        pools.append(Pool(size, max_pending, **options))
        return pools[-1]

    yield make
    for pool in pools:
        pool.stop(TIMEOUT)


class Gauge:
    """Counts how many threads are inside at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.inside = self.most = 0

    def __enter__(self) -> None:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)

    def __exit__(self, *exc_info: object) -> None:
        with self.lock:
            self.inside -= 1


class Gate:
    """A job that signals its start, and ends on a signal."""

    def __init__(self) -> None:
        self.began = threading.Event()
        self.may_end = threading.Event()
        self.ended = threading.Event()

    def __call__(self) -> None:
        self.began.set()
        assert self.may_end.wait(TIMEOUT)
        self.ended.set()


def workers() -> int:
    return sum(1 for thread in threading.enumerate() if thread.name.startswith("wamp-worker"))


Make = t.Callable[..., Pool]

# Slots and the queue.


def test_job_runs_on_a_worker_of_its_own(make_pool: Make) -> None:
    names: list[str] = []
    done = threading.Event()

    def job() -> None:
        names.append(threading.current_thread().name)
        done.set()

    assert make_pool().submit(job) is True
    assert done.wait(TIMEOUT)
    assert names == ["wamp-worker-1"]


def test_no_thread_before_the_first_job(make_pool: Make) -> None:
    make_pool()
    assert workers() == 0


def test_worker_is_used_again(make_pool: Make) -> None:
    pool = make_pool(size=8)
    for _ in range(20):
        done = threading.Event()
        pool.submit(done.set)
        assert done.wait(TIMEOUT)
        eventually(lambda: pool.running == 0)
    assert workers() == 1


def test_no_more_than_size_run_at_once(make_pool: Make) -> None:
    pool = make_pool(size=3)
    gates = [Gate() for _ in range(10)]
    for gate in gates:
        assert pool.submit(gate)
    for gate in gates[:3]:
        assert gate.began.wait(TIMEOUT)
    assert (pool.running, pool.pending) == (3, 7)
    assert not any(gate.began.is_set() for gate in gates[3:])
    gates[0].may_end.set()
    assert gates[3].began.wait(TIMEOUT)  # in order
    assert not gates[4].began.is_set()
    for gate in gates:
        gate.may_end.set()
    for gate in gates:
        assert gate.ended.wait(TIMEOUT)
    eventually(lambda: (pool.running, pool.pending) == (0, 0))


def test_a_job_is_refused_when_the_queue_is_full(make_pool: Make) -> None:
    pool = make_pool(size=1, max_pending=2)
    gate = Gate()
    ran: list[int] = []
    done = threading.Event()
    pool.submit(gate)
    assert gate.began.wait(TIMEOUT)
    assert [pool.submit(lambda n=n: ran.append(n)) for n in range(3)] == [True, True, False]  # type: ignore[misc]
    assert pool.submit(done.set, force=True) is True
    gate.may_end.set()
    assert done.wait(TIMEOUT)
    assert ran == [0, 1]


def test_a_free_slot_accepts_a_job_while_the_queue_is_full(make_pool: Make) -> None:
    pool = make_pool(size=1, max_pending=0)
    done = threading.Event()
    assert pool.submit(done.set) is True
    assert done.wait(TIMEOUT)


@pytest.mark.parametrize("error", [ValueError, SystemExit, KeyboardInterrupt])
def test_job_that_raises_is_logged_and_keeps_its_worker(
    make_pool: Make, caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    pool = make_pool(size=1)

    def broken() -> None:
        raise error("a defect")

    done = threading.Event()
    pool.submit(broken)
    pool.submit(done.set)
    assert done.wait(TIMEOUT)
    assert [record.exc_info[0] for record in caplog.records if record.exc_info] == [error]


# Released slots.


class SlowWaiter(Waiter):
    """Lets its thread go on only some time after the answer has arrived."""

    __slots__ = ("go_on",)

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()

    def wait(self, timeout: float) -> bool:
        return super().wait(timeout) and self.go_on.wait(timeout)


def test_a_job_whose_answer_has_arrived_is_resuming(make_pool: Make) -> None:
    pool, waiter, waited = make_pool(), SlowWaiter(), threading.Event()

    def job() -> None:
        pool.wait(waiter, TIMEOUT)
        waited.set()

    pool.submit(job)
    eventually(lambda: pool._awaiting)
    eventually(lambda: not pool.running)
    assert pool.resuming == 0
    waiter.resolve("answer")
    assert (pool.running, pool.resuming) == (0, 1)
    waiter.go_on.set()
    assert waited.wait(TIMEOUT)
    eventually(lambda: (pool.running, pool.resuming, pool._awaiting) == (0, 0, {}))


def test_a_waiting_job_releases_its_slot(make_pool: Make) -> None:
    pool = make_pool(size=1)
    inner, outer = threading.Event(), threading.Event()

    def job() -> None:
        pool.submit(inner.set)
        with pool.release_slot():
            assert inner.wait(TIMEOUT)
        outer.set()

    pool.submit(job)
    assert outer.wait(TIMEOUT)


def test_a_job_takes_a_slot_before_it_continues(make_pool: Make) -> None:
    pool = make_pool(size=1)
    away, answered, back = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        with pool.release_slot():
            away.set()
            assert answered.wait(TIMEOUT)
        back.set()

    other = Gate()
    pool.submit(job)
    assert away.wait(TIMEOUT)
    pool.submit(other)
    assert other.began.wait(TIMEOUT)
    answered.set()
    eventually(lambda: len(pool._returning) == 1)
    assert not back.is_set()  # the other job has the slot
    other.may_end.set()
    assert back.wait(TIMEOUT)


def test_a_continuing_job_comes_before_queued_jobs(make_pool: Make) -> None:
    pool = make_pool(size=1)
    order: list[str] = []
    away, answered, done = threading.Event(), threading.Event(), threading.Event()

    def job() -> None:
        with pool.release_slot():
            away.set()
            assert answered.wait(TIMEOUT)
        order.append("returned")

    other = Gate()
    pool.submit(job)
    assert away.wait(TIMEOUT)
    pool.submit(other)
    assert other.began.wait(TIMEOUT)
    pool.submit(lambda: (order.append("line"), done.set()))
    answered.set()
    eventually(lambda: len(pool._returning) == 1)
    other.may_end.set()
    assert done.wait(TIMEOUT)
    assert order == ["returned", "line"]


def test_fifty_jobs_nested_ten_deep_on_four_slots(make_pool: Make) -> None:
    # A plain pool of four, or of forty, deadlocks here.
    pool = make_pool(size=4)
    gauge = Gauge()

    def job(depth: int, done: Waiter) -> None:
        with gauge:
            pass
        if depth:
            inner = Waiter()
            pool.submit(lambda: job(depth - 1, inner))
            with pool.release_slot():
                assert inner.wait(TIMEOUT * 3)
        with gauge:
            done.resolve(depth)

    waiters = [Waiter() for _ in range(50)]
    for waiter in waiters:
        pool.submit(lambda waiter=waiter: job(9, waiter))  # type: ignore[misc]
    assert all(waiter.wait(TIMEOUT * 3) for waiter in waiters)
    assert gauge.most <= 4
    eventually(lambda: pool.running == 0)
    eventually(lambda: workers() <= 4)  # threads beyond the size end a moment after their last job


def test_releasing_a_slot_twice_releases_one(make_pool: Make) -> None:
    pool = make_pool(size=1)
    done = threading.Event()
    seen: list[int] = []

    def job() -> None:
        with pool.release_slot(), pool.release_slot():
            seen.append(pool.running)
        seen.append(pool.running)
        done.set()

    pool.submit(job)
    assert done.wait(TIMEOUT)
    assert seen == [0, 1]


def test_releasing_a_slot_that_a_thread_does_not_have_has_no_effect(make_pool: Make) -> None:
    pool, other, gate = make_pool(size=1), make_pool(size=1), Gate()
    with pool.release_slot():
        assert pool.running == 0

    def job() -> None:
        with other.release_slot():
            gate()

    pool.submit(job)
    assert gate.began.wait(TIMEOUT)
    assert pool.running == 1
    gate.may_end.set()


def test_a_slot_is_taken_back_after_an_error(make_pool: Make) -> None:
    pool = make_pool(size=1)
    done = threading.Event()
    seen: list[int] = []

    def job() -> None:
        try:
            with pool.release_slot():
                raise KeyError
        except KeyError:
            seen.append(pool.running)
        done.set()

    pool.submit(job)
    assert done.wait(TIMEOUT)
    assert seen == [1]


def test_the_number_of_threads_is_limited(make_pool: Make) -> None:
    pool = make_pool(size=2, max_threads=3)
    gates = [Gate() for _ in range(3)]

    def waits(gate: Gate) -> None:
        with pool.release_slot():
            gate()

    for gate in gates:
        pool.submit(lambda gate=gate: waits(gate))  # type: ignore[misc]
    for gate in gates:
        assert gate.began.wait(TIMEOUT)
    last = threading.Event()
    assert pool.submit(last.set) is True
    assert workers() == 3
    assert not last.is_set()
    gates[0].may_end.set()
    assert last.wait(TIMEOUT)
    for gate in gates:
        gate.may_end.set()


# The end.


def test_stop_lets_running_and_queued_jobs_finish(make_pool: Make) -> None:
    pool = make_pool(size=2)
    gates = [Gate() for _ in range(6)]
    for gate in gates:
        pool.submit(gate)
    assert gates[0].began.wait(TIMEOUT)
    for gate in gates:
        gate.may_end.set()
    assert pool.stop(TIMEOUT) is True
    assert all(gate.ended.is_set() for gate in gates)
    assert pool.submit(gates[0]) is False
    eventually(lambda: workers() == 0)


def test_stop_gives_up_after_its_timeout(make_pool: Make) -> None:
    pool = make_pool(size=1)
    gate, never = Gate(), Gate()
    pool.submit(gate)
    pool.submit(never)
    assert gate.began.wait(TIMEOUT)
    assert pool.stop(0.01) is False
    gate.may_end.set()
    eventually(lambda: workers() == 0)
    assert not never.began.is_set()


def test_a_job_may_stop_the_pool(make_pool: Make) -> None:
    pool = make_pool(size=2)
    outcome = Waiter()
    pool.submit(lambda: outcome.resolve(pool.stop(TIMEOUT)))
    assert outcome.wait(TIMEOUT)
    assert outcome.value is True
    eventually(lambda: workers() == 0)


def test_stop_of_an_idle_pool_ends_its_threads(make_pool: Make) -> None:
    pool = make_pool(size=4)
    gates = [Gate() for _ in range(4)]
    for gate in gates:
        pool.submit(gate)
        gate.may_end.set()
    for gate in gates:
        assert gate.ended.wait(TIMEOUT)
    eventually(lambda: pool.running == 0)
    assert pool.stop(0) is True
    eventually(lambda: workers() == 0)


def test_stop_waits_for_jobs_that_wait(make_pool: Make) -> None:
    pool = make_pool(size=1)
    gate = Gate()

    def job() -> None:
        with pool.release_slot():
            gate()

    pool.submit(job)
    assert gate.began.wait(TIMEOUT)
    assert pool.stop(0.01) is False
    gate.may_end.set()
    eventually(lambda: workers() == 0)


# Gathering a batch.


def gathered(pool: Pool, inline: InlineWorker | None, *jobs: t.Callable[[], object]) -> t.Any:
    """Submit jobs as the reader does. Return the one for the inline worker."""

    def submit(jobs: t.Iterable[t.Callable[[], object]]) -> None:
        for job in jobs:
            assert pool.submit(job)

    return pool.gather(inline, submit, jobs)


def test_gather_wakes_no_worker_before_its_end(make_pool: Make) -> None:
    pool, gates = make_pool(), [Gate(), Gate()]

    def submit(gates: t.Iterable[Gate]) -> None:
        for gate in gates:
            assert pool.submit(gate)
        assert workers() == 0

    assert pool.gather(None, submit, gates) is None
    for gate in gates:
        assert gate.began.wait(TIMEOUT)
        gate.may_end.set()


def test_workers_are_woken_although_the_batch_raises(make_pool: Make) -> None:
    pool, gate = make_pool(), Gate()

    def submit(gate: Gate) -> None:
        pool.submit(gate)
        raise KeyError

    with pytest.raises(KeyError):
        pool.gather(InlineWorker(pool), submit, gate)
    assert gate.began.wait(TIMEOUT)
    gate.may_end.set()


def test_single_job_is_for_the_inline_worker(make_pool: Make) -> None:
    pool, names = make_pool(), []
    inline = InlineWorker(pool)
    job = gathered(pool, inline, lambda: names.append(threading.current_thread().name))
    assert job is not None
    assert (pool.running, pool.pending) == (1, 0)
    inline.run(job)
    assert names == [threading.current_thread().name]
    assert (pool.running, pool.pending, workers()) == (0, 0, 0)


def test_watched_inline_worker_runs_all_that_is_in_the_queue(make_pool: Make) -> None:
    pool, names = make_pool(), []
    inline = InlineWorker(pool)
    jobs = [lambda: names.append(threading.current_thread().name)] * 5
    job = gathered(pool, inline, *jobs)
    pool.watch(inline)
    assert inline.run(job) == 5
    assert names == [threading.current_thread().name] * 5
    assert workers() == 0


def test_other_workers_run_the_jobs_behind_a_slow_job_of_an_inline_worker(make_pool: Make) -> None:
    pool, gates = make_pool(), [Gate(), Gate(), Gate()]
    inline = InlineWorker(pool)
    job = gathered(pool, inline, *gates)
    pool.watch(inline)
    thread = threading.Thread(target=inline.run, args=[job])
    thread.start()
    assert gates[0].began.wait(TIMEOUT)
    assert workers() == 0
    pool.share()
    assert gates[1].began.wait(TIMEOUT)
    gates[0].may_end.set()  # it is no longer watched, and continues as workers do
    assert gates[2].began.wait(TIMEOUT)
    for gate in gates[1:]:
        gate.may_end.set()
    thread.join(TIMEOUT)


def test_several_jobs_wake_workers(make_pool: Make) -> None:
    pool, gates = make_pool(), [Gate() for _ in range(InlineWorker.MOST + 1)]
    for gate in gates:
        gate.may_end.set()
    assert gathered(pool, InlineWorker(pool), *gates) is None
    for gate in gates:
        assert gate.ended.wait(TIMEOUT)


def test_inline_worker_has_a_slot_of_the_pool(make_pool: Make) -> None:
    pool, gate, late = make_pool(size=1), Gate(), Gate()
    inline = InlineWorker(pool)
    thread = threading.Thread(target=inline.run, args=[gathered(pool, inline, gate)])
    thread.start()
    assert gate.began.wait(TIMEOUT)
    assert gathered(pool, InlineWorker(pool), late) is None  # no slot
    assert (pool.running, pool.pending, workers()) == (1, 1, 0)
    late.may_end.set()
    gate.may_end.set()
    assert late.ended.wait(TIMEOUT)  # by the same inline worker, or another
    thread.join(TIMEOUT)


def test_inline_worker_that_waits_releases_its_slot(make_pool: Make) -> None:
    pool, gate = make_pool(size=1), Gate()
    inline = InlineWorker(pool)

    def job() -> None:
        with pool.release_slot():
            pool.submit(gate)
            assert gate.ended.wait(TIMEOUT)

    gate.may_end.set()
    inline.run(gathered(pool, inline, job))
    eventually(lambda: pool.running == 0)


def test_stop_waits_for_an_inline_worker(make_pool: Make) -> None:
    pool, gate = make_pool(), Gate()
    inline = InlineWorker(pool)
    thread = threading.Thread(target=inline.run, args=[gathered(pool, inline, gate)])
    thread.start()
    assert gate.began.wait(TIMEOUT)
    assert pool.stop(0.05) is False
    gate.may_end.set()
    thread.join(TIMEOUT)
    assert pool.stop(TIMEOUT) is True


def test_inline_worker_outlives_a_job_that_fails(
    make_pool: Make, caplog: pytest.LogCaptureFixture
) -> None:
    pool = make_pool()
    inline = InlineWorker(pool)
    inline.run(gathered(pool, inline, lambda: 1 / 0))
    assert "a job failed" in caplog.text
    assert pool.running == 0


# Contexts.

VARIABLE: contextvars.ContextVar[str] = contextvars.ContextVar("VARIABLE", default="fresh")


def test_each_job_has_a_context_of_its_own(make_pool: Make) -> None:
    pool, seen, done = make_pool(size=1), [], threading.Event()

    def job() -> None:
        seen.append(VARIABLE.get())
        VARIABLE.set("used")
        if len(seen) == 3:
            done.set()

    for _ in range(3):
        pool.submit(job)
    assert done.wait(TIMEOUT)
    inline = InlineWorker(pool)
    inline.run(gathered(pool, inline, job))
    inline.run(gathered(pool, inline, job))
    assert seen == ["fresh"] * 5
    assert VARIABLE.get() == "fresh"  # of this thread


# Threads.


class Call:
    """A job that waits for another peer, as a call's handler does."""

    def __init__(self, pool: Pool) -> None:
        self.pool = pool
        self.began, self.refused = threading.Event(), threading.Event()
        self.answered = threading.Event()

    def __call__(self) -> None:
        self.began.set()
        with self.pool.release_slot():
            assert self.answered.wait(TIMEOUT)

    def refuse(self) -> None:
        self.refused.set()


def test_calls_are_refused_if_all_threads_are_blocked(
    make_pool: Make, caplog: pytest.LogCaptureFixture
) -> None:
    pool, other = make_pool(size=1, max_threads=2), threading.Event()
    calls = [Call(pool) for _ in range(4)]
    for call in calls:
        pool.submit(call)
    for call in calls[:2]:
        assert call.began.wait(TIMEOUT)
    eventually(lambda: pool.starving_since is not None)
    pool.submit(other.set, force=True)
    assert pool.refuse_starving(patience=60) == 0
    assert pool.refuse_starving(patience=0) == 2
    assert all(call.refused.is_set() for call in calls[2:])
    assert "all 2 threads are waiting for answers; refused 2 queued calls" in caplog.text
    for call in calls[:2]:
        call.answered.set()
    assert other.wait(TIMEOUT)  # no caller could get an error: it waits for a thread
    eventually(lambda: pool.starving_since is None)


def test_no_call_is_refused_while_a_worker_runs(make_pool: Make) -> None:
    pool, gate, call = make_pool(size=2, max_threads=1), Gate(), None
    pool.submit(gate)
    assert gate.began.wait(TIMEOUT)
    call = Call(pool)
    pool.submit(call)
    assert pool.refuse_starving(patience=0) == 0
    call.answered.set()
    gate.may_end.set()
    assert call.began.wait(TIMEOUT)


@pytest.mark.parametrize("is_ending", [False, True])
def test_the_pool_continues_when_no_more_threads_can_be_started(
    make_pool: Make,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    is_ending: bool,
) -> None:
    pool, gate, done = make_pool(size=4), Gate(), threading.Event()
    pool.submit(gate)
    assert gate.began.wait(TIMEOUT)

    def start(thread: threading.Thread) -> None:
        end = "can't create new thread at interpreter shutdown"
        raise RuntimeError(end if is_ending else "can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        patch.setattr("flask_wamp.concurrency.slots.is_ending", lambda: is_ending)
        assert pool.submit(done.set) is True
    is_told = "cannot start another thread while 1 are running" in caplog.text
    assert is_told is not is_ending
    gate.may_end.set()
    assert done.wait(TIMEOUT)  # by the existing worker


def test_first_thread_that_cannot_be_started_is_tried_again(
    make_pool: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, ran = make_pool(), []

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start)
        assert pool.submit(lambda: ran.append(1)) is True
    done = threading.Event()
    pool.submit(done.set)
    assert done.wait(TIMEOUT)
    assert ran == [1]


def test_stop_runs_the_remaining_jobs_if_no_thread_can_be_started(
    make_pool: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, ran = make_pool(), []

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't create new thread at interpreter shutdown")

    monkeypatch.setattr(threading.Thread, "start", start)
    pool.submit(lambda: ran.append(1))
    assert pool.stop(TIMEOUT) is True
    assert ran == [1]


class Log(logging.Handler):
    """A log handler that uses the pool, as one that publishes does."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()
        self.pool = pool

    def emit(self, record: logging.LogRecord) -> None:
        self.pool.submit(lambda: None)


def test_log_handler_may_use_the_pool(make_pool: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool()
    handler = Log(pool)
    logger = logging.getLogger("flask_wamp.execution")
    logger.addHandler(handler)

    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    try:
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            pool.submit(lambda: None)  # deadlocks if the record is logged under the pool's lock
    finally:
        logger.removeHandler(handler)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, MemoryError])
def test_worker_outlives_a_log_handler_that_raises(
    make_pool: Make, error: type[BaseException]
) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise error

    pool, handler, done = make_pool(size=1), Broken(), threading.Event()
    logger = logging.getLogger("flask_wamp.execution")
    logger.addHandler(handler)
    try:
        pool.submit(lambda: 1 / 0)
        pool.submit(done.set)
        assert done.wait(TIMEOUT)
        assert workers() == 1
    finally:
        logger.removeHandler(handler)
