"""Scheduled jobs in one process: the schedule library's API, workers, contexts, errors, clocks."""

from __future__ import annotations

import datetime as dt
import json
import logging
import queue
import subprocess
import sys
import threading
import typing as t

import pytest
import schedule
from flask import Flask, current_app, g, has_app_context

from flask_wamp import FlaskWAMP, signals
from flask_wamp.concurrency.pool import Pool
from flask_wamp.scheduling.runner import GRACE, JobRunner
from flask_wamp.scheduling.scheduler import Clock, Job, Scheduler
from tests.app.conftest import Serve
from tests.conftest import eventually, our_threads
from tests.support.scripts import environment

PATIENCE = 10.0

NOWHERE = "tcp://127.0.0.1:9"
"""There is no router: jobs of ``WAMP_SCHEDULE="every"`` run anyway."""

Run = t.Callable[..., tuple[Flask, FlaskWAMP]]


@pytest.fixture
def run(make_app: t.Callable[..., Flask]) -> Run:
    """Create an app whose client is started without a router. ``setup(wamp)`` adds its jobs."""

    def run(
        setup: t.Callable[[FlaskWAMP], t.Any] = lambda wamp: None, **config: t.Any
    ) -> tuple[Flask, FlaskWAMP]:
        app = make_app(WAMP_ROUTER_URL=NOWHERE, **{"WAMP_SCHEDULE": "every", **config})
        wamp = FlaskWAMP(app)
        setup(wamp)
        wamp.start()
        return app, wamp

    return run


