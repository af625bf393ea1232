"""When a client starts and ends in a process. :mod:`.detection` knows what each server needs."""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import signal
import sys
import threading
import types
import typing as t
import weakref

import click
from flask import Flask

from .._text import counted, get_logger
from ..client.client import Client
from ..concurrency.clock import monotonic
from ..concurrency.interruption import raise_in_main_greenlet
from ..concurrency.threads import is_monkey_patched
from ..exceptions import NotJoined
from ..handlers import http
from ..peer.connection import Connection
from ..peer.listeners import PeerInterface
from . import detection as servers
from .server import Server, at_exit

logger = get_logger("flask_wamp")

#: Seconds for which the last callee waits for its successor, in servers that restart workers. The second
#: value applies if the server has started a successor, and the first if that is not known.
LINGER, LINGER_AT_RESTART = 2.0, 30.0

#: Whether SIGTERM has begun to end this process. Set in a signal handler, where no lock may be taken.
_exiting = False

#: Whether this process ends because a client cannot serve. Its exit code is then 1.
_failed = False

#: All clients of this process, for forks and for the end.
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def manage(client: Client, app: Flask, autostart: str | bool, linger: float | None) -> None:
    """Start a client by itself according to ``WAMP_AUTOSTART``, and stop it with the process.

    A client that *serves* registers and subscribes what the app declares, and runs its jobs. It serves if a
    recognized server serves the app in this process. If no server was recognized, it serves from the first
    HTTP request on, after ``start()``, or from its first use while ``app.testing``. In any other process
    (commands, scripts, the reloader's parent, gunicorn's arbiter) its first use joins as a client only.

    :param autostart: ``"auto"`` starts the client as described above, ``"lazy"`` at the first HTTP request or
        use, and False only when ``start()`` is called.
    :param linger: The seconds of ``WAMP_LINGER``. If it is None, the server decides.
    """
    policy = client.start_policy
    policy.on_first_use = policy.on_first_request = autostart is not False
    policy.serves_on_first_use = lambda: app.testing
    policy.linger = linger or 0.0
    policy.ending = is_exiting
    policy.on_start = _stop_at_end_of_child
    _register_once()
    _clients.add(client)
    if servers.in_task_process():
        client.only_call()
        return
    if servers.in_celery():
        client.only_call()
        servers.stop_with_celery(client.stop)
        return
    if autostart is not False:
        exit_at_sigterm()  # now, because its first user need not be in the main thread
    if autostart == "auto":
        _start_with_server(client, app, linger)
    if policy.on_first_request:
        http.before_first_request(app, client.start_at_request)


def _start_with_server(client: Client, app: Flask, linger: float | None) -> None:
    server = servers.recognize(app)
    if server is None:
        servers.watch_app_run(app, functools.partial(_start_announced, client, app))
        return
    policy = client.start_policy
    policy.on_first_request = False
    if linger is None and server.restarts_workers:
        policy.linger, policy.linger_at_restart = LINGER, LINGER_AT_RESTART
    policy.on_start = functools.partial(_before_start, server)
    if server.announces:
        client.add_listener(Announcement)
    if server.is_loaded is not None:
        http.before_first_request(
            app, functools.partial(_start_if_loaded, client, server.is_loaded)
        )
    server.arrange(functools.partial(start, client, app=app, server=server))


def _start_if_loaded(client: Client, is_loaded: t.Callable[[], bool]) -> None:
    if is_loaded():
        client.start_at_request()


def start(
    client: Client,
    *,
    app: Flask | None = None,
    server: Server | None = None,
    unattended: bool = False,
    grace: float | None = None,
    restarting: t.Callable[[], bool] | None = None,
    ending: t.Callable[[], bool] | None = None,
) -> None:
    """Start a client in a process that serves.

    :param unattended: Whether no caller would see an error, for example on a separate thread. An error then
        ends the process. If the process cannot be ended from inside, it refuses all HTTP requests.
    :param grace: The seconds that the server gives the process to end. The drain takes less.
    :param restarting: Returns whether successors were started, when the process is about to end.
    :param ending: Returns whether the process is about to end, while the server waits for active requests.
    """
    policy = client.start_policy
    if ending is not None:
        policy.ending = ending
    policy.grace = grace
    if restarting is not None:
        policy.restarting = restarting
    try:
        client.start()
    except Exception as error:
        if app is None or not unattended:
            raise
        _fail(app, error, ends=server is not None and server.ends_by_signal)


def _start_announced(client: Client, app: Flask) -> None:
    client.add_listener(Announcement)
    client.start()


def _fail(app: Flask, error: Exception, *, ends: bool) -> None:
    """Refuse all HTTP requests, and end the process if possible.

    Otherwise, the process would look healthy, but serve no calls.
    """
    global _failed
    logger.critical("%s cannot be served: %s", app.name, error, exc_info=error)
    http.refuse_requests(app, error)
    if ends:
        _failed = True
        os.kill(os.getpid(), signal.SIGTERM)


