"""Callers that keep calling while servers are restarted."""

from __future__ import annotations

import collections
import contextlib
import threading
import typing as t
from pathlib import Path

from flask_wamp import ApplicationError, WAMPError
from flask_wamp.client.client import Client
from flask_wamp.concurrency.child_processes import kill_process
from tests.conftest import eventually

from .served import STARTS_WITHIN, Served

WORKERS = 3

PROCEDURES = ("com.roll.fast", "com.roll.slow")

_GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", str(WORKERS)]
_WORKER = ["flask", "--app", "roll", "wamp", "worker", "--workers", str(WORKERS)]

SERVERS = {
    "gunicorn sync": [*_GUNICORN, "roll:app"],
    "gunicorn gthread": [*_GUNICORN, "-k", "gthread", "roll:app"],
    "gunicorn gthread, preload": [*_GUNICORN, "-k", "gthread", "--preload", "roll:app"],
    "gunicorn gevent": [*_GUNICORN, "-k", "gevent", "roll:app"],
    "gunicorn gevent, preload": [*_GUNICORN, "-k", "gevent", "--preload", "roll:app"],
    "gunicorn max-requests": [*_GUNICORN, "-k", "gthread", "--max-requests", "5", "roll:app"],
    "wamp worker": _WORKER,
    "wamp worker, gevent": [*_WORKER, "--gevent"],
}
"""Commands for :class:`Served`, of three workers each."""


@contextlib.contextmanager
def serve(server: str, router_url: str, log: Path, **environ: str) -> t.Iterator[Served]:
    """One of :data:`SERVERS`."""
    is_gunicorn = server.startswith("gunicorn")
    if "max-requests" in server:  # longer than a worker takes to start beside busy threads
        environ["FLASK_WAMP_LINGER"] = "8"
    with Served(SERVERS[server], router_url, log, **environ) as served:
        yield served
        if is_gunicorn:  # killed, because its last worker would wait for a successor
            kill_process(served.process)


class Callers:
    """Threads that share one client and call without a pause. Every other thread calls the slow procedure.

    ::

        with Callers(client) as callers: ...
        print(callers)
    """

    def __init__(self, client: Client, count: int = 20) -> None:
        self._client = client
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(PROCEDURES[number % 2],), name="caller")
            for number in range(count)
        ]
        self.calls: collections.Counter[str] = collections.Counter()
        self.failures: collections.Counter[str] = collections.Counter()

    def _call(self, procedure: str) -> None:
        while not self._ended.is_set():
            try:
                self._client.call(procedure)
                failure = None
            except WAMPError as error:
                failure = f"{procedure}: {error}"
            with self._lock:
                self.calls[procedure] += 1
                if failure is not None:
                    self.failures[failure] += 1

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def __str__(self) -> str:
        return f"{sum(self.calls.values())} calls, {sum(self.failures.values())} failed" + "".join(
            f"\n  {count} x {failure}" for failure, count in self.failures.items()
        )


def callees(client: Client) -> set[int]:
    """The sessions that serve both procedures."""
    sessions = [_callees_of(client, procedure) for procedure in PROCEDURES]
    return sessions[0] & sessions[1]


def _callees_of(client: Client, procedure: str) -> set[int]:
    try:
        registration = client.call("wamp.registration.lookup", procedure)
        return set(client.call("wamp.registration.list_callees", registration) or ())
    except ApplicationError:  # there is no callee, or no longer
        return set()


def wait_until_served(client: Client) -> set[int]:
    """Wait until all workers serve. Return their sessions."""
    return eventually(lambda: _if_complete(callees(client)), STARTS_WITHIN)  # type: ignore[no-any-return]


def wait_until_replaced(client: Client, old: set[int]) -> set[int]:
    """Wait until all workers have been replaced. Return the new sessions."""
    return eventually(  # type: ignore[no-any-return]
        lambda: _if_complete(callees(client), old), 2 * STARTS_WITHIN
    )


def _if_complete(now: set[int], old: t.AbstractSet[int] = frozenset()) -> set[int] | None:
    return now if len(now) == WORKERS and not now & old else None


def restart(server: Served, client: Client, signum: int) -> None:
    """Replace all workers, and wait for the new ones."""
    old = wait_until_served(client)
    server.process.send_signal(signum)
    wait_until_replaced(client, old)


def use_up(server: Served, client: Client) -> None:
    """Send HTTP requests until all workers have been replaced."""
    old = wait_until_served(client)

    def replaced() -> set[int] | None:
        server.get("/")
        return None if old & callees(client) else old

    eventually(replaced, 2 * STARTS_WITHIN)
    wait_until_served(client)
