"""Celery's workers: tasks call and publish, workers serve no calls, and all of them send GOODBYE."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from flask_wamp.crossbar import DevRouter
from tests.conftest import eventually
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.served import APPS, PACKAGE, STARTS_WITHIN, Served

pytestmark = [pytest.mark.router, pytest.mark.slow]

POOLS = {
    "prefork": (["--concurrency", "2"], 2),
    "prefork, one task each": (["--concurrency", "1", "--max-tasks-per-child", "1"], 2),
    "threads": (["--pool", "threads", "--concurrency", "2"], 1),
    "gevent": (["--pool", "gevent"], 1),
}


def run_task(folder: Path, url: str, number: int) -> None:
    """Let a worker run a task, as a script would."""
    environ = {"SHOP_ROUTER_URL": url, "REPORTS_FOLDER": str(folder), "PYTHONPATH": str(PACKAGE)}
    command = ["celery", "-A", "reports:celery", "call", "reports.report", "--args", f"[{number}]"]
    subprocess.run(
        [sys.executable, "-m", *command],
        cwd=APPS,
        env={**os.environ, **environ},
        stdout=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )


@pytest.mark.parametrize("pool", POOLS)
def test_celery(wamp_router: DevRouter, peer: AutobahnPeer, tmp_path: Path, pool: str) -> None:
    pytest.importorskip("celery")
    options, most = POOLS[pool]
    (tmp_path / "queue").mkdir()
    joins, leaves = (peer.subscribe(f"wamp.session.on_{what}") for what in ("join", "leave"))
    seen, reported = peer.register("com.example.seen"), peer.subscribe("com.reports.reported")
    url = wamp_router.rawsocket_url
    command = ["celery", "-A", "reports:celery", "worker", "--loglevel", "INFO", *options]
    with Served(command, url, tmp_path / "log", REPORTS_FOLDER=str(tmp_path)) as worker:
        eventually(lambda: " ready." in worker.log or worker.process.poll(), STARTS_WITHIN)
        peer.call("wamp.session.count")  # earlier messages of the router have arrived by now
        assert joins.is_quiet(), worker.log
        for number in (1, 2):
            run_task(tmp_path, url, number)
            assert reported.next().args == [number]
            assert seen.next().args == [number]
        assert peer.error("com.reports.served").uri == "wamp.error.no_such_procedure"
        sessions = {joins.next().value["session"]}
        while not joins.is_quiet():
            sessions.add(joins.next().value["session"])
        assert len(sessions) <= most
        worker.process.send_signal(signal.SIGTERM)
        gone: set[t.Any] = set()
        while gone != sessions:
            gone.add(leaves.next().args[0])
        assert worker.process.wait(PATIENCE) == 0, worker.log
    assert "Traceback" not in worker.log, worker.log
