"""Scheduled jobs: ``wamp.schedule``, with the API of the ``schedule`` library.

The library decides when a job is due, and a :class:`.runner.JobRunner` in each process runs it.
"""

from __future__ import annotations

import contextvars
import datetime as dt
import functools
import os
import time
import typing as t
import weakref

import schedule
from flask import Flask, current_app, has_app_context

from ..concurrency.clock import monotonic
from ..handlers.coroutines import make_sync

Function = t.Callable[..., t.Any]

#: Seconds by which the system clock may differ from the monotonic clock before ``next_run`` is corrected.
_TOLERANCE = 0.05


class JobRunnerInterface(t.Protocol):
    """The part of the runner that the scheduler uses. It runs the jobs of one app in one process."""

    pid: int
    """The id of the process."""

    def submit(self, job: Job, function: t.Callable[..., t.Any]) -> t.Any:
        """Let a worker run a job's function."""

    def wake(self) -> None:
        """Check which jobs are due."""


#: The runner whose thread runs this code.
current_runner: contextvars.ContextVar[JobRunnerInterface | None] = contextvars.ContextVar(
    "flask_wamp_runner", default=None
)


class Clock:
    """The clocks of the system. Tests replace them."""

    def now(self) -> dt.datetime:
        """Return the local time. It can be set, and jumps when daylight saving time begins and ends."""
        return dt.datetime.now()

    def utc(self) -> float:
        """Return the seconds since the epoch. This clock can be set, but has no daylight saving time."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds of the monotonic clock, which cannot be set."""
        return monotonic()


class Job(schedule.Job):
    """A job that runs at the right time even if the system clock is set or jumps.

    =============================== ==================================================================
    ``.minutes``, ``.hours``        An interval, measured by the monotonic clock.
    ``.minute.at``, ``.hour.at``    Aligned to the clock. When daylight saving time begins or ends, no
                                    run is skipped, and none is late.
    ``.day.at``, ``.monday.at``     Local time. If a day does not have this time, the run is late by the
                                    gap. If a day has it twice, the job runs at the first time.
    =============================== ==================================================================

    :attr:`next_run` is local time. For jobs of the first two rows, it is corrected when the clock is set, or
    when daylight saving time begins or ends.
    """

    scheduler: Scheduler
    owners: weakref.WeakSet[t.Any] | None = None
    """The objects that represent the apps that run it. None means all apps."""
    is_shared = False
    """Whether apps that are created later run it too."""
    _next_run: dt.datetime | None = None
    _due: float = 0.0
    _due_utc: float = 0.0

    @property
    def next_run(self) -> dt.datetime | None:
        """When the job is due."""
        planned = self._next_run
        if planned is None or self._has_local_time:
            return planned
        due = self.scheduler.clock.now() + dt.timedelta(seconds=self.remaining)
        moved = abs((due - planned).total_seconds()) > _TOLERANCE
        return due if moved else planned

    @next_run.setter
    def next_run(self, when: dt.datetime | None) -> None:
        self._next_run = when
        if when is not None:
            # The base class adds an interval to the current local time, so the difference is the interval.
            seconds = (when - dt.datetime.now()).total_seconds()
            self._due = self.scheduler.clock.monotonic() + seconds
            self._due_utc = self.scheduler.clock.utc() + seconds

    @property
    def is_aligned(self) -> bool:
        """Whether the job is due at a time of the clock or calendar, and not after an interval."""
        return self.at_time is not None or self.start_day is not None

    @property
    def _has_local_time(self) -> bool:
        """Whether the job is due at a time of day or on a day of the week."""
        return self.is_aligned and self.unit not in ("minutes", "hours")

    @property
    def remaining(self) -> float:
        """The seconds until the job is due. Negative if it is late."""
        clock = self.scheduler.clock
        # A test may have moved the time, but it cannot move the monotonic clock.
        by_clock = self._has_local_time or self.scheduler.is_tested
        if self._next_run is not None and by_clock:
            return (self._next_run - clock.now()).total_seconds()
        if self.is_aligned:
            return self._due_utc - clock.utc()
        return self._due - clock.monotonic()

    @property
    def should_run(self) -> bool:
        """Whether the job is due."""
        return self.remaining <= 0

    @property
    def what(self) -> str:
        """A description of the job that is the same in all processes of an app."""
        function = getattr(self.job_func, "func", None)
        name = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        when = (self.interval, self.latest, self.unit, self.start_day, self.at_time)
        return ":".join([name, *map(str, when)])

    def do(self, job_func: Function, *args: t.Any, **kwargs: t.Any) -> Job:
        """Set the function to call, and start to schedule the job.

        The function runs on a worker, in an app context. If you call ``run_pending`` or ``run_all`` yourself,
        it runs at once.
        """

        @functools.wraps(job_func)
        def call(*args: t.Any, **kwargs: t.Any) -> t.Any:
            function = functools.partial(job_func, *args, **kwargs)
            runner = current_runner.get()
            if runner is not None:
                return runner.submit(self, function)
            return self.scheduler.call(function)

        if not hasattr(job_func, "__name__"):  # the base class shows this name
            call.__name__ = repr(job_func)
        super().do(call, *args, **kwargs)
        self.scheduler.place(self, job_func)
        self.scheduler.wake()
        return self


