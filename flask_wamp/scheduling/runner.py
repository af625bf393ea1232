"""Runs scheduled jobs, on one thread for each app in each process.

The thread waits until a job is due, and submits it to a worker. If jobs run once for all processes, only the
process that holds the lease runs them. It tells the others when each job is due next. So another process that
takes over runs no job early, late or twice. There is one exception: if a process is killed at the moment in
which it starts a job, the others may not know that, and the job runs again.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import datetime as dt
import functools
import hashlib
import os
import threading
import typing as t

import schedule
from flask import Flask

from .. import signals
from .._text import get_logger
from ..concurrency.pool import Pool
from ..concurrency.threads import spawn
from ..coordination.lease import LeaseState
from ..coordination.signing import is_finite
from ..exceptions import WAMPError
from ..handlers import notify
from ..handlers.coroutines import make_sync
from .scheduler import Function, Job, Scheduler, current_runner

logger = get_logger("flask_wamp.schedule")

#: Seconds after which an overdue job is assumed to have run in another process, even if that process has not
#: reported it.
GRACE = 5.0

#: The longest time, in seconds, until a job is due that is accepted from another process.
MAX_REMAINING = 100 * 366 * 86400.0

#: The longest wait, in seconds, while a job is aligned to the clock, because the clock may be set meanwhile.
MAX_WAIT = 30.0


class JobLease(t.Protocol):
    """The part of :class:`.lease.Lease` that a runner uses."""

    held_elsewhere: bool
    """Whether another process holds the lease."""

    @property
    def held(self) -> bool:
        """Whether this process holds the lease."""

    def share_state(self, state: LeaseState) -> None:
        """Send a state to the other processes."""

    def release(self) -> None:
        """Release the lease, and do not ask for it again."""


class JobRunner:
    """Runs the jobs of one app in one process.

    :param make_lease: Makes the lease. Only its holder runs the jobs. None if each process runs them.
    :param owner: The object that represents the app in :attr:`.Job.owners`.
    """

    def __init__(
        self,
        app: Flask,
        scheduler: Scheduler,
        pool: Pool,
        make_lease: t.Callable[..., JobLease] | None = None,
        owner: object = None,
    ) -> None:
        self.pid = os.getpid()
        self._owner = owner
        self._app = app
        self._scheduler = scheduler
        self._pool = pool
        # Each app has its own times for a job, so the second app has copies of the jobs.
        self._copies: dict[Job, Job] | None = {} if scheduler.runners else None
        self._running: set[Job] = set()
        self._lock = threading.Lock()
        self._wake_event = threading.Event()
        self._stopping = False
        self._thread: threading.Thread | None = None
        for job in self._jobs():
            if job.should_run:  # it was planned long ago, by the parent process
                job._schedule_next_run()
        self._once = make_lease is not None
        self._lease: JobLease | None = None
        if make_lease is not None:
            self._lease = make_lease(
                on_acquired=self.wake, on_state=self._on_state, state=self._state
            )
        scheduler.add(self)
        self.wake()

    @property
    def is_active(self) -> bool:
        """Whether this process runs the jobs now."""
        if self._ended or not self._once:
            return not self._ended
        return self._lease is not None and self._lease.held

    @property
    def _ended(self) -> bool:
        """Whether to end.

        The runner was stopped, or a fork has copied its greenlet. (Threads are not copied.)
        """
        return self._stopping or os.getpid() != self.pid

    @property
    def _is_standby(self) -> bool:
        """Whether another process runs the jobs."""
        return self._lease is not None and self._lease.held_elsewhere

    def wake(self) -> None:
        """Check which jobs are due. Called if there is a new job, or this process has acquired the lease."""
        with self._lock:
            if self._thread is None and self._own_jobs() and not self._stopping:
                self._thread = spawn(self._run, "wamp-scheduler")
        self._wake_event.set()

    def joined(self, connection: object) -> None:
        """Do nothing. The lease follows the sessions."""

    def lost(self) -> None:
        """Do nothing. The lease follows the sessions."""

    def leave(self, deadline: float) -> None:
        """Do not start more jobs. Workers finish the running jobs."""
        with self._lock:
            self._stopping = True
        self._wake_event.set()
        self._scheduler.remove(self)
        if self._lease is not None:
            with contextlib.suppress(WAMPError):  # the session has ended, and the lease with it
                self._lease.release()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(1.0)

    # On the thread.

    def _run(self) -> None:
        current_runner.set(self)
        while not self._ended:
            try:
                if self.is_active:
                    self._run_due()
                elif self._is_standby:
                    self._replan_overdue()
            except Exception:
                logger.exception("the scheduler failed")
            self._wake_event.wait(self._delay())
            self._wake_event.clear()

    def _run_due(self) -> None:
        due = [(job, original) for original, job in self._by_original().items() if job.should_run]
        for job, original in sorted(due):
            if not self.is_active:
                return
            self._run_job(job, original)

    def _run_job(self, job: Job, original: Job) -> None:
        try:
            result = job.run()  # type: ignore[no-untyped-call]  # submits it, and plans it again
        except Exception:
            logger.exception("%s cannot be scheduled any more", job)
            result = schedule.CancelJob
        if result is schedule.CancelJob:
            self._cancel(original)
        else:
            self._tell(original, job.remaining)

    def _replan_overdue(self) -> None:
        """Plan overdue jobs again. The holder of the lease has run them, but could not report it."""
        for job in self._jobs():
            if job.remaining < -GRACE:
                job._schedule_next_run()

    def _delay(self) -> float | None:
        """Return the seconds until there is something to do. None means to wait for :meth:`wake`."""
        jobs = self._jobs()
        is_active = self.is_active
        if not jobs or not (is_active or self._is_standby):
            return None
        delay = min(job.remaining for job in jobs) + (0 if is_active else GRACE)
        if any(job.is_aligned for job in jobs):
            delay = min(delay, MAX_WAIT)
        return max(0.0, min(delay, threading.TIMEOUT_MAX))

    def _own_jobs(self) -> list[Job]:
        """Return the original jobs of this app."""
        return self._scheduler.jobs_of(self._owner)

    def _jobs(self) -> list[Job]:
        return list(self._by_original().values())

    def _by_original(self) -> dict[Job, Job]:
        """Return the jobs of this runner by their originals."""
        jobs = self._own_jobs()
        if self._copies is None:
            return {job: job for job in jobs}
        known = self._copies
        self._copies = {job: known[job] if job in known else copy.copy(job) for job in jobs}
        return self._copies

    # Jobs.

    def submit(self, job: Job, function: Function) -> None:
        """Let a worker run a job, unless the job is still running."""
        with self._lock:
            if job in self._running:
                logger.warning("%s is still running, so it is not started again", job)
                return
            self._running.add(job)
        if not self._pool.submit(functools.partial(self._work, job, function), force=True):
            self._running.discard(job)

    def _work(self, job: Job, function: Function) -> None:
        """Run a job. A worker calls this."""
        try:
            with self._app.app_context():
                result = self._call(job, function)
            if result is schedule.CancelJob or isinstance(result, schedule.CancelJob):
                self._cancel(job)
        except Exception:
            logger.exception("a teardown function failed after %s", job)
        finally:
            self._running.discard(job)

    def _call(self, job: Job, function: Function) -> t.Any:
        try:
            return make_sync(self._app, function)()
        except BaseException as error:
            logger.exception("%s failed", job)
            task = getattr(function, "func", function)
            notify.send(signals.task_failed, self._app, task=task, error=error)
            return None

    def _cancel(self, original: Job) -> None:
        self._tell(original, None)
        self._scheduler.cancel_job(original)

    # The state that the processes of an app share: the seconds until each job is due, or None for never.

    def _names(self) -> dict[str, Job]:
        """Return the original jobs by names that are the same in all processes."""
        count: collections.Counter[str] = collections.Counter()
        names = {}
        for original in self._own_jobs():
            # A digest, because other sessions may be able to subscribe, and must not learn names of
            # functions.
            name = f"{original.what}#{count[original.what]}".encode()
            names[hashlib.sha256(name).hexdigest()[:32]] = original
            count[original.what] += 1
        return names

    def _state(self) -> LeaseState:
        jobs = self._by_original()
        names = self._names().items()
        return {name: jobs[original].remaining for name, original in names if original in jobs}

    def _tell(self, original: Job, due: float | None) -> None:
        if self._lease is not None and self._lease.held:
            for name, known in self._names().items():
                if known is original:
                    self._lease.share_state({name: due})

    def _on_state(self, state: LeaseState) -> None:
        """Take over the times from the process that runs the jobs."""
        jobs = self._by_original()
        for name, original in self._names().items():
            due = state.get(name, ...)
            if due is None:
                self._scheduler.cancel_job(original)
            elif is_finite(due) and abs(due) <= MAX_REMAINING and original in jobs:
                jobs[original].next_run = _at(jobs[original], due)


def _at(job: Job, seconds: float) -> dt.datetime:
    when = dt.datetime.now() + dt.timedelta(seconds=seconds)
    if job.is_aligned:  # a whole second, as it was in the other process
        when = (when + dt.timedelta(seconds=0.5)).replace(microsecond=0)
    return when
