"""What is known of each server: when a process serves, and when its application is loaded.

:func:`find_start` looks at who is importing the application. Only where a server is recognized does
the client start by itself; everywhere else it starts on first use.
"""

from __future__ import annotations

import inspect
import os
import sys
import types
import typing as t

import click

from .execution import poll

Start = t.Callable[[], object]
Arrange = t.Callable[[Start], None]

#: Packages that load an application; below their frames begins what is the user's.
_LOADERS = ("flask", "click", "gunicorn", "werkzeug")


def find_start() -> Arrange | None:
    """Return how to start the client in this process, or None: only on first use.

    Called by ``init_app``, with the server still on the stack.
    """
    for recognize in (_flask_run, _gunicorn_worker, _gunicorn_arbiter):
        arrange = recognize()
        if arrange is not None:
            return arrange
    return None


# flask run: in the process that serves, not in the reloader's parent.


def _flask_run() -> Arrange | None:
    context = click.get_current_context(silent=True)
    if context is None or context.command.name != "run" or "reload" not in context.params:
        return None
    if _reloads(context.params["reload"]) and os.environ.get("WERKZEUG_RUN_MAIN") != "true":
        return _never
    return after_loading


def _reloads(reload: bool | None) -> bool:
    from flask.helpers import get_debug_flag

    return get_debug_flag() if reload is None else reload


# gunicorn: in its workers, after they have loaded the application and patched what they patch.


def _gunicorn_worker() -> Arrange | None:
    worker = _on_stack("gunicorn.workers", "init_process", "self")
    return (lambda start: _post_worker_init(worker, start)) if worker is not None else None


def _gunicorn_arbiter() -> Arrange | None:
    """``--preload``: the arbiter imports the application, workers are forked later."""
    if _on_stack("gunicorn.arbiter", "setup", "self") is None:
        return None
    return _in_forked_workers


def _in_forked_workers(start: Start) -> None:
    def in_child() -> None:
        worker = _on_stack("gunicorn.arbiter", "spawn_worker", "worker")
        if worker is not None:
            _post_worker_init(worker, start)

    os.register_at_fork(after_in_child=in_child)


def _post_worker_init(worker: t.Any, start: Start) -> None:
    """Start when the worker is ready; a hook of the user's configuration runs first."""
    previous = worker.cfg.post_worker_init

    def post_worker_init(worker: t.Any) -> None:
        previous(worker)
        start()

    worker.cfg.set("post_worker_init", post_worker_init)


# Helpers.


def _never(start: Start) -> None:
    """A process that will not serve."""


def after_loading(start: Start) -> None:
    """Start when the application has been imported and its factory has returned.

    A call must not arrive while half of the module that serves it does not exist yet.
    """
    frame = _outermost_user_frame()
    if frame is None:
        start()
    else:
        poll(lambda: not _is_running(frame), start, name="wamp-gate")


def _stack() -> t.Iterator[types.FrameType]:
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _module(frame: types.FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _on_stack(module: str, function: str, variable: str) -> t.Any:
    """A local variable of a function that is running, by names; None where it is not."""
    for frame in _stack():
        if frame.f_code.co_name == function and _module(frame).startswith(module):
            return frame.f_locals.get(variable)
    return None


def _outermost_user_frame() -> types.FrameType | None:
    """The frame just inside of the server's: it ends when the application is loaded."""
    package = __package__ or "flask_wamp"
    found = None
    for frame in _stack():
        name = _module(frame).partition(".")[0]
        if name in _LOADERS:
            break
        if name != package:
            found = frame
    return found


def _is_running(frame: types.FrameType) -> bool:
    if frame.f_code.co_flags & inspect.CO_GENERATOR:
        return False
    try:
        frame.clear()  # of a frame that has ended; refused for one that runs
    except RuntimeError:
        return True
    return False