class Scheduler(schedule.Scheduler):
    """The jobs of an extension, with the API of ``schedule.Scheduler``.

    ::

        wamp.schedule.every(10).seconds.do(job)
        wamp.schedule.every().day.at("10:30").do(report, "daily").tag("reports")

    Jobs run on workers, in the processes that serve the app. Each job has its own app context. If a job
    raises an exception, this is logged and sent as ``task_failed``, and the job runs again when it is due. A
    job that is still running is not started again. With ``WAMP_SCHEDULE="once"``, one of the processes of an
    app runs the jobs, while it has a session. With ``"every"``, each process does, with and without a
    session.

    Each process has its own list of jobs, so add and cancel jobs in code that runs in all processes, such as
    a module that is imported. A job that cancels itself is also canceled in the other processes, if the
    process that runs it may publish to them.

    If an extension has several apps, they share one list of jobs. Jobs that are added while a module is
    imported, or before the first app is created, are run by each app whose client is started. Each app has
    its own times for them. ``next_run`` and ``last_run`` are those of the first app. A job that is added
    later belongs to the current app. Without an app context, it belongs to the app that was created last.

    :param place: Called with each new job and its function. Determines which apps run it.

    .. versionadded:: 0.1
    """

    jobs: list[Job]  # type: ignore[assignment]

    def __init__(
        self,
        apps: t.Iterable[Flask] = (),
        clock: Clock | None = None,
        place: t.Callable[[Job, Function], object] = lambda job, f: None,
    ) -> None:
        super().__init__()
        self.clock = clock or Clock()
        self.place = place
        self._apps = apps
        self._runners: list[JobRunnerInterface] = []

    def every(self, interval: int = 1) -> Job:
        """Create a job: ``every(10).seconds``, ``every().day.at("10:30")``."""
        return Job(interval, self)

    @property
    def is_tested(self) -> bool:
        """Whether one of the apps is being tested.

        Jobs then follow the time of the test, which may be frozen.
        """
        return any(app.testing for app in list(self._apps))

    def jobs_of(self, owner: object) -> list[Job]:
        """Return the jobs that an app runs."""
        return [job for job in list(self.jobs) if job.owners is None or owner in job.owners]

    def call(self, function: Function) -> t.Any:
        """Call a function in the context of the current app, or else of each app. Return the last result."""
        apps = list(self._apps)
        if has_app_context():
            return make_sync(current_app._get_current_object(), function)()  # type: ignore[attr-defined]
        result = None
        for app in apps:
            with app.app_context():
                result = make_sync(app, function)()
        return result if apps else function()

    @property
    def runners(self) -> list[JobRunnerInterface]:
        """The runners of this process. A forked child does not have those of its parent."""
        return [runner for runner in list(self._runners) if runner.pid == os.getpid()]

    def add(self, runner: JobRunnerInterface) -> None:
        """Add a runner, which is woken when there is a new job."""
        self._runners.append(runner)

    def remove(self, runner: JobRunnerInterface) -> None:
        """Remove a runner."""
        self._runners.remove(runner)

    def wake(self) -> None:
        """Let all runners check which jobs are due."""
        for runner in self.runners:
            runner.wake()
