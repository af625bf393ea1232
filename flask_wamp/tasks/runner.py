"""Running background tasks: on the workers of an app, or in other processes (:mod:`.processes`)."""

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
    """The tasks of an app in one process that have not ended."""

    def __init__(self, make_processes: t.Callable[[], Processes], client: Client) -> None:
        self.in_hand: set[Task] = set()
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
        """Remove a task; return False if it was removed before, so that no failure is reported twice."""
        try:
            self.in_hand.remove(task)
        except KeyError:
            return False
        return True


class TaskRunner:
    """Runs the background tasks of one app. Makes no lock and no thread before there is a task.

    :param client: The app's client. Tasks run on its pool, and end when it stops.
    :param import_path: Where the server finds the app, if that is known.
    :param in_task_process: Whether this is a process for tasks: those added here are returned to its parent.
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
        """Whether no other process can reach the router: a test client is open. Then all tasks run here."""
        self.in_task_process = in_task_process
        self.main = task_process.describe_main()
        """Where the main module is. Looked up now, because it has no file at the end of a script."""
        self._shifts: dict[int, _ProcessTasks] = {}
        """By process id, because a forked child has its own."""

    @property
    def limit(self) -> int:
        """How many tasks may wait and run."""
        return self._client.settings.max_pending

    @property
    def unfinished(self) -> int:
        """How many tasks of this process wait or run."""
        shift = self._shifts.get(os.getpid())
        return len(shift.in_hand) if shift is not None else 0

    @property
    def in_hand(self) -> list[Task]:
        """The tasks of this process that wait or run."""
        shift = self._shifts.get(os.getpid())
        return list(shift.in_hand) if shift is not None else []

    def has_room(self, more: int) -> bool:
        """Whether another task may be added, beside so many that have not started yet."""
        return self.unfinished + more < self.limit

    def start(self, tasks: t.Sequence[Task]) -> None:
        """Begin to run tasks: those for threads one after another, those for processes side by side."""
        shift = self._shift()
        shift.in_hand.update(tasks)
        here = [task for task in tasks if task.executor == "thread" or self.is_alone]
        taken = not here or shift.pool.submit(
            functools.partial(self._run_in_turn, shift, here), force=True
        )
        for task in tasks:
            if task not in here:
                shift.lane().submit(functools.partial(self._run_elsewhere, shift, task))
        if not taken or shift.closed:
            self._give_up(shift, tasks, "the client was stopped")

    def stop(self, deadline: float) -> None:
        """Report tasks that have not ended as aborted, and end the processes.

        :param deadline: The ``time.monotonic()`` until which idle processes may end in order.
        """
        shift = self._shifts.pop(os.getpid(), None)
        if shift is None:
            return
        shift.closed = True
        self._give_up(shift, list(shift.in_hand), "WAMP_DRAIN_TIMEOUT left it no time")
        if shift.processes is not None:
            shift.processes.stop(deadline)

    def forget_parents(self) -> None:
        """Let go of the parent's processes, in a forked child."""
        for pid, shift in self._shifts.items():
            if pid != os.getpid() and shift.processes is not None:
                shift.processes.forget()

    def _shift(self) -> _ProcessTasks:
        shift = self._shifts.get(os.getpid())
        if shift is None:
            new = _ProcessTasks(self._make_processes, self._client)
            shift = self._shifts.setdefault(os.getpid(), new)  # one wins, without a lock
        return shift

    def _make_processes(self) -> Processes:
        from .processes import Processes

        return Processes(lambda: task_process.describe(self._app, self.main, self._import_path))

    # On a worker.

    def _run_in_turn(self, shift: _ProcessTasks, tasks: t.Sequence[Task]) -> None:
        for task in tasks:
            if task in shift.in_hand:
                self._run(shift, task)

    def _run(self, shift: _ProcessTasks, task: Task) -> None:
        task.added = Batch(task.message)
        failed = functools.partial(self._failed, shift, task)
        error = perform(self._app, task.function, task.args, task.kwargs, task.added, failed)
        task.added.done(error is None)
        shift.in_hand.discard(task)

    def _run_elsewhere(self, shift: _ProcessTasks, task: Task) -> None:
        if task not in shift.in_hand or shift.processes is None:
            return
        try:
            with shift.pool.release_slot():
                answer = shift.processes.run(task.call)
            _raise_remote(answer)
            added = [self._returned(task, *returned) for returned in answer.added]
        except BaseException as error:
            self._fail(shift, task, error)
            return
        if added:
            self.start(added)
        shift.in_hand.discard(task)

    def _returned(self, task: Task, executor: str, call: bytes) -> Task:
        """Return a task that another one has added in its process."""
        f, args, kwargs, _ = task_process.load(call)
        return Task(self, f, args, kwargs, executor, task.message, call)

    # Errors.

    def _give_up(self, shift: _ProcessTasks, tasks: t.Sequence[Task], why: str) -> None:
        stopping = running.get()  # of the task that stops the client, if one does
        for task in tasks:
            if stopping is None or task.added is not stopping:
                self._fail(shift, task, TaskAborted(why))

    def _fail(self, shift: _ProcessTasks, task: Task, error: BaseException) -> None:
        with self._app.app_context(), readable(task.message):
            self._failed(shift, task, error)

    def _failed(self, shift: _ProcessTasks, task: Task, error: BaseException) -> None:
        """Report an error once, in an app context."""
        if shift.claim(task):
            logger.error("%r failed", task, exc_info=error)
            notify.send(signals.task_failed, self._app, task=task.function, error=error)


class RemoteTraceback(Exception):
    """The cause of an error that was raised in another process. Its text is the traceback there."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text}"


def _raise_remote(answer: task_process.TaskEnd) -> None:
    """Raise the error that was raised in another process, if any."""
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
