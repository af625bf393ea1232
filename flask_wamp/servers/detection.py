"""What is known of each server: when a process serves, and when its application is loaded.

:func:`recognize` looks at who is importing the application. Only where a server is recognized does
the client start by itself; everywhere else it starts on first use, or with ``wamp.start()``.

==================== ======================================= =====================================
server               seen by                                 the client starts
==================== ======================================= =====================================
flask run            click's context                         when the app is loaded; not in the
                                                             reloader's parent
app.run              it is called                            at once; not in the reloader's parent
gunicorn             its worker on the stack                 in ``post_worker_init``
gunicorn --preload   its arbiter on the stack                the same, in each forked worker
uWSGI                the module ``uwsgi``                    in ``post_fork_hook``; when the app is
                                                             loaded, where workers load it
waitress-serve       its runner on the stack                 when the app is loaded
uvicorn              its server on the stack                 when the app is loaded
celery               click's context                         on first use, and serves nothing
==================== ======================================= =====================================
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import os
import sys
import types
import typing as t
from pathlib import Path

import click
from flask import Flask
from flask.cli import ScriptInfo
from flask.helpers import get_debug_flag

from ..concurrency.threads import is_monkey_patched, poll
from ..tasks.child import NAME as TASK_PROCESS


class Start(t.Protocol):
    """Starts the client."""

    def __call__(
        self,
        *,
        unattended: bool = False,
        grace: float | None = None,
        restarting: t.Callable[[], bool] | None = None,
        ending: t.Callable[[], bool] | None = None,
    ) -> object:
        """Start; see :func:`.lifecycle.start`."""


class Server(t.NamedTuple):
    """A server that was recognized."""

    arrange: t.Callable[[Start], object]
    """Has the client started at the right time in every process that serves."""

    restarts_workers: bool = False
    """Whether it replaces processes one by one while others serve."""

    announces: bool = False
    """Whether a developer looks at its terminal, and wants to read there that the session is joined."""

    forbids: t.Callable[[], str | None] = lambda: None
    """Why this process must not connect at all; None: it may."""

    ends_by_signal: bool = False
    """Whether SIGTERM ends it for good where its app cannot be served."""


#: Seconds between two looks whether the application is loaded.
INTERVAL = 0.02

#: Packages that load an application; below their frames begins what is the user's.
_LOADERS = ("flask", "click", "gunicorn", "werkzeug", "waitress", "uvicorn")


def recognize(app: Flask) -> Server | None:
    """Return the server this process is loading an app for; None where nobody can tell.

    Called by ``init_app``, with the server still on the stack.
    """
    for server in (_flask_run, _gunicorn_worker, _gunicorn_arbiter, _uwsgi, _waitress, _uvicorn):
        recognized = server()
        if recognized is not None:
            return recognized
    return None


def in_task_process() -> bool:
    """Whether this process runs background tasks for another one, and serves nothing."""
    return TASK_PROCESS in sys.modules


def in_celery() -> bool:
    """Whether a ``celery`` command is loading the app: its processes call and publish, and serve nothing."""
    context = click.get_current_context(silent=True)
    group = context.find_root().command.callback if context is not None else None
    return getattr(group, "__module__", "").startswith("celery.")


def stop_with_celery(stop: t.Callable[[], None]) -> None:
    """Have a function called when a process of Celery's ends; its children skip Python's ``atexit``."""
    from celery.signals import worker_process_shutdown

    worker_process_shutdown.connect(lambda **about: stop(), weak=False)


def app_import_path() -> str | None:
    """What the server was told of where the app is, ``module:create_app()``; None where it is unknown.

    Called by ``init_app``, as :func:`recognize`.
    """
    context = click.get_current_context(silent=True)
    info = context.find_object(ScriptInfo) if context is not None else None
    if info is not None and info.app_import_path:
        return info.app_import_path
    gunicorn = _on_stack("gunicorn.app.wsgiapp", "load_wsgiapp", "self")
    return str(gunicorn.app_uri) if gunicorn is not None else None


def imported_twice(app: Flask) -> str | None:
    """Return the file of an app that is made a second time, as the script that runs is imported too.

    ``python app.py`` runs the file as ``__main__``. If another module says ``from app import wamp``, Python
    runs it again, as ``app``.
    """
    main, module = sys.modules.get("__main__"), sys.modules.get(app.import_name)
    script, file = getattr(main, "__file__", None), getattr(module, "__file__", None)
    if main is module or script is None or file is None:
        return None
    return str(file) if os.path.realpath(script) == os.path.realpath(file) else None


# flask run and app.run: in the process that serves, not in the reloader's parent.


def _flask_run() -> Server | None:
    context = click.get_current_context(silent=True)
    if context is None or context.command.name != "run" or "reload" not in context.params:
        return None
    reload = context.params["reload"]
    reloads = get_debug_flag() if reload is None else reload
    if _is_parent(reloads):
        return Server(_never)
    # Under the reloader the process stays, as it does where the import fails: the next change may mend it.
    return Server(after_loading, announces=True, ends_by_signal=not reloads)


def watch_app_run(app: Flask, start: t.Callable[[], object]) -> None:
    """Start when ``app.run()`` is called, which nothing announces before."""
    run = app.run

    def run_with_wamp(
        host: str | None = None,
        port: int | None = None,
        debug: bool | None = None,
        load_dotenv: bool = True,
        **options: t.Any,
    ) -> None:
        # Under ``flask run`` Flask ignores the call.
        if os.environ.get("FLASK_RUN_FROM_CLI") != "true":
            debugs = get_debug_flag() if debug is None else debug
            if not _is_parent(options.get("use_reloader", debugs)):
                start()
        run(host, port, debug, load_dotenv, **options)

    app.run = run_with_wamp  # type: ignore[method-assign]


def _is_parent(reloads: bool) -> bool:
    return bool(reloads) and os.environ.get("WERKZEUG_RUN_MAIN") != "true"


# gunicorn: in its workers, after they have loaded the application and patched what they patch.


def _gunicorn_worker() -> Server | None:
    worker = _on_stack("gunicorn.workers", "init_process", "self")
    if worker is None:
        return None
    return Server(lambda start: _post_worker_init(worker, start), restarts_workers=True)


def _gunicorn_arbiter() -> Server | None:
    """``--preload``: the arbiter imports the application, workers are forked later."""
    if _on_stack("gunicorn.arbiter", "setup", "self") is None:
        return None
    return Server(_in_forked_workers, restarts_workers=True)


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
        start(
            grace=worker.cfg.graceful_timeout,
            restarting=functools.partial(_is_replaced, worker),
            ending=lambda: not worker.alive,
        )

    worker.cfg.set("post_worker_init", post_worker_init)


def _is_replaced(worker: t.Any) -> bool:
    """Whether there are more workers than there should be.

    At SIGHUP the arbiter starts new workers before it stops the old ones; at its end it starts none. Linux
    tells; elsewhere nobody does.
    """
    try:
        children = Path(f"/proc/{worker.ppid}/task/{worker.ppid}/children").read_text()
    except OSError:
        return False
    return len(children.split()) > int(worker.cfg.workers)


# uWSGI: in its workers. It forks without telling Python, so the process id decides later.

_UWSGI_MASTER = (
    "this is uWSGI's master: the threads of a session would break the workers it forks. Use g.wampy in the "
    "workers, or give uWSGI --lazy-apps or --py-call-uwsgi-fork-hooks"
)
_UWSGI_UNPATCHED = (
    "uWSGI patches with gevent after it has loaded the app: the threads of a session would freeze then. "
    "Use g.wampy after that, in requests"
)


def _uwsgi() -> Server | None:
    try:
        import uwsgi
    except ImportError:  # the module exists inside of uWSGI only
        return None
    grace = float(uwsgi.opt.get("worker-reload-mercy", 60) or 60)
    preforks = uwsgi.worker_id() == 0 and uwsgi.masterpid() == os.getpid()

    def arrange(start: Start) -> None:
        def begin() -> None:
            # Mules and spoolers are forked as workers are, and serve no requests.
            if uwsgi.worker_id() > 0:
                start(grace=grace, unattended=True)

        # In every process of uWSGI: those that only call say GOODBYE at their end too.
        _chain(uwsgi, "atexit", stop_at_exit)
        has_greenlets = "gevent" in uwsgi.opt
        wait = _in_greenlet if has_greenlets else _in_thread
        begin_when_loaded = functools.partial(wait, _is_loaded(), begin)
        if preforks:  # what the hook calls is done before the first request
            _chain(uwsgi, "post_fork_hook", begin_when_loaded if has_greenlets else begin)
        else:
            begin_when_loaded()

    def forbids() -> str | None:
        if "gevent-monkey-patch" in uwsgi.opt and not is_monkey_patched():
            return _UWSGI_UNPATCHED
        is_master = preforks and uwsgi.masterpid() == os.getpid()
        return _UWSGI_MASTER if is_master and "py-call-uwsgi-fork-hooks" not in uwsgi.opt else None

    return Server(arrange, restarts_workers=True, forbids=forbids)


def _in_greenlet(ready: t.Callable[[], bool], then: t.Callable[[], object]) -> None:
    """Call a function when the loop of uWSGI's gevent runs: that patches after it has loaded the app."""
    import gevent

    def look() -> None:
        while not ready():
            gevent.sleep(INTERVAL)
        then()

    gevent.spawn(look)


