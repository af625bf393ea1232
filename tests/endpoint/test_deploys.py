"""A deploy cuts no WebSocket and fails no call: a thousand browsers are joined and call meanwhile."""

from __future__ import annotations

import collections
import json
import typing as t
from pathlib import Path

import pytest

from flask_wamp.crossbar import free_port
from flask_wamp.router.settings import RouterSettings
from tests.conftest import eventually
from tests.support.browser import Browser
from tests.support.browser_crowd import BrowserCrowd, many_open_files
from tests.support.deploys import deployed
from tests.support.served import STARTS_WITHIN

from .conftest import Serve

pytestmark = pytest.mark.slow

Join = t.Callable[[str], object]

BROWSERS = 1000

DEPLOYS = {
    "gunicorn sync, HUP": 5,
    "gunicorn gthread, HUP": 5,
    "gunicorn gevent, HUP": 5,
    "gunicorn gthread, HUP, no linger": 2,
    "gunicorn gthread, max-requests": 3,  # while they join, workers are replaced five times more
    "wamp worker, HUP": 5,
}


@pytest.fixture
def open_files() -> t.Iterator[None]:
    """Allow a socket for each browser. Where the system does not, skip; ``.ci/run`` then fails."""
    try:
        with many_open_files(BROWSERS):
            yield
    except OSError as error:
        pytest.skip(str(error))


@pytest.mark.usefixtures("open_files")
@pytest.mark.parametrize("name", DEPLOYS)
def test_no_browser_is_lost_and_no_call_fails(
    socket: Path, join: Join, tmp_path: Path, name: str
) -> None:
    if "gunicorn" in name:
        pytest.importorskip("gunicorn")
    if "gevent" in name:
        pytest.importorskip("gevent")
    with deployed(name, socket, tmp_path / "server.log") as server:
        # This process stays at the router. Alone, the router ends after 10 s, and on a busy machine workers
        # that were stopped may be away for longer.
        join(f"embedded:{socket}")
        with BrowserCrowd(server.url, BROWSERS, pause=1.0) as crowd:
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


def test_calls_wait_for_a_worker_in_limited_number_and_for_a_limited_time(
    serve: Serve, socket: Path, join: Join
) -> None:
    url = f"ws://127.0.0.1:{free_port()}/ws"
    environ = {
        "FLASK_WAMP_ROUTER_LISTEN": json.dumps([url]),
        "FLASK_WAMP_CALL_TIMEOUT": "6",
        "FLASK_WAMP_LINGER": "0",
    }
    command = ["flask", "--app", "browsed", "wamp", "worker"]
    with serve(*command, **environ) as server:
        eventually(lambda: "1 worker ready\n" in server.log, STARTS_WITHIN)
        join(f"embedded:{socket}")  # the router stays
        browser = Browser(url)
    limit, too_many = RouterSettings().max_lingering_calls, 5
    with browser:
        for number in range(limit + too_many):
            options = {"timeout": 2000} if number == 0 else {}
            browser.send([48, browser.next_id(), options, "com.shop.who"])
        uris = collections.Counter(browser.receive()[4] for _ in range(limit + too_many))
    assert uris == {
        "wamp.error.unavailable": too_many,
        "wamp.error.timeout": 1,
        "wamp.error.no_such_procedure": limit - 1,
    }
