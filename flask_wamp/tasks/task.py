"""A background task, and the batch of tasks that one answer starts."""

from __future__ import annotations

import contextvars
import dataclasses
import typing as t

from flask import Flask

from .._text import get_logger
from ..handlers.context import Message, readable
from ..handlers.coroutines import make_sync

logger = get_logger("flask_wamp.tasks")


class TaskRunnerInterface(t.Protocol):
    """The part of :class:`.TaskRunner` that tasks use."""

    def start(self, tasks: t.Sequence[Task]) -> None:
        """Start tasks, and return at once."""


@dataclasses.dataclass(eq=False)
class Task:
    """A function to run once."""

    runner: TaskRunnerInterface
    function: t.Callable[..., t.Any]
    args: t.Sequence[t.Any]
    kwargs: dict[str, t.Any]
    executor: str
    """``thread`` or ``process``."""
    message: Message | None
    """The message that was answered. None for an HTTP request."""
    call: bytes = b""
    """The pickled function, arguments and message, if another process needs them."""
    added: Batch | None = None
    """The tasks that it adds while it runs."""

    def __repr__(self) -> str:
        where = "an HTTP request" if self.message is None else repr(self.message)
        return f"<background task {name(self.function)} of {where}>"


def name(f: t.Any) -> str:
    """Return the name of a function, for logs and errors."""
    qualified = getattr(f, "__qualname__", None)
    return f"{f.__module__}.{qualified}" if qualified else repr(f)


class Batch:
    """The tasks of one answer, in the order in which they were added.

    :param message: The message that is answered. None for an HTTP request.
    :param is_of_request: Whether an HTTP request is answered.
    """

    def __init__(self, message: Message | None, *, is_of_request: bool = False) -> None:
        self.message = message
        self.is_of_request = is_of_request
        self.tasks: list[Task] = []
        self._started = False

    def add(self, task: Task) -> None:
        """Append a task. It starts at once if the answer has been sent already."""
        self.tasks.append(task)
        if self._started:
            self.start()

    def done(self, well: bool) -> None:
        """Start the tasks if the answer was sent, or drop them after an error."""
        if well:
            self.start()
        else:
            self.tasks = []

    def start(self) -> None:
        """Start the tasks."""
        self._started = True
        tasks, self.tasks = self.tasks, []
        for runner in {
            task.runner: None for task in tasks
        }:  # several only with nested app contexts
            runner.start([task for task in tasks if task.runner is runner])


#: The batch to which the running task adds tasks.
running: contextvars.ContextVar[Batch | None] = contextvars.ContextVar(
    "wamp_running_task", default=None
)


def perform(
    app: Flask,
    f: t.Callable[..., t.Any],
    args: t.Sequence[t.Any],
    kwargs: dict[str, t.Any],
    added: Batch,
    failed: t.Callable[[BaseException], object] = lambda error: None,
) -> BaseException | None:
    """Run a function in its own app context. Return the exception that it raised, or None.

    :param added: The batch for tasks that the function adds. It has the message that was answered.
    :param failed: Called with the exception in the app context.
    """
    failure = None
    context = app.app_context()
    context.push()
    token = running.set(added)
    with readable(added.message):
        try:
            make_sync(app, f)(*args, **kwargs)
        except BaseException as error:
            failure = error
            failed(error)
    running.reset(token)
    try:
        context.pop(failure)
    except Exception:
        logger.exception("a teardown function failed after the background task %s", name(f))
    return failure
