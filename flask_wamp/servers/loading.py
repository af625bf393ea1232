"""Finds out when an application has been loaded, from the frames on the stack."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
import types
import typing as t

from ..concurrency.threads import poll
from .server import Start

#: Seconds between two checks whether the application has been loaded.
INTERVAL = 0.02

#: Packages that load an application. The user's code begins just inside of their frames.
_LOADERS = ("flask", "click", "gunicorn", "werkzeug", "waitress", "uvicorn")


def after_loading(start: Start) -> None:
    """Start when the application has been imported and its factory has returned.

    A call must not arrive while the module of its handler is only half loaded.
    """
    frame = _outermost_user_frame()
    if frame is None:
        start()
    else:
        ended = functools.partial(_has_ended, frame)
        in_thread(ended, functools.partial(_start_if_complete, frame, start))


def _start_if_complete(frame: types.FrameType, start: Start) -> None:
    """Start unless the application has raised an error while it was loaded, which its server shows."""
    if _has_returned(frame):
        start(unattended=True)  # because no caller would see an error on this thread


def is_loaded() -> t.Callable[[], bool]:
    """Return a function that returns whether the application, which is being loaded now, has been loaded."""
    frame = _outermost_user_frame()
    return lambda: frame is None or _has_ended(frame)


def stack() -> t.Iterator[types.FrameType]:
    """Iterate over the frames of this thread, the innermost first."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def module_of(frame: types.FrameType) -> str:
    """Return the name of the module whose code a frame runs."""
    return str(frame.f_globals.get("__name__", ""))


def on_stack(module: str, function: str, variable: str) -> t.Any:
    """Return a local variable of a function that is on the stack. None if the function is not there."""
    for frame in stack():
        if frame.f_code.co_name == function and module_of(frame).startswith(module):
            return frame.f_locals.get(variable)
    return None


def _outermost_user_frame() -> types.FrameType | None:
    """Return the user's outermost frame, which ends when the application has been loaded."""
    package = "flask_wamp"
    found = None
    for frame in stack():
        name = module_of(frame).partition(".")[0]
        if name in _LOADERS:
            break
        if name != package:
            found = frame
    return found


def _has_ended(frame: types.FrameType) -> bool:
    if frame.f_code.co_flags & inspect.CO_GENERATOR:
        return True
    try:
        frame.clear()  # works if the frame has ended, and is refused while it runs
    except RuntimeError:
        return False
    return True


def _has_returned(frame: types.FrameType) -> bool:
    """Return whether a frame that has ended has returned. Otherwise, it has raised."""
    code = frame.f_code
    if code.co_flags & inspect.CO_GENERATOR:  # it may still run, see _has_ended
        return True
    return dis.opname[code.co_code[frame.f_lasti]].startswith("RETURN_")


def in_greenlet(ready: t.Callable[[], bool], then: t.Callable[[], object]) -> None:
    """Call a function when ``ready()`` is true and gevent's loop runs.

    uWSGI loads the app first. Then it patches, and starts that loop.
    """
    import gevent

    def look() -> None:
        while not ready():
            gevent.sleep(INTERVAL)
        then()

    gevent.spawn(look)


def in_thread(ready: t.Callable[[], bool], then: t.Callable[[], object]) -> None:
    """Call a function on a separate thread when ``ready()`` is true."""
    poll(ready, then, name="wamp-gate", interval=INTERVAL)