class Calls:
    """A job that records where it ran."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def __call__(self, *args: t.Any, **kwargs: t.Any) -> None:
        where = {"thread": threading.current_thread().name, "context": has_app_context()}
        self._calls.put({**where, "args": args, "kwargs": kwargs})

    def next(self) -> t.Any:
        return self._calls.get(timeout=PATIENCE)

    @property
    def empty(self) -> bool:
        return self._calls.empty()


@pytest.fixture
def calls() -> Calls:
    return Calls()


# The library's API.


def test_the_api_is_that_of_schedule(calls: Calls) -> None:
    jobs = FlaskWAMP().schedule
    assert isinstance(jobs, schedule.Scheduler)
    job = jobs.every(10).seconds.do(calls, 1, two=2).tag("often", "a")
    daily = jobs.every().day.at("10:30").do(calls).tag("daily")
    jobs.every().monday.at("08:00").do(calls)
    jobs.every(5).to(10).minutes.do(calls)
    assert isinstance(job, schedule.Job)
    assert jobs.get_jobs("often") == [job]
    assert len(jobs.get_jobs()) == len(jobs.jobs) == 4
    assert jobs.idle_seconds == pytest.approx(10, abs=0.5)
    assert jobs.next_run == job.next_run == min(jobs.jobs).next_run
    assert daily.next_run is not None
    assert (daily.next_run.hour, daily.next_run.minute) == (10, 30)
    assert "every 10 seconds" in repr(job).lower()
    jobs.cancel_job(job)
    jobs.clear("daily")
    assert len(jobs.jobs) == 2
    jobs.clear()
    assert jobs.idle_seconds is None


def test_a_job_shows_the_function_it_runs() -> None:
    def tidy_up(what: str) -> None:
        pass

    job = FlaskWAMP().schedule.every(10).seconds.do(tidy_up, "all")
    assert "tidy_up('all')" in repr(job)
    assert "do=tidy_up, args=('all',)" in str(job)
    assert job.job_func is not None
    assert job.job_func.func.__wrapped__ is tidy_up


def test_repeat_decorates_a_job() -> None:
    jobs = FlaskWAMP().schedule

    @schedule.repeat(jobs.every(10).minutes, "all")
    def tidy_up(what: str) -> None:
        pass

    assert [job.interval for job in jobs.jobs] == [10]


def test_a_job_that_is_run_by_hand_runs_at_once_in_each_app(
    make_app: t.Callable[..., Flask], calls: Calls
) -> None:
    wamp = FlaskWAMP()
    seen = []
    wamp.schedule.every(10).days.do(lambda: seen.append(current_app.name))
    for name in ("one", "two"):
        wamp.init_app(make_app(name))
    wamp.schedule.run_all()
    assert sorted(seen) == ["one", "two"]
    assert our_threads() == []


def test_a_job_that_is_run_by_hand_runs_in_the_current_app(
    make_app: t.Callable[..., Flask],
) -> None:
    wamp = FlaskWAMP()
    seen = []
    job = wamp.schedule.every(10).days.do(lambda: seen.append(current_app.name))
    app = make_app("one")
    wamp.init_app(app)
    wamp.init_app(make_app("two"))
    with app.app_context():
        job.run()
    assert seen == ["one"]


def test_the_schedule_library_is_imported_on_first_use() -> None:
    code = (
        "import sys; from flask import Flask; from flask_wamp import FlaskWAMP;"
        "wamp = FlaskWAMP(Flask('x')); assert 'schedule' not in sys.modules;"
        "wamp.schedule; assert 'schedule' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# Running.


def test_a_job_runs_on_a_worker_in_an_app_context(run: Run, calls: Calls) -> None:
    run(lambda wamp: wamp.schedule.every(0.05).seconds.do(calls, 1, two=2))
    call = calls.next()
    assert call["thread"].startswith("wamp-worker")
    assert call["context"]
    assert (call["args"], call["kwargs"]) == ((1,), {"two": 2})
    calls.next()


def test_a_job_has_the_client_and_its_own_context(run: Run) -> None:
    seen: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def job() -> None:
        seen.put((g.wampy, "mark" in g))
        g.mark = True

    _, wamp = run(lambda wamp: wamp.schedule.every(0.05).seconds.do(job))
    for _ in range(2):
        client, marked = seen.get(timeout=PATIENCE)
        assert client is wamp.client
        assert not marked


def test_an_async_job_is_awaited(run: Run, calls: Calls) -> None:
    async def job(value: int) -> None:
        calls(value, context=has_app_context())

    run(lambda wamp: wamp.schedule.every(0.05).seconds.do(job, 7))
    assert calls.next()["args"] == (7,)


def test_a_job_with_a_session_calls(serve: Serve) -> None:
    answers: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".add")(lambda a, b: a + b)
        wamp.schedule.every(0.05).seconds.do(
            lambda: answers.put(g.wampy.call("com.example.add", 1, 2))
        )

    serve(setup, WAMP_SCHEDULE="once")
    assert answers.get(timeout=PATIENCE) == 3


def test_a_failing_job_does_not_stop_the_scheduler(
    run: Run, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    failed: queue.SimpleQueue[t.Any] = queue.SimpleQueue()

    def on_failed(sender: Flask, **payload: t.Any) -> None:
        failed.put((sender, has_app_context(), payload))

    def job() -> None:
        raise LookupError("not there")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.schedule.every(0.05).seconds.do(job)
        wamp.schedule.every(0.05).seconds.do(calls)

    with signals.task_failed.connected_to(on_failed):
        app, _ = run(setup)
        for _ in range(2):
            sender, context, payload = failed.get(timeout=PATIENCE)
            assert sender is app
            assert context
            assert payload["task"] is job
            assert str(payload["error"]) == "not there"
            calls.next()
    (record, *_) = [r for r in caplog.records if r.name == "flask_wamp.schedule"]
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert "job" in record.getMessage()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_job_that_calls_exit_does_not_stop_the_scheduler(
    run: Run, calls: Calls, error: type[BaseException]
) -> None:
    def job() -> None:
        calls()
        raise error

    run(lambda wamp: wamp.schedule.every(0.05).seconds.do(job))
    calls.next()
    calls.next()


def test_a_failing_teardown_function_does_not_stop_the_scheduler(
    run: Run, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    app, wamp = run()
    test = threading.current_thread()

    @app.teardown_appcontext
    def teardown(error: BaseException | None) -> None:
        if threading.current_thread() is not test:
            raise LookupError("not there")

    wamp.schedule.every(0.05).seconds.do(calls)
    calls.next()
    calls.next()
    assert "a teardown function failed" in caplog.text


def test_a_job_that_still_runs_is_not_started_again(
    run: Run, calls: Calls, caplog: pytest.LogCaptureFixture
) -> None:
    gate = threading.Event()

    def slow() -> None:
        calls()
        assert gate.wait(PATIENCE)

    run(lambda wamp: wamp.schedule.every(0.05).seconds.do(slow))
    calls.next()
    eventually(lambda: "is still running, so it is not started again" in caplog.text)
    assert calls.empty
    gate.set()
    calls.next()
    assert all(
        r.levelno == logging.WARNING for r in caplog.records if "is still running" in r.message
    )


def test_a_slow_job_does_not_delay_others(run: Run, calls: Calls) -> None:
    gate = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        wamp.schedule.every(0.05).seconds.do(gate.wait, PATIENCE)
        wamp.schedule.every(0.05).seconds.do(calls)

    run(setup)
    for _ in range(3):
        calls.next()
    gate.set()


@pytest.mark.parametrize("canceled", [schedule.CancelJob, schedule.CancelJob()])
def test_a_job_cancels_itself(run: Run, calls: Calls, canceled: t.Any) -> None:
    def job() -> t.Any:
        calls()
        return canceled

    _, wamp = run(lambda wamp: wamp.schedule.every(0.05).seconds.do(job))
    calls.next()
    eventually(lambda: not wamp.schedule.jobs)
    assert calls.empty


def test_a_job_ends_at_its_until(run: Run, calls: Calls) -> None:
    def setup(wamp: FlaskWAMP) -> None:
        wamp.schedule.every(0.05).seconds.until(dt.timedelta(seconds=0.3)).do(calls)

    _, wamp = run(setup)
    calls.next()
    eventually(lambda: not wamp.schedule.jobs)


def test_a_canceled_job_does_not_run(run: Run, calls: Calls) -> None:
    _, wamp = run()
    job = wamp.schedule.every(0.2).seconds.do(lambda: pytest.fail("it ran"))
    wamp.schedule.cancel_job(job)
    wamp.schedule.every(0.3).seconds.do(calls)
    calls.next()


def test_last_run_and_next_run_are_kept(run: Run, calls: Calls) -> None:
    _, wamp = run(lambda wamp: wamp.schedule.every(0.1).seconds.do(calls))
    (job,) = wamp.schedule.jobs
    planned = job.next_run
    calls.next()
    eventually(lambda: job.last_run is not None)
    assert planned is not None
    assert job.last_run is not None
    assert job.last_run >= planned
    eventually(lambda: job.next_run is not None and job.next_run > planned)


# The thread.


def test_without_jobs_there_is_no_thread(run: Run) -> None:
    _, wamp = run(lambda wamp: wamp.schedule)
    assert "wamp-scheduler" not in our_threads()


def test_the_first_job_starts_the_scheduler(run: Run, calls: Calls) -> None:
    _, wamp = run()
    wamp.schedule.every(0.05).seconds.do(calls)
    calls.next()
    assert our_threads().count("wamp-scheduler") == 1


def test_a_job_that_is_due_sooner_wakes_the_scheduler(run: Run, calls: Calls) -> None:
    _, wamp = run(lambda wamp: wamp.schedule.every(10).hours.do(lambda: None))
    wamp.schedule.every(0.05).seconds.do(calls)
    calls.next()


def test_stop_ends_the_scheduler_and_start_starts_a_new_one(run: Run, calls: Calls) -> None:
    _, wamp = run(lambda wamp: wamp.schedule.every(0.05).seconds.do(calls))
    calls.next()
    wamp.stop()
    assert "wamp-scheduler" not in our_threads()
    while not calls.empty:
        calls.next()
    wamp.start()
    calls.next()


def test_stop_waits_for_a_job_that_runs(run: Run, calls: Calls) -> None:
    gate, ended = threading.Event(), threading.Event()

    def job() -> None:
        calls()
        assert gate.wait(PATIENCE)
        ended.set()

    _, wamp = run(lambda wamp: wamp.schedule.every(0.05).seconds.do(job))
    calls.next()
    stopping = threading.Thread(target=wamp.stop)
    stopping.start()
    gate.set()
    stopping.join(PATIENCE)
    assert ended.is_set()


def test_a_job_may_stop_the_client(run: Run) -> None:
    stopped = threading.Event()

    def setup(wamp: FlaskWAMP) -> None:
        def job() -> None:
            wamp.stop()
            stopped.set()

        wamp.schedule.every(0.05).seconds.do(job)

    run(setup, WAMP_DRAIN_TIMEOUT=1)
    assert stopped.wait(PATIENCE)
    eventually(lambda: not our_threads())


FORKING = """
import os, sys, time
if sys.argv[1] == "gevent":
    from gevent import monkey
    monkey.patch_all()
