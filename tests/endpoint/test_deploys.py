"""A deploy cuts no WebSocket and fails no call: a thousand browsers are joined and call meanwhile."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from tests.support.browser_crowd import BrowserCrowd, many_open_files
from tests.support.deploys import serve

pytestmark = pytest.mark.slow

BROWSERS = 1000

PAUSE = 2.0
"""Seconds between two calls of a browser: at 500 calls per second, new workers have time to start."""

DEPLOYS = {
    "gunicorn sync, HUP": 5,
    "gunicorn gthread, HUP": 5,
    "gunicorn gevent, HUP": 5,
    "gunicorn gthread, HUP, no linger": 2,
    "gunicorn gthread, max-requests": 3,  # while they join, workers are replaced five times more
    "wamp worker, HUP": 5,
    "wamp worker, stopped and started": 1,
}


@pytest.fixture(autouse=True)
def open_files() -> t.Iterator[None]:
    """Allow a socket for each browser. Where the system does not, skip; ``.ci/run`` then fails."""
    try:
        with many_open_files(BROWSERS):
            yield
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize("name", DEPLOYS)
def test_no_browser_is_lost_and_no_call_fails(
    socket: Path, join: t.Callable[[str], object], tmp_path: Path, name: str
) -> None:
    if "gunicorn" in name:
        pytest.importorskip("gunicorn")
    if "gevent" in name:
        pytest.importorskip("gevent")
    with serve(name, socket, tmp_path / "server.log") as server:
        # This process stays at the router. Alone, the router ends after 10 s, and on a busy machine workers
        # that were stopped may be away for longer.
        join(f"embedded:{socket}")
        with BrowserCrowd(server.url, BROWSERS, pause=PAUSE) as crowd:
            for _ in range(DEPLOYS[name]):
                server.deploy(crowd)
        print(f"{name}: {crowd}")
        assert (crowd.joined, crowd.lost, crowd.failed) == (BROWSERS, 0, 0), str(crowd)
        assert crowd.calls >= BROWSERS
        expected = server.workers * DEPLOYS[name]
        if "max-requests" in name:  # one may have used up its requests twice before the other
            assert server.replaced(crowd) >= expected
        else:
            assert server.replaced(crowd) == expected
        assert "Traceback" not in server.log
