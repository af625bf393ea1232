"""Runs background tasks on the workers of an app, or in other processes (:mod:`.processes`)."""

from __future__ import annotations

import functools
import os
import sys
import threading
import typing as t

from flask import Flask

from .. import signals
from .._text import get_logger
from ..concurrency.serial_queue import SerialQueue
from ..exceptions import TaskAborted
from ..handlers import notify
from ..handlers.context import readable
from . import child as task_process
from .task import Batch, Task, perform, running

if t.TYPE_CHECKING:
    from ..client.client import Client
    from .processes import Processes


logger = get_logger("flask_wamp.tasks")


class _ProcessTasks:
    """The unfinished tasks of an app in one process."""

    def __init__(self, make_processes: t.Callable[[], Processes], client: Client) -> None:
        self.pending: set[Task] = set()
        self.closed = False
        self.pool = client.pool
        self.processes: Processes | None = None
        self._lane: SerialQueue | None = None
        self._lock = threading.Lock()
        self._make_processes = make_processes

    def lane(self) -> SerialQueue:
        """Return the queue in which tasks for other processes wait for a CPU."""
        with self._lock:
            if self._lane is None:
                self.processes = self._make_processes()
                self._lane = SerialQueue(self.pool, os.cpu_count() or 1, sys.maxsize)
            return self._lane

    def claim(self, task: Task) -> bool:
        """Remove a task. Return False if it was removed before, so that no failure is reported twice."""
        try:
            self.pending.remove(task)
        except KeyError:
            return False
        return True


class TaskRunner:
    """Runs the background tasks of one app. It creates no lock and no thread before there is a task.

    :param client: The app's client. Tasks run on its pool, and end when it stops.
    :param import_path: The import path with which the server finds the app, if it is known.
    :param in_task_process: Whether this is a process for tasks. Tasks that are added in it are returned to
        its parent.
    """

    def __init__(
        self,
        app: Flask,
        client: Client,
        *,
        import_path: str | None = None,
        in_task_process: bool = False,
    ) -> None:
        self._app = app
        self._client = client
        self._import_path = import_path
        self.is_alone = False
        """Whether all tasks run in this process, because others cannot reach the router of a test client."""
        self.in_task_process = in_task_process
        self.main = task_process.describe_main()
        """The main module. It is looked up early, because it has no file at the end of a script."""
        self._by_process: dict[int, _ProcessTasks] = {}
        """By process id, because a forked child has its own."""

    @property
    def limit(self) -> int:
        """How many tasks may wait and run."""
        return self._client.settings.max_pending

    @property
    def unfinished(self) -> int:
        """How many tasks of this process wait or run."""
        state = self._by_process.get(os.getpid())
        return len(state.pending) if state is not None else 0

    @property
    def pending(self) -> list[Task]:
        """The tasks of this process that wait or run."""
        state = self._by_process.get(os.getpid())
        return list(state.pending) if state is not None else []

    def has_room(self, more: int) -> bool:
        """Return whether another task may be added.

        :param more: How many tasks were added, but not started yet.
        """
        return self.unfinished + more < self.limit

    def start(self, tasks: t.Sequence[Task]) -> None:
        """Start tasks. Those for threads run one after another, and those for processes run side by side."""
        state = self._process_tasks()
        state.pending.update(tasks)
        here = [task for task in tasks if task.executor == "thread" or self.is_alone]
        taken = not here or state.pool.submit(
            functools.partial(self._run_in_turn, state, here), force=True
        )
        for task in tasks:
            if task not in here:
                state.lane().submit(functools.partial(self._run_elsewhere, state, task))
        if not taken or state.closed:
            self._abort(state, tasks, "the client was stopped")

    def stop(self, deadline: float) -> None:
        """Report unfinished tasks as aborted, and end the processes.

        :param deadline: The ``time.monotonic()`` until which idle processes may end by themselves.
        """
        state = self._by_process.pop(os.getpid(), None)
        if state is None:
            return
        state.closed = True
        self._abort(state, list(state.pending), "it did not finish within WAMP_DRAIN_TIMEOUT")
        if state.processes is not None:
            state.processes.stop(deadline)

    def forget_parents(self) -> None:
        """Forget the parent's processes in a forked child."""
        for pid, state in self._by_process.items():
            if pid != os.getpid() and state.processes is not None:
                state.processes.forget()

    def _process_tasks(self) -> _ProcessTasks:
        state = self._by_process.get(os.getpid())
        if state is None:
            # Two threads may both append it. That does no harm, because it may be stopped twice.
            if self not in self._client.closeables:
                self._client.closeables.append(self)
            new = _ProcessTasks(self._make_processes, self._client)
            state = self._by_process.setdefault(os.getpid(), new)  # atomic, so no lock is needed
        return state

    def _make_processes(self) -> Processes:
        from .processes import Processes

        return Processes(lambda: task_process.describe(self._app, self.main, self._import_path))

    # On a worker.

    def _run_in_turn(self, state: _ProcessTasks, tasks: t.Sequence[Task]) -> None:
        for task in tasks:
            if task in state.pending:
                self._run(state, task)

    def _run(self, state: _ProcessTasks, task: Task) -> None:
        task.added = Batch(task.message)
        failed = functools.partial(self._failed, state, task)
        error = perform(self._app, task.function, task.args, task.kwargs, task.added, failed)
        task.added.done(error is None)
        state.pending.discard(task)

    def _run_elsewhere(self, state: _ProcessTasks, task: Task) -> None:
        if task not in state.pending or state.processes is None:
            return
        try:
            with state.pool.release_slot():
                answer = state.processes.run(task.call)
            _raise_remote(answer)
            added = [self._returned(task, *returned) for returned in answer.added]
        except BaseException as error:
            self._fail(state, task, error)
            return
        if added:
            self.start(added)
        state.pending.discard(task)

    def _returned(self, task: Task, executor: str, call: bytes) -> Task:
        """Return a task that another one has added in its process."""
        f, args, kwargs, _ = task_process.load(call)
        return Task(self, f, args, kwargs, executor, task.message, call)

    # Errors.

    def _abort(self, state: _ProcessTasks, tasks: t.Sequence[Task], why: str) -> None:
        stopping = running.get()  # the batch of the task that stops the client, if a task does
        for task in tasks:
            if stopping is None or task.added is not stopping:
                self._fail(state, task, TaskAborted(why))

    def _fail(self, state: _ProcessTasks, task: Task, error: BaseException) -> None:
        with self._app.app_context(), readable(task.message):
            self._failed(state, task, error)

    def _failed(self, state: _ProcessTasks, task: Task, error: BaseException) -> None:
        """Report an error once, in an app context."""
        if state.claim(task):
            logger.error("%r failed", task, exc_info=error)
            notify.send(signals.task_failed, self._app, task=task.function, error=error)


class RemoteTraceback(Exception):
    """The cause of an error from another process. Its text is the traceback in that process."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def _raise_remote(answer: task_process.TaskEnd) -> None:
    """Raise the error from another process, if there is one."""
    if not answer.traceback:
        return
    error: BaseException | None = None
    if answer.error is not None:
        try:
            error = task_process.load(answer.error)
        except Exception:
            logger.debug("an error cannot be unpickled", exc_info=True)
    if not isinstance(error, BaseException):
        error = TaskAborted(answer.traceback.strip().rpartition("\n")[2])
    raise error from RemoteTraceback(answer.traceback)