from flask import Flask
from flask_wamp import FlaskWAMP

app = Flask("forking")
app.config.update(WAMP_ROUTER_URL="tcp://127.0.0.1:9", WAMP_SCHEDULE="every")
wamp = FlaskWAMP(app)
ran = []
wamp.schedule.every(0.02).seconds.do(lambda: ran.append(os.getpid()))
wamp.start()
while not ran:
    time.sleep(0.01)
pid = os.fork()
if pid == 0:
    time.sleep(0.3)
    os._exit(os.getpid() in ran)
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
wamp.stop()
sys.exit(status)
"""


@pytest.mark.parametrize("workers", ["threads", "gevent"])
def test_a_forked_child_runs_no_jobs(workers: str) -> None:
    if workers == "gevent":
        pytest.importorskip("gevent")
    command = [sys.executable, "-W", "ignore", "-c", FORKING, workers]
    subprocess.run(command, check=True, timeout=60)


# Which processes, which apps.


def test_a_schedule_of_false_runs_no_jobs(run: Run, calls: Calls) -> None:
    _, wamp = run(lambda wamp: wamp.schedule.every(0.05).seconds.do(calls), WAMP_SCHEDULE=False)
    assert "wamp-scheduler" not in our_threads()
    eventually(lambda: wamp.schedule.jobs[0].should_run)
    wamp.schedule.run_pending()
    calls.next()


def test_once_needs_a_session(run: Run) -> None:
    _, wamp = run(
        lambda wamp: wamp.schedule.every(0.05).seconds.do(lambda: pytest.fail("it ran")),
        WAMP_SCHEDULE="once",
    )
    eventually(lambda: wamp.schedule.jobs[0].should_run)
    assert wamp.schedule.jobs[0].last_run is None


def test_each_app_of_an_extension_runs_the_jobs(make_app: t.Callable[..., Flask]) -> None:
    seen: queue.SimpleQueue[str] = queue.SimpleQueue()
    wamp = FlaskWAMP()
    wamp.schedule.every(0.05).seconds.do(lambda: seen.put(current_app.name))
    apps = [
        make_app(name, WAMP_ROUTER_URL=NOWHERE, WAMP_SCHEDULE="every") for name in ("one", "two")
    ]
    for app in apps:
        wamp.init_app(app)
        with app.app_context():
            wamp.start()
    counts = {"one": 0, "two": 0}
    while min(counts.values()) < 3:
        counts[seen.get(timeout=PATIENCE)] += 1


# Clocks: the wall clock is set, and the monotonic clock continues.


class SetClock(Clock):
    """The wall clock, which was set forward or back, and a monotonic clock that the test moves."""

    def __init__(self) -> None:
        self.set_by = 0.0
        self.passed = 0.0
        self._began = super().now()

    def now(self) -> dt.datetime:
        return super().now() + dt.timedelta(seconds=self.set_by + self.passed)

    def utc(self) -> float:
        return super().utc() + self.set_by + self.passed

    def monotonic(self) -> float:
        return (super().now() - self._began).total_seconds() + self.passed


@pytest.mark.parametrize("jump", [3600.0, -3600.0, 86400.0 * 400])
def test_an_interval_is_kept_when_the_clock_is_set(jump: float) -> None:
    clock = SetClock()
    jobs = Scheduler(clock=clock)
    job = jobs.every(10).seconds.do(lambda: None)
    planned = job.next_run
    assert planned is not None
    clock.set_by = jump
    assert not job.should_run  # no burst
    assert job.next_run is not None
    assert (job.next_run - planned).total_seconds() == pytest.approx(jump, abs=0.1)
    clock.passed = 9.5
    assert not job.should_run
    clock.passed = 10.5
    assert job.should_run  # no stall


@pytest.mark.parametrize("jump", [3600.0, -3600.0])
def test_an_interval_stays_the_same_after_the_clock_is_set(jump: float) -> None:
    clock = SetClock()
    jobs = Scheduler(clock=clock)
    ran = []
    jobs.every(10).seconds.do(lambda: ran.append(clock.passed))
    for second in range(41):
        clock.passed = second + 0.5
        if second == 15:
            clock.set_by = jump
        jobs.run_pending()
    # The library schedules by its own clock, which did not move meanwhile: each run is one step later.
    assert len(ran) in (3, 4)
    assert all(9 <= late - early <= 12 for early, late in zip(ran, ran[1:], strict=False))


def test_a_wall_time_is_kept_when_the_clock_is_set() -> None:
    clock = SetClock()
    jobs = Scheduler(clock=clock)
    in_an_hour = dt.datetime.now() + dt.timedelta(hours=1)
    job = jobs.every().day.at(f"{in_an_hour:%H:%M:%S}").do(lambda: None)
    planned = job.next_run
    clock.set_by = -1800.0
    assert job.next_run == planned
    assert not job.should_run
    clock.set_by = 3700.0
    assert job.next_run == planned
    assert job.should_run
    assert job.remaining == pytest.approx(-100, abs=2)


@pytest.mark.parametrize("unit", ["minute", "hour"])
def test_a_time_of_the_hour_is_kept_when_the_clock_is_set(unit: str) -> None:
    clock = SetClock()
    job = getattr(Scheduler(clock=clock).every(), unit).at(":30").do(lambda: None)
    remaining = job.remaining
    clock.set_by = -0.25 * remaining
    assert job.remaining == pytest.approx(1.25 * remaining, abs=0.5)
    clock.set_by = remaining + 0.5
    assert job.should_run


DAYLIGHT_SAVING = """
import datetime as real, json, sys, time, types
import schedule
from flask_wamp.scheduling import scheduler as module

