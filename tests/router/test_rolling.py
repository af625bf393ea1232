"""A rolling restart fails no call: three workers, twenty callers that do not stop calling."""

from __future__ import annotations

import signal
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from tests.support.rolling import Callers, restart, serve, use_up, wait_until_served

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = [pytest.mark.router, pytest.mark.slow]

RESTARTS = 2


@pytest.mark.parametrize(
    "server",
    [
        "gunicorn gthread",
        "gunicorn gthread, preload",
        "gunicorn gevent",
        "gunicorn max-requests",
        "wamp worker",
    ],
)
def test_no_call_fails(
    joined: tuple[Flask, FlaskWAMP], wamp_router: DevRouter, tmp_path: Path, server: str
) -> None:
    if "gunicorn" in server:
        pytest.importorskip("gunicorn")
    if "gevent" in server:
        pytest.importorskip("gevent")
    client = joined[1].client
    with serve(server, wamp_router.rawsocket_url, tmp_path / "log") as served:
        wait_until_served(client)
        with Callers(client) as callers:
            for _ in range(RESTARTS):
                if "max-requests" in server:
                    use_up(served, client)
                else:
                    restart(served, client, signal.SIGHUP)
        print(f"{server}: {callers}")
        assert all(callers.calls[procedure] > 20 for procedure in callers.calls)
        assert not callers.failures, callers
        assert "Traceback" not in served.log


def test_the_last_worker_stays_for_new_ones_that_start_slowly(
    joined: tuple[Flask, FlaskWAMP], wamp_router: DevRouter, tmp_path: Path
) -> None:
    """gunicorn stops the old workers at once, which know that there are new ones."""
    pytest.importorskip("gunicorn")
    client = joined[1].client
    url = wamp_router.rawsocket_url
    # On a busy machine too, they have started within 20 s.
    config = {"ROLL_STARTS_IN": "3.5", "FLASK_WAMP_LINGER": "20"}
    with serve("gunicorn gthread", url, tmp_path / "log", **config) as served:
        wait_until_served(client)
        with Callers(client, 2) as callers:
            restart(served, client, signal.SIGHUP)
        assert not callers.failures, callers