def _in_thread(ready: t.Callable[[], bool], then: t.Callable[[], object]) -> None:
    poll(ready, then, name="wamp-gate", interval=INTERVAL)


#: Set by ``lifecycle``: uWSGI ends its workers without Python's ``atexit``.
stop_at_exit: t.Callable[[], None] = lambda: None  # noqa: E731


def _chain(module: t.Any, name: str, then: t.Callable[[], object]) -> None:
    previous = getattr(module, name, None)

    def both() -> None:
        if previous is not None:
            previous()
        then()

    setattr(module, name, both)


# waitress-serve.


def _waitress() -> Server | None:
    on_stack = any(_module(frame) == "waitress.runner" for frame in _stack())
    return Server(after_loading, ends_by_signal=True) if on_stack else None


# uvicorn, with a WSGI adapter around the app.


def _uvicorn() -> Server | None:
    if _on_stack("uvicorn.main", "run", "config") is not None:  # one process, and no server yet
        return Server(after_loading)
    server = _on_stack("uvicorn.server", "_serve", "self")
    if server is None:
        return None

    def arrange(start: Start) -> None:
        shutdown = server.shutdown

        async def shutdown_and_stop(*args: t.Any, **kwargs: t.Any) -> None:
            await shutdown(*args, **kwargs)
            await asyncio.get_running_loop().run_in_executor(None, lambda: stop_at_exit())

        # In a child it raises the signal it got once more then, for the default handler: no ``atexit``.
        server.shutdown = shutdown_and_stop
        after_loading(functools.partial(start, ending=lambda: server.should_exit))

    return Server(arrange)


# Helpers.


def _never(start: Start) -> None:
    """A process that will not serve."""


def after_loading(start: Start) -> None:
    """Start when the application has been imported and its factory has returned.

    A call must not arrive while half of the module that serves it does not exist yet.
    """
    if _outermost_user_frame() is None:
        start()
    else:
        # An error on that thread would reach nobody.
        _in_thread(_is_loaded(), functools.partial(start, unattended=True))


def _is_loaded() -> t.Callable[[], bool]:
    """What tells whether the application that is being loaded now has been loaded."""
    frame = _outermost_user_frame()
    return lambda: frame is None or not _is_running(frame)


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
    package = "flask_wamp"
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
