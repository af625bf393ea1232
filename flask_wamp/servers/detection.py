"""What is known about each server: when a process serves, and when its application has been loaded.

:func:`recognize` looks at what imports the application. Where it recognizes a server, the client starts by
itself and serves. Elsewhere the app is served from the first HTTP request on, or after ``wamp.start()``. Any
use of the client before that joins as a client only.

==================== ======================================= =====================================
server               recognized by                           the client starts
==================== ======================================= =====================================
flask run            click's context                         when the app has been loaded; not in
                                                             the reloader's parent
app.run              it is called                            at once; not in the reloader's parent
gunicorn             its worker on the stack                 in ``post_worker_init``
gunicorn --preload   its arbiter on the stack                the same, in each forked worker
uWSGI                the module ``uwsgi``                    in ``post_fork_hook``, or when the app
                                                             has been loaded, if workers load it
waitress-serve       its runner on the stack                 when the app has been loaded
uvicorn              its server on the stack                 when the app has been loaded
celery               click's context                         on first use, and serves nothing
==================== ======================================= =====================================
"""

from __future__ import annotations

import functools
import os
import sys
import typing as t
from pathlib import Path

import click
from flask import Flask
from flask.cli import ScriptInfo
from flask.helpers import get_debug_flag

from ..tasks.child import NAME as TASK_PROCESS
from . import uwsgi
from .loading import after_loading, is_loaded, module_of, on_stack, stack
from .server import Server, Start, at_exit


def recognize(app: Flask) -> Server | None:
    """Return the server that is loading the app in this process. None if none is recognized.

    ``init_app`` calls this, with the server still on the stack.
    """
    for server in (
        _flask_run,
        _gunicorn_worker,
        _gunicorn_arbiter,
        uwsgi.recognize,
        _waitress,
        _uvicorn,
    ):
        recognized = server()
        if recognized is not None:
            return recognized
    return None


def in_task_process() -> bool:
    """Return whether this process runs background tasks for another one, and serves nothing."""
    return TASK_PROCESS in sys.modules


def in_celery() -> bool:
    """Return whether a ``celery`` command is loading the app.

    Its processes call and publish, and serve nothing.
    """
    context = click.get_current_context(silent=True)
    group = context.find_root().command.callback if context is not None else None
    return getattr(group, "__module__", "").startswith("celery.")


def stop_with_celery(stop: t.Callable[[], None]) -> None:
    """Call a function when a process of Celery ends, because Celery's children skip Python's ``atexit``."""
    from celery.signals import worker_process_shutdown

    worker_process_shutdown.connect(lambda **about: stop(), weak=False)


def app_import_path() -> str | None:
    """Return where the server finds the app, as ``module:create_app()``. None if that is unknown.

    ``init_app`` calls this, like :func:`recognize`.
    """
    context = click.get_current_context(silent=True)
    info = context.find_object(ScriptInfo) if context is not None else None
    if info is not None and info.app_import_path:
        return info.app_import_path
    gunicorn = on_stack("gunicorn.app.wsgiapp", "load_wsgiapp", "self")
    return str(gunicorn.app_uri) if gunicorn is not None else None


def imported_twice(app: Flask) -> str | None:
    """Return the file of an app that is made twice, because the running script is imported as well.

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
    # Under the reloader, the process stays alive, because the next change may fix the error.
    return Server(after_loading, is_loaded=is_loaded(), announces=True, ends_by_signal=not reloads)


def watch_app_run(app: Flask, start: t.Callable[[], object]) -> None:
    """Start when ``app.run()`` is called."""
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


# gunicorn: in its workers, after they have loaded the application and patched with gevent.


def _gunicorn_worker() -> Server | None:
    worker = on_stack("gunicorn.workers", "init_process", "self")
    if worker is None:
        return None
    return Server(lambda start: _post_worker_init(worker, start), restarts_workers=True)


def _gunicorn_arbiter() -> Server | None:
    """Recognize gunicorn with ``--preload``. Its arbiter imports the application, and forks workers later."""
    if on_stack("gunicorn.arbiter", "setup", "self") is None:
        return None
    return Server(_in_forked_workers, restarts_workers=True)


def _in_forked_workers(start: Start) -> None:
    def in_child() -> None:
        worker = on_stack("gunicorn.arbiter", "spawn_worker", "worker")
        if worker is not None:
            _post_worker_init(worker, start)

    os.register_at_fork(after_in_child=in_child)


def _post_worker_init(worker: t.Any, start: Start) -> None:
    """Start when the worker is ready, after the hook of the user's configuration."""
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
    """Return whether there are more workers than configured.

    At SIGHUP, the arbiter starts new workers before it stops the old ones. When it ends, it starts none. The
    number of its children is known only on Linux.
    """
    try:
        children = Path(f"/proc/{worker.ppid}/task/{worker.ppid}/children").read_text()
    except OSError:
        return False
    return len(children.split()) > int(worker.cfg.workers)


# waitress-serve.


def _waitress() -> Server | None:
    is_loading = any(module_of(frame) == "waitress.runner" for frame in stack())
    if not is_loading:
        return None
    return Server(after_loading, is_loaded=is_loaded(), ends_by_signal=True)


# uvicorn, with a WSGI adapter around the app.


def _uvicorn() -> Server | None:
    if on_stack("uvicorn.main", "run", "config") is not None:  # one process, and no server yet
        return Server(after_loading, is_loaded=is_loaded())
    server = on_stack("uvicorn.server", "_serve", "self")
    if server is None:
        return None

    def arrange(start: Start) -> None:
        shutdown = server.shutdown

        async def shutdown_and_stop(*args: t.Any, **kwargs: t.Any) -> None:
            import asyncio  # imported late, because it is slow to import, and uvicorn has imported it already

            await shutdown(*args, **kwargs)
            await asyncio.get_running_loop().run_in_executor(None, lambda: at_exit.stop())

        # After that, a child of uvicorn raises its signal again. The default handler skips ``atexit``.
        server.shutdown = shutdown_and_stop
        after_loading(functools.partial(start, ending=lambda: server.should_exit))

    return Server(arrange, is_loaded=is_loaded())


def _never(start: Start) -> None:
    """Do nothing, in a process that will not serve."""