def start_all(*, grace: float | None = None) -> None:
    """Start all clients of this process. See :func:`start`."""
    for client in list(_clients):
        start(client, grace=grace)


def stop_all() -> None:
    """Stop all clients of this process. If one fails to stop, the others are still stopped."""
    for client in list(_clients):
        try:
            client.stop()
        except Exception:
            logger.exception("%r was not stopped cleanly", client)


# The end of a process.


def exit_at_sigterm() -> None:
    """Let SIGTERM end a process that has a client as ``sys.exit`` does, unless the process handles it.

    The default action of SIGTERM ends the process at once, and callers would lose their calls. Under gevent,
    Ctrl-C needs a handler too, see :func:`.raise_in_main_greenlet`. A handler can be installed in the main
    thread only. In any other thread this function does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)
    if is_monkey_patched() and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupt)


def is_exiting() -> bool:
    """Return whether SIGTERM has begun to end this process. Then waitress still waits for its requests."""
    return _exiting


def _exit(signum: int, frame: types.FrameType | None) -> None:
    global _exiting
    if _exiting:  # a second SIGTERM must not end the drain. Only SIGKILL does
        return
    _exiting = True
    if _failed:
        raise_in_main_greenlet(SystemExit(1))
    elif any(client.peer is not None and client.peer.started for client in list(_clients)):
        raise_in_main_greenlet(SystemExit(128 + signum))
    else:  # there is nothing to drain
        signal.signal(signum, signal.SIG_DFL)
        os.kill(os.getpid(), signum)


def _interrupt(signum: int, frame: types.FrameType | None) -> None:
    """Do what Python does at Ctrl-C, also while a greenlet runs that is not the main one."""
    raise_in_main_greenlet(KeyboardInterrupt())


def _at_exit() -> None:
    with _undisturbed():
        stop_all()
    if _failed:  # some servers take SystemExit for a success
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


#: Signals that end a process. They may come more than once: from a terminal and from a supervisor.
_END_SIGNALS = (signal.SIGTERM, signal.SIGINT, getattr(signal, "SIGQUIT", signal.SIGTERM))


@contextlib.contextmanager
def _undisturbed() -> t.Iterator[None]:
    """Ignore further signals during the drain, which has its own time limit.

    Handlers written in Python, such as Python's for SIGINT and gunicorn's for SIGQUIT, raise exceptions,
    which would end what runs at exit.
    """
    previous = {}
    if threading.current_thread() is threading.main_thread():
        for signum in _END_SIGNALS:
            handler = signal.getsignal(signum)
            if callable(handler):
                previous[signum] = handler
                signal.signal(signum, _ignore)
    try:
        yield
    finally:
        for signum, handler in previous.items():
            signal.signal(signum, handler)


def _ignore(signum: int, frame: types.FrameType | None) -> None:
    """Do nothing. Unlike ``SIG_IGN``, it is not inherited by programs that are started meanwhile."""


@functools.cache
def _register_once() -> None:
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(_at_exit)
    at_exit.stop = stop_all


def _before_start(server: Server) -> None:
    why_not = server.forbids()
    if why_not is not None:
        raise NotJoined(why_not)
    _stop_at_end_of_child()


def _stop_at_end_of_child() -> None:
    """Stop at the end of a child of ``multiprocessing``, which skips ``atexit``.

    Registered when a client starts, because a child begins with an empty list of finalizers.
    """
    process = sys.modules.get("multiprocessing.process")  # every child has it
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize

        Finalize(None, _at_exit, exitpriority=100)


def _after_fork() -> None:
    global _exiting
    _exiting = False
    for client in list(_clients):
        client.forget_parents()


class Announcement:
    """Prints a line in development servers when a session has joined, or the process waits for calls to end.

    A logger shows INFO only if logging was set up, and Flask's own lines are visible without that.
    """

    def __init__(self, peer: PeerInterface) -> None:
        self._peer = peer
        self._again = ""

    def joined(self, connection: Connection) -> None:
        """Print the line on another thread, because a terminal may make its writer wait."""
        again, self._again = self._again, " again"
        self._peer.pool.submit(functools.partial(self._say, again), force=True)

    def lost(self) -> None:
        """Do nothing, because the loss is logged as a warning."""

    def leave(self, deadline: float) -> None:
        """Print how many calls the process waits for. Otherwise, Ctrl-C would seem to have no effect."""
        connection = self._peer.connection
        count = len(connection.invocations) if connection is not None else 0
        if count:
            left = max(0.0, deadline - monotonic())
            click.echo(
                f" * WAMP: waiting for {counted(count, 'call')} to end, for at most {left:.0f} s",
                err=True,
            )

    def _say(self, again: str) -> None:
        if logger.isEnabledFor(logging.INFO):
            return  # the peer has logged it
        settings, summary = self._peer.settings, self._peer.summary
        click.echo(
            f" * WAMP: joined realm {settings.realm}{again} with {summary}, "
            f"at {settings.router_url.shown}",
            err=True,
        )