class Clock(module.Clock):
    at = float(sys.argv[1])
    def now(self): return real.datetime.fromtimestamp(self.at)
    def utc(self): return self.at
    def monotonic(self): return self.at - 1e9

class Datetime(real.datetime):
    @classmethod
    def now(cls, tz=None): return real.datetime.fromtimestamp(Clock.at, tz)

# The library asks the clock itself.
schedule.datetime = module.dt = types.SimpleNamespace(
    datetime=Datetime, timedelta=real.timedelta, time=real.time
)
jobs, runs = module.Scheduler(clock=Clock()), {}
def job(name):
    return lambda: runs.setdefault(name, []).append(Clock.at)
jobs.every().minute.at(":00").do(job("minute"))
jobs.every().hour.at(":30").do(job("hour"))
jobs.every(2).hours.at(":15").do(job("two hours"))
jobs.every(10).minutes.do(job("interval"))
jobs.every().day.at("02:30").do(job("day"))
jobs.every().day.at("12:00").do(job("noon"))
for _ in range(60 * 60 * 50 // 15):
    jobs.run_pending()
    Clock.at += 15
print(json.dumps({
    name: [[at, time.strftime("%d %H:%M:%S", time.localtime(at))] for at in ats]
    for name, ats in runs.items()
}))
"""


@pytest.mark.parametrize(
    ("noon_before", "days"),
    [(1774695600, ["29 03:00:00", "30 02:30:00"]), (1792836000, ["25 02:30:00", "26 02:30:00"])],
    ids=["it begins", "it ends"],
)
def test_daylight_saving_time(noon_before: int, days: list[str]) -> None:
    """Changes of 2026, from noon of the day before, in a time zone that needs no files."""
    environ = environment(TZ="CET-1CEST,M3.5.0,M10.5.0/3")
    done = subprocess.run(
        [sys.executable, "-c", DAYLIGHT_SAVING, str(noon_before)],
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = json.loads(done.stdout)
    gaps = {
        name: {after[0] - before[0] for before, after in zip(ran, ran[1:], strict=False)}
        for name, ran in runs.items()
    }
    assert gaps["minute"] == {60}
    assert gaps["hour"] == {3600}
    assert gaps["two hours"] == {7200}
    assert gaps["interval"] == {600}
    assert {at[-5:-3] for _, at in runs["hour"]} == {"30"}
    assert [at for _, at in runs["day"]] == days
    assert [at[3:8] for _, at in runs["noon"]] == ["12:00"] * 2


def test_a_next_run_stays_the_same() -> None:
    job = FlaskWAMP().schedule.every(10).seconds.do(lambda: None)
    assert job.next_run == job.next_run
    when = dt.datetime.now() + dt.timedelta(seconds=3)
    job.next_run = when
    assert job.next_run == when
    assert job.remaining == pytest.approx(3, abs=0.5)


# One of several processes: a runner with a lease.


class HandLease:
    """A lease that the test gives and takes."""

    def __init__(self, **callbacks: t.Any) -> None:
        self.held = False
        self.held_elsewhere = False
        self.told: queue.SimpleQueue[t.Any] = queue.SimpleQueue()
        self.callbacks = callbacks

    def share_state(self, state: t.Any) -> None:
        self.told.put(state)

    def release(self) -> None:
        self.held = False

    def give(self) -> None:
        self.held, self.held_elsewhere = True, False
        self.callbacks["on_acquired"]()


class Process:
    """The parts of one of several processes: jobs, a runner, a lease, and no network."""

    def __init__(self) -> None:
        self.jobs = Scheduler()
        self.pool = Pool(4, 100)
        self.runner: JobRunner
        self.lease: HandLease

    def start(self) -> None:
        leases = []

        def make_lease(**callbacks: t.Any) -> HandLease:
            leases.append(HandLease(**callbacks))
            return leases[0]

        self.runner = JobRunner(Flask("process"), self.jobs, self.pool, make_lease)
        self.lease = leases[0]

    def hear(self, state: t.Any) -> None:
        self.lease.callbacks["on_state"](state)

    @property
    def state(self) -> t.Any:
        return self.lease.callbacks["state"]()


@pytest.fixture
def process() -> t.Iterator[Process]:
    process = Process()
    yield process
    process.runner.leave(0)
    process.pool.stop(5)


def test_jobs_run_while_the_lease_is_held(process: Process, calls: Calls) -> None:
    job = process.jobs.every(0.05).seconds.do(calls)
    process.start()
    eventually(lambda: job.should_run)
    assert calls.empty
    process.lease.give()
    calls.next()
    calls.next()
    process.lease.held = False
    while not calls.empty:
        calls.next()
    eventually(lambda: job.remaining < -0.2)
    assert calls.empty


def test_the_other_processes_learn_the_next_run(process: Process, calls: Calls) -> None:
    process.jobs.every(0.2).seconds.do(calls)
    process.jobs.every(10).hours.do(calls)
    process.start()
    process.lease.give()
    told = process.lease.told.get(timeout=PATIENCE)
    (name,) = told
    assert told[name] == pytest.approx(0.2, abs=0.1)
    state = process.state
    assert name in state
    assert sorted(state.values()) == [pytest.approx(0.1, abs=0.2), pytest.approx(36000, abs=5)]


def test_a_process_continues_the_schedule_of_another(process: Process, calls: Calls) -> None:
    job = process.jobs.every(10).seconds.do(calls)
    daily = process.jobs.every().day.at("10:30").do(calls)
    process.start()
    (often, once) = process.state
    process.hear({often: 3.0, once: 3600.2, "unknown": 1.0})
    assert job.remaining == pytest.approx(3, abs=0.5)
    assert daily.remaining == pytest.approx(3600, abs=1.5)
    assert daily.next_run is not None
    assert daily.next_run.microsecond == 0
    process.hear({often: -0.1})
    process.lease.give()
    calls.next()
    eventually(lambda: job.remaining > 9)


@pytest.mark.parametrize("late", [-0.2, 0.0, 0.2])
def test_next_runs_that_are_sent_to_other_processes_stay_whole_seconds(
    process: Process, calls: Calls, late: float
) -> None:
    """Otherwise a process that takes over runs the job a moment early, and then again."""
    daily = process.jobs.every().day.at("10:30").do(calls)
    process.start()
    (name,) = process.state
    planned = daily.next_run
    assert planned is not None
    process.hear({name: (planned - dt.datetime.now()).total_seconds() + late})
    assert daily.next_run == planned


@pytest.mark.parametrize(
    "due", [float("nan"), float("inf"), -float("inf"), 1e12, -1e12, 2**70, True, "1", [1]]
)
def test_invalid_times_of_another_process_are_ignored(process: Process, due: t.Any) -> None:
    job = process.jobs.every(10).seconds.do(lambda: None)
    process.start()
    (name,) = process.state
    process.hear({name: due, 7: 1.0})
    assert job.remaining == pytest.approx(10, abs=0.5)
    process.hear({name: 5.0})
    assert job.remaining == pytest.approx(5, abs=0.5)


def test_names_of_functions_are_not_sent(process: Process) -> None:
    process.jobs.every(10).seconds.do(test_names_of_functions_are_not_sent)
    process.start()
    (name,) = process.state
    assert "names" not in name


def test_a_job_that_cancels_itself_is_canceled_everywhere(process: Process) -> None:
    process.jobs.every(0.05).seconds.do(lambda: schedule.CancelJob)
    process.jobs.every(10).seconds.do(lambda: None)
    process.start()
    name, other = process.state
    process.lease.give()
    eventually(lambda: len(process.jobs.jobs) == 1)
    told = [process.lease.told.get(timeout=PATIENCE)]
    while not process.lease.told.empty():
        told.append(process.lease.told.get())
    assert {name: None} in told
    assert all(state.keys() == {name} for state in told)
    process.hear({other: None})
    assert process.jobs.jobs == []


def test_two_jobs_of_one_function_are_distinguished(process: Process, calls: Calls) -> None:
    jobs = [process.jobs.every(10).seconds.do(calls, number) for number in range(2)]
    process.start()
    first, second = process.state
    assert first != second
    process.hear({second: 5.0})
    assert jobs[0].remaining == pytest.approx(10, abs=0.5)
    assert jobs[1].remaining == pytest.approx(5, abs=0.5)


def test_a_job_that_another_process_ran_is_not_run_again(process: Process, calls: Calls) -> None:
    job = process.jobs.every(10).seconds.do(calls)
    process.start()
    process.lease.held_elsewhere = True
    job.next_run = dt.datetime.now() - dt.timedelta(seconds=GRACE - 2)
    process.runner.wake()
    assert job.should_run  # the holder of the lease may have been killed before
    job.next_run = dt.datetime.now() - dt.timedelta(seconds=GRACE + 1)
    process.runner.wake()
    eventually(lambda: job.remaining > 5)
    process.lease.give()
    assert calls.empty


def test_missed_job_is_run_late(process: Process, calls: Calls) -> None:
    job = process.jobs.every(10).hours.do(calls)
    process.start()
    job.next_run = dt.datetime.now() - dt.timedelta(hours=1)  # no router since then
    process.runner.wake()
    process.lease.give()
    calls.next()
    eventually(lambda: job.remaining > 35000)


def test_a_next_run_long_before_the_start_is_scheduled_again(
    process: Process, calls: Calls
) -> None:
    job: Job = process.jobs.every(10).seconds.do(calls)
    job.next_run = dt.datetime.now() - dt.timedelta(hours=1)
    process.start()
    assert job.remaining == pytest.approx(10, abs=0.5)
