"""``flask wamp worker``: a process that serves handlers, and HTTP only with ``--http``.

This runs in each worker process; :mod:`.supervisor` starts them.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import types
import typing as t

from flask import Flask

from .._text import get_logger
from ..client.client import Client
from ..concurrency.self_pipe import SelfPipe
from ..exceptions import NotJoined
from . import lifecycle
from .supervisor import CHANGED

#: Seconds between two checks whether the session has joined or a file has changed.
READY_INTERVAL = 1.0

logger = get_logger("flask_wamp.worker")


def work(
    app: Flask,
    client: Client,
    ready: t.Callable[[], object],
    *,
    http: socket.socket | None = None,
    reload: bool = False,
) -> int:
    """Serve an app's handlers until SIGTERM or SIGINT, then drain.

    :param client: The app's client.
    :param ready: Called when everything has been registered.
    :param http: A listening socket to serve HTTP on, with gevent's server.
    :param reload: Whether to end when the file of an imported module changes.
    :returns: The exit code: 0, or :data:`CHANGED` if a file has changed.
    """
    ended = _ended_by_signal()
    if client.start_policy.linger == 0.0 and app.config.get("WAMP_LINGER") is None:
        client.start_policy.linger = lifecycle.LINGER
    client.start_policy.ending = ended.is_set
    server = _serve_http(app, http) if http is not None else None
    client.start()
    try:
        _wait_until_ready(client, ended, ready)
        return _wait_until_ended(ended, reload)
    finally:
        if server is not None:
            server.stop(timeout=client.settings.drain_timeout)
        client.stop()


def _wait_until_ready(client: Client, ended: SelfPipe, ready: t.Callable[[], object]) -> None:
    while not ended.is_set():
        try:
            client.wait_until_joined(READY_INTERVAL)
        except NotJoined:
            continue
        ready()
        return


def _wait_until_ended(ended: SelfPipe, reload: bool) -> int:
    before = _modified() if reload else {}
    while not ended.wait(READY_INTERVAL if reload else None):
        changed = [file for file, time in _modified().items() if before.get(file, time) != time]
        if changed:
            logger.warning("%s has changed, starting again", changed[0])
            return CHANGED
    return 0


def _modified() -> dict[str, float]:
    """Return when the files of all modules were last changed."""
    times = {}
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file:
            with contextlib.suppress(OSError):
                times[file] = os.stat(file).st_mtime
    return times


def _ended_by_signal() -> SelfPipe:
    ended = SelfPipe()

    def end(signum: int, frame: types.FrameType | None) -> None:
        ended.set()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    return ended


def _serve_http(app: Flask, listener: socket.socket) -> t.Any:
    from gevent.pywsgi import WSGIServer

    server = WSGIServer(listener, app, log=None)
    server.start()
    return server


def tell_supervisor(fd: int) -> t.Callable[[], None]:
    """Return a function that tells the supervisor, through a pipe, that this worker is ready."""

    def ready() -> None:
        os.write(fd, b"ready\n")
        os.close(fd)

    return ready
