"""Servers with the app's own router: which processes join and when, restarts, and its end.

The router is started by the first process that serves. Each serving process joins once, and no other does.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.client.client import Client
from flask_wamp.router.procedures import STATUS
from flask_wamp.router.process.place import place_at
from flask_wamp.router.process.spawn import listens
from tests.conftest import eventually
from tests.support.browser import Browser, Refused
from tests.support.served import APPS, PACKAGE, STARTS_WITHIN, Served

pytestmark = pytest.mark.slow

MakeApp = t.Callable[..., Flask]
Start = t.Callable[..., Served]

FLASK_RUN = ["flask", "--app", "shop", "run", "--port", "{port}"]
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "--workers", "2"]
WORKER = ["flask", "--app", "shop", "wamp", "worker"]
KINDS = {
    "sync": [],
    "gthread": ["--worker-class", "gthread", "--threads", "2"],
    "gevent": ["--worker-class", "gevent"],
}
SERVERS: dict[str, tuple[int, list[str]]] = {
    "flask run": (1, FLASK_RUN),
    "flask run --debug": (1, [*FLASK_RUN, "--debug"]),
    "app.run()": (1, ["shop", "{port}"]),
    "app.run(debug=True)": (1, ["shop", "{port}", "debug"]),
    "waitress": (1, ["waitress", "--listen", "127.0.0.1:{port}", "shop:app"]),
    "wamp worker": (1, WORKER),
    "wamp worker --workers": (2, [*WORKER, "--workers", "2"]),
    "wamp worker --gevent": (1, [*WORKER, "--gevent"]),
    **{
        f"gunicorn {kind}{' --preload' if preload else ''}": (
            2,
            [*GUNICORN, *options, *(["--preload"] if preload else []), "shop:app"],
        )
        for kind, options in KINDS.items()
        for preload in (False, True)
    },
}
UWSGI = {
    "prefork": (2, ["--master", "--processes", "2"]),
    "lazy-apps": (2, ["--master", "--lazy-apps", "--processes", "2"]),
    "no master": (1, []),
}


@pytest.fixture
def start(socket: Path, tmp_path: Path) -> Start:
    """Start a server of ``apps/shop.py``."""

    def start(*command: str, **environ: str) -> Served:
        return Served(command, f"embedded:{socket}", tmp_path / "server.log", **environ)

    return start


class Watcher:
    """A client at the router, which it does not start."""

    def __init__(self, make_app: MakeApp, socket: Path) -> None:
        self.place = place_at(str(socket))
        self._make_app = make_app
        self._url = f"embedded:{socket}"

    def join(self) -> Client:
        """Wait until there is a router, and join it."""
        eventually(lambda: listens(self.place), STARTS_WITHIN)
        wamp = FlaskWAMP(self._make_app(WAMP_ROUTER_URL=self._url, WAMP_AUTOSTART=False))
        wamp.start()
        wamp.client.wait_until_joined(20)
        self.client = wamp.client
        return wamp.client

    def sessions(self) -> int:
        """Return the number of other sessions."""
        return int(self.client.call(STATUS)["sessions"]) - 1

    def pids(self) -> set[int]:
        """Return the processes that answer now."""
        with contextlib.suppress(ApplicationError):
            return {self.client.call("com.shop.who")["pid"] for _ in range(10)}
        return set()

    def wait_for(self, count: int, without: t.Collection[int] = ()) -> set[int]:
        """Wait until this many processes serve, with one session each."""

        def serve() -> set[int] | None:
            found = self.pids()
            is_done = len(found) == count == self.sessions() and not found & {*without}
            return found if is_done else None

        return t.cast("set[int]", eventually(serve, STARTS_WITHIN))


@pytest.fixture
def watcher(make_app: MakeApp, socket: Path) -> Watcher:
    return Watcher(make_app, socket)


def assert_ends(server: Served, watcher: Watcher) -> None:
    """The processes leave the router when they get a signal to end."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(20)
    eventually(lambda: watcher.sessions() == 0, STARTS_WITHIN)
    assert "Traceback" not in server.log


