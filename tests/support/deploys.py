"""Servers of ``apps/browsed.py`` whose workers are replaced, while browsers are joined and call."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import typing as t
from pathlib import Path

from flask_wamp.concurrency.child_processes import kill_process
from flask_wamp.crossbar import free_port
from tests.conftest import eventually

from .browser_crowd import BrowserCrowd
from .served import STARTS_WITHIN, Served

REPLACED_WITHIN = 2 * STARTS_WITHIN

_GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"]
_GTHREAD = [*_GUNICORN, "-k", "gthread", "--threads", "4"]
_USED_UP = ["--max-requests", "200"]
_WORKER = ["flask", "--app", "browsed", "wamp", "worker"]

SERVERS = {
    "gunicorn sync, HUP": [*_GUNICORN, "-k", "sync", "browsed:app"],
    "gunicorn gthread, HUP": [*_GTHREAD, "browsed:app"],
    "gunicorn gevent, HUP": [*_GUNICORN, "-k", "gevent", "browsed:app"],
    # The old workers leave before the new ones have joined, so that the router keeps the calls.
    "gunicorn gthread, HUP, no linger": [*_GTHREAD, "browsed:app"],
    "gunicorn sync, max-requests": [*_GUNICORN, *_USED_UP, "browsed:app"],
    "gunicorn gthread, max-requests": [*_GTHREAD, *_USED_UP, "browsed:app"],
    "gunicorn gevent, max-requests": [*_GUNICORN, "-k", "gevent", *_USED_UP, "browsed:app"],
    "wamp worker, HUP": _WORKER,
    "wamp worker --http, HUP": [*_WORKER, "--gevent", "--http", "127.0.0.1:{port}"],
    "wamp worker, stopped and started": _WORKER,
}
"""Commands for :class:`.Served`. The name says how :meth:`Deployed.deploy` replaces the workers."""


@contextlib.contextmanager
def deployed(name: str, socket: Path, log: Path) -> t.Iterator[Deployed]:
    """Run one of :data:`SERVERS` with an embedded router, which continues for some seconds after the block.

    :param socket: The router's socket.
    """
    # Calls wait for longer than workers take to start on a busy machine.
    environ = {"FLASK_WAMP_ROUTER_URL": f"embedded:{socket}", "FLASK_WAMP_CALL_TIMEOUT": "60"}
    if "no linger" in name:
        environ["FLASK_WAMP_LINGER"] = "0"
    has_http = "gunicorn" in name or "--http" in name
    router_port = f"ws://127.0.0.1:{free_port()}/ws"
    if not has_http:
        environ["FLASK_WAMP_ROUTER_LISTEN"] = json.dumps([router_port])
    with Served(SERVERS[name], "", log, **environ) as served:
        endpoint = f"ws://127.0.0.1:{served.port}/wamp"
        server = Deployed(name, served, endpoint if has_http else router_port)
        server.wait_until_ready()
        yield server
        if "gunicorn" in name:  # killed, because its last worker would wait for a successor
            kill_process(served.process)


class Deployed:
    """A server that :func:`deployed` has started.

    :param url: The URL that browsers join.
    """

    def __init__(self, name: str, served: Served, url: str) -> None:
        self._name = name
        self._served = served
        self._earlier_log = ""
        self.url = url
        self.workers = 2 if "gunicorn" in name else 1
        """The number of workers at a time."""

    def wait_until_ready(self) -> None:
        """Wait until the first worker has joined."""
        if "gunicorn" in self._name:
            eventually(lambda: self._served.get("/ready")["joined"], STARTS_WITHIN)
        else:
            eventually(lambda: "1 worker ready\n" in self._served.log, STARTS_WITHIN)

    @property
    def log(self) -> str:
        """The output of the server."""
        return self._earlier_log + self._served.log

    def deploy(self, crowd: BrowserCrowd) -> None:
        """Replace all workers once. Wait until the old ones have ended and new ones answer the browsers."""
        eventually(lambda: self._all_running(crowd), STARTS_WITHIN)
        known = crowd.pids()
        if "started" in self._name:
            self._earlier_log += self._served.log
            self._served.restart()
            self.wait_until_ready()
        elif "HUP" in self._name:
            self._served.process.send_signal(signal.SIGHUP)

        def replaced() -> bool:
            if "max-requests" in self._name:
                self._served.get("/ready")
            running = self._all_running(crowd)
            return running is not None and not running & known

        eventually(replaced, REPLACED_WITHIN)

    def replaced(self, crowd: BrowserCrowd) -> int:
        """Return how many of the workers that have answered the browsers have been replaced since."""
        return len(crowd.pids()) - self.workers

    def _all_running(self, crowd: BrowserCrowd) -> set[int] | None:
        """Return the workers that have answered and run, if these are as many as there should be."""
        running = {pid for pid in crowd.pids() if _is_running(pid)}
        return running if len(running) == self.workers else None


def _is_running(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 0)
        return True
    return False
