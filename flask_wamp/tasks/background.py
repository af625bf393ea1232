"""Background tasks: functions that run after the answer has been sent.

Call ``background_tasks.add(f, 1, 2)`` in a handler or a view. This module decides when tasks run, and
:mod:`.runner` runs them.
"""

from __future__ import annotations

import pickle
import typing as t

from flask import Flask, current_app, has_request_context, request
from flask.signals import request_finished
from flask.wrappers import Response
from werkzeug.exceptions import ServiceUnavailable

from ..exceptions import ApplicationError
from ..handlers.context import Message, current_message
from ..protocol import error_uris
from .runner import TaskRunner
from .task import Batch, Task, name, running

#: The key of the :class:`.TaskRunner` in ``app.extensions``.
RUNNER = "wamp_tasks"

EXECUTORS = ("thread", "process")

_OUTSIDE = """There is no answer to wait for.

background_tasks.add(f) runs f after the answer of a WAMP handler or an HTTP view, so call it inside of \
these. Elsewhere, call f directly, or run it in your own thread."""


class BackgroundTasks:
    """Functions that run after the answer of a handler or view.

    Use the only instance, ``background_tasks``.
    """

    def add(
        self, f: t.Callable[..., t.Any], /, *args: t.Any, executor: str = "thread", **kwargs: t.Any
    ) -> None:
        """Run a function after the answer has been sent, unless the answer is an error.

        The answer of a callee is its result. An event is answered when it has been handled without an
        exception. The answer of a view is a response with a status below 400, which must have been sent
        completely.

        The function runs in its own app context, so ``g.wampy`` is available. ``invocation`` or ``event`` is
        still the message that was answered. There is no ``flask.request``. An exception is logged and sent
        with the signal ``task_failed``. A task may add tasks, which run if it succeeds.

        The tasks of one answer run one after another on a worker, in the order in which they were added.
        Tasks with ``executor="process"`` run side by side, as many as there are CPUs.

        :param f: The function. It may be ``async def``.
        :param executor: ``thread``, or ``process`` for a function that computes for a long time. The function
            and its arguments are then pickled. The process imports the app. Its ``g.wampy`` has its own
            session, in which nothing is registered. While a test client is open, the function runs on a
            worker instead, because another process cannot reach the router of tests.
        :raises RuntimeError: This was not called inside of a handler or view.
        :raises ApplicationError: ``wamp.error.unavailable``, because ``WAMP_MAX_PENDING`` tasks are waiting.
            In a view, this is an HTTP error with status 503.
        :raises TypeError: ``f`` is not callable, or cannot be sent to another process.
        :raises ValueError: ``executor`` is neither ``thread`` nor ``process``.

        .. versionadded:: 0.1
        """
        if not callable(f):
            raise TypeError(
                f"{f!r} is not a function. Pass a function and its arguments separately: add(f, 1, 2)"
            )
        if executor not in EXECUTORS:
            raise ValueError(
                f"executor={executor!r} must be one of {', '.join(map(repr, EXECUTORS))}"
            )
        batch, runner = _batch(), _runner()
        if not runner.has_room(len(batch.tasks)):
            raise _too_many(batch, runner.limit)
        call = b""
        # Tasks that are added in a process for tasks are not run there, but sent to its parent.
        if executor == "process" or runner.in_task_process:
            if getattr(f, "__module__", None) == "__main__" and runner.main[1] is None:
                raise TypeError(f"{name(f)} is defined in an interactive session, not in a module")
            call = _pickled(f, args, kwargs, batch.message)
        batch.add(Task(runner, f, args, kwargs, executor, batch.message, call))

    def __repr__(self) -> str:
        return "<background_tasks>"


background_tasks = BackgroundTasks()
"""The functions that run after the answer: ``background_tasks.add(f, ...)``."""


def offer_tasks(app: Flask, runner: TaskRunner) -> None:
    """Enable background tasks in an app. They cost almost nothing if there are none."""
    app.extensions[RUNNER] = runner
    request_finished.connect(_request_finished, app)


def _too_many(batch: Batch, limit: int) -> Exception:
    why = f"{limit} background tasks are waiting already (WAMP_MAX_PENDING)"
    if batch.is_of_request:
        return ServiceUnavailable(why)
    return ApplicationError(error_uris.UNAVAILABLE, why)


def _runner() -> TaskRunner:
    runner = current_app.extensions.get(RUNNER)
    if runner is None:
        raise RuntimeError("this app has no FlaskWAMP. Create one: wamp = FlaskWAMP(app)")
    return t.cast(TaskRunner, runner)


def _pickled(f: t.Any, args: t.Any, kwargs: t.Any, message: Message | None) -> bytes:
    try:
        return pickle.dumps((f, args, kwargs, message))
    except Exception as error:
        raise TypeError(
            f"{name(f)} cannot run in another process: {error}. With executor='process', pass a function "
            "that is an attribute of its module, and arguments that can be pickled"
        ) from error


def _batch() -> Batch:
    """Return the batch of the innermost message or request that is being answered."""
    message = current_message()
    fake = message is not None and message.options.get("request_context")
    if has_request_context() and not fake:
        return _batch_of_request()
    added = running.get()
    if added is not None:
        return added
    if message is None:
        raise RuntimeError(_OUTSIDE)
    return _batch_of_message(message)


def _batch_of_message(message: Message) -> Batch:
    batch: Batch | None = getattr(message, "tasks", None)
    if batch is None:
        batch = message.tasks = Batch(message)
        message.when_done(batch.done)
    return batch


# For HTTP, the final response counts, after all after-request functions and error handlers.

_BATCH, _RESPONSE = "flask_wamp.tasks", "flask_wamp.response"


def _batch_of_request() -> Batch:
    environ = request.environ
    batch: Batch | None = environ.get(_BATCH)
    if batch is None:
        batch = environ[_BATCH] = Batch(None, is_of_request=True)
        if _RESPONSE in environ:  # the response is being streamed
            _run_after(environ[_RESPONSE], batch)
    return batch


def _request_finished(sender: Flask, response: Response, **extra: t.Any) -> None:
    environ = request.environ
    environ[_RESPONSE] = response
    if _BATCH in environ:
        _run_after(response, environ[_BATCH])


def _run_after(response: Response, batch: Batch) -> None:
    if response.status_code >= 400:
        batch.done(False)
    elif _is_test_client():
        batch.start()
    else:
        response.call_on_close(batch.start)


def _is_test_client() -> bool:
    """Return whether the request comes from a test client, because few tests close the response."""
    return not {"SERVER_SOFTWARE", "REMOTE_PORT"} & request.environ.keys()