@pytest.mark.parametrize("kind", SERVERS)
def test_each_serving_process_joins_before_any_request(
    start: Start, watcher: Watcher, kind: str
) -> None:
    count, command = SERVERS[kind]
    with start(*command) as server:
        watcher.join()
        pids = watcher.wait_for(count)
        parent_serves = kind in ("flask run", "app.run()", "waitress")
        if count > 1 or "debug" in kind:  # the arbiter and the reloader only start the others
            assert server.process.pid not in pids
        elif parent_serves:
            assert pids == {server.process.pid}
        assert_ends(server, watcher)


@pytest.mark.parametrize("kind", UWSGI)
def test_uwsgi(start: Start, watcher: Watcher, kind: str) -> None:
    program = Path(sys.executable).with_name("uwsgi")
    found = str(program) if program.exists() else shutil.which("uwsgi")
    if found is None:
        pytest.skip("uwsgi is not installed")
    count, options = UWSGI[kind]
    command = [found, "--http-socket", "127.0.0.1:{port}", "--module", "shop:app", "--die-on-term"]
    with start(*command, *options, "--enable-threads") as server:
        watcher.join()
        pids = watcher.wait_for(count)
        assert (server.process.pid in pids) is (kind == "no master")
        assert_ends(server, watcher)


@pytest.mark.parametrize("kind", ["pywsgi", "run_simple"])
def test_an_unrecognized_server_joins_at_the_first_request(
    start: Start, watcher: Watcher, kind: str
) -> None:
    if kind == "pywsgi":
        pytest.importorskip("gevent")
    with start("embedded", kind, "{port}") as server:
        assert server.get("/health/") == "well"
        assert not listens(watcher.place)
        assert server.get("/add/1/2") == {"sum": 3}
        watcher.join()
        watcher.wait_for(1)


@pytest.mark.parametrize(
    "command",
    [["-m", "flask", "--app", "shop", "routes"], ["-c", "import shop"]],
    ids=["another command", "an import"],
)
def test_commands_that_serve_nothing_start_no_router(
    socket: Path, watcher: Watcher, command: list[str]
) -> None:
    environ = {**os.environ, "PYTHONPATH": str(PACKAGE), "SHOP_ROUTER_URL": f"embedded:{socket}"}
    subprocess.run([sys.executable, *command], cwd=APPS, env=environ, check=True, timeout=60)
    assert not listens(watcher.place)
    assert not socket.exists()


@pytest.mark.parametrize(
    "kind", [*(each for each in SERVERS if "gunicorn" in each), "wamp worker --workers"]
)
def test_a_hup_replaces_all_workers_and_disconnects_no_browser(
    start: Start, watcher: Watcher, kind: str
) -> None:
    count, command = SERVERS[kind]
    with start(*command) as server, contextlib.ExitStack() as stack:
        watcher.join()
        before = watcher.wait_for(count)
        browser = None
        if "gunicorn" in kind:
            browser = stack.enter_context(Browser(f"ws://127.0.0.1:{server.port}/wamp"))
            with pytest.raises(Refused, match="not_authorized"):
                browser.call("com.shop.who")
        for _ in range(2):
            server.process.send_signal(signal.SIGHUP)

            def replaced(before: set[int] = before) -> set[int] | None:
                found = watcher.pids()
                sessions = watcher.sessions() - (browser is not None)
                is_done = len(found) == count == sessions and not found & before
                return found if is_done else None

            before = eventually(replaced, STARTS_WITHIN)
        if browser is not None:
            with pytest.raises(Refused, match="not_authorized"):  # by the same session
                browser.call("com.shop.who")


def test_the_reloader_restarts_only_the_app(start: Start, watcher: Watcher, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    shutil.copy(APPS / "shop.py", home)
    command = ["flask", "--app", str(home / "shop.py"), "run", "--debug", "--port", "{port}"]
    with start(*command) as server:
        watcher.join()
        before = watcher.wait_for(1)
        router = watcher.client.call(STATUS)["pid"]
        with Browser(f"ws://127.0.0.1:{server.port}/wamp") as browser:
            with (home / "shop.py").open("a") as source:
                source.write("\n# changed\n")

            def replaced() -> bool:
                found = watcher.pids()
                return len(found) == 1 and not found & before and watcher.sessions() == 2

            eventually(replaced, STARTS_WITHIN)
            with pytest.raises(Refused, match="not_authorized"):
                browser.call("com.shop.who")
        assert watcher.client.call(STATUS)["pid"] == router
