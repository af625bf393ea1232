"""When a client starts and ends: once in every process that serves, and in no other.

Knows no server; what each one needs is told by :mod:`.servers`.
"""

from __future__ import annotations

import atexit
import functools
import os
import signal
import sys
import threading
import typing as t
import weakref

from flask import Flask

from ..client.client import Client
from . import detection as servers

#: Seconds the last callee stays for its successor, in servers that restart workers: where nobody knows
#: whether there will be one, and where one has been started.
LINGER, LINGER_AT_RESTART = 2.0, 30.0

#: Set in a handler of signals, where no lock may be taken.
_exiting = False

#: All clients of this process, for forks and for the end.
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def manage(client: Client, app: Flask, autostart: str | bool, linger: float | None) -> None:
    """Have a client start by itself as ``WAMP_AUTOSTART`` says, and end with the process.

    :param autostart: ``"auto"``: when a server is recognized, else on first use; ``"lazy"``: on first
        use; False: by ``start()`` only.
    :param linger: ``WAMP_LINGER``, seconds; None: as the server needs.
    """
    policy = client.start_policy
    policy.on_first_use = policy.on_first_request = autostart is not False
    policy.linger = linger or 0.0
    policy.ending = is_exiting
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
        exit_at_sigterm()  # now: whoever uses it first need not be in the main thread
    if autostart != "auto":
        return
    begin = functools.partial(start, client)
    server = servers.recognize(app)
    if server is None:
        servers.watch_app_run(app, begin)
        return
    policy.on_first_request = False
    if linger is None and server.restarts_workers:
        policy.linger, policy.linger_at_restart = LINGER, LINGER_AT_RESTART
    server.arrange(begin)


def start(
    client: Client,
    *,
    grace: float | None = None,
    restarting: t.Callable[[], bool] | None = None,
    ending: t.Callable[[], bool] | None = None,
) -> None:
    """Start a client in a process that serves.

    :param grace: Seconds the server leaves the process for its end; the drain stays below.
    :param restarting: Tells, when the process is about to end, whether successors were started.
    :param ending: Tells whether it is, while the server waits for requests in hand.
    """
    if ending is not None:
        client.start_policy.ending = ending
    client.start_policy.grace = grace
    if restarting is not None:
        client.start_policy.restarting = restarting
    client.start()


def start_all(*, grace: float | None = None) -> None:
    """Start all clients of this process; see :func:`start`."""
    for client in list(_clients):
        start(client, grace=grace)


def stop_all() -> None:
    """Stop all clients of this process."""
    for client in list(_clients):
        client.stop()


def exit_at_sigterm() -> None:
    """Let SIGTERM end a process that has a client as ``sys.exit`` does, where nobody handles it.

    Its default ends the process on the spot, and callers would be left with what was in hand. Only in
    the main thread can that be changed; elsewhere nothing happens.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, _exit)


def is_exiting() -> bool:
    """Whether SIGTERM has begun to end this process; waitress waits for its requests then."""
    return _exiting


def _exit(signum: int, frame: t.Any) -> None:
    global _exiting
    _exiting = True
    if any(client.peer is not None and client.peer.started for client in list(_clients)):
        sys.exit(128 + signum)
    signal.signal(signum, signal.SIG_DFL)  # nothing to be left in order here
    os.kill(os.getpid(), signum)


@functools.cache
def _register_once() -> None:
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(stop_all)
    servers.stop_at_exit = stop_all


def _after_fork() -> None:
    for client in list(_clients):
        client.forget_parents()
