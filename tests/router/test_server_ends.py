"""The output of a server's start, failed starts, and what does not shorten the drain at the end."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
import typing as t
import urllib.error
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.support.peers import AutobahnPeer
from tests.support.scripts import ROOT, environment
from tests.support.served import Serve

if t.TYPE_CHECKING:
    from flask_wamp.testing import MakeRouter

pytestmark = [pytest.mark.router, pytest.mark.slow]

FLASK_RUN = ["flask", "--app", "shop", "run", "--port", "{port}"]
GUNICORN = ["gunicorn", "--bind", "127.0.0.1:{port}", "shop:app"]
WAITRESS = ["waitress", "--listen", "127.0.0.1:{port}", "shop:app"]


# The output.


@pytest.mark.parametrize(
    "command", [FLASK_RUN, [*FLASK_RUN, "--debug"], ["shop", "{port}"]], ids=["run", "debug", "app"]
)
def test_a_server_logs_that_it_has_joined(
    serve: Serve, peer: AutobahnPeer, command: list[str]
) -> None:
    with serve(*command) as server:
        server.workers(peer)
        line = " * WAMP: joined realm realm1 with 4 procedures and 0 topics, at tcp://127.0.0.1:"
        eventually(lambda: server.log.count(line) == 1)


def test_a_server_logs_that_it_has_joined_again(
    serve: Serve, make_wamp_router: MakeRouter, tmp_path: Path
) -> None:
    router = make_wamp_router()
    with serve(*FLASK_RUN, SHOP_ROUTER_URL=router.rawsocket_url) as server:
        eventually(lambda: " * WAMP: joined realm" in server.log)
        router.restart()
        eventually(lambda: " again with 4 procedures and 0 topics, at " in server.log)
        assert " is lost, " in server.log
    router.stop()


def test_gunicorn_does_not_print_the_join(serve: Serve, peer: AutobahnPeer) -> None:
    with serve(*GUNICORN) as server:  # without a developer's terminal
        server.workers(peer)
        assert "* WAMP" not in server.log


# A start that fails.


@pytest.mark.parametrize("command", [FLASK_RUN, WAITRESS, ["shop", "{port}"]])
def test_a_server_whose_start_fails_ends(serve: Serve, command: list[str]) -> None:
    if command is WAITRESS:
        pytest.importorskip("waitress")
    with serve(*command, SHOP_IS_BROKEN="1") as server:
        assert server.process.wait(20) == 1
        assert "com.shop.same (match='exact') is declared twice" in server.log


def test_gunicorn_whose_start_fails_ends(serve: Serve) -> None:
    pytest.importorskip("gunicorn")
    with serve(*GUNICORN, SHOP_IS_BROKEN="1") as server:
        assert server.process.wait(20) == 3  # WORKER_BOOT_ERROR
        assert "com.shop.same (match='exact') is declared twice" in server.log


def test_uwsgi_whose_start_fails_refuses_requests(serve: Serve) -> None:
    program = Path(sys.executable).with_name("uwsgi")
    found = str(program) if program.exists() else shutil.which("uwsgi")
    if found is None:
        pytest.skip("uwsgi is not installed")
    options = ["--home", sys.prefix, "--python-path", ".", "--die-on-term", "--master"]
    command = [found, "--http-socket", "127.0.0.1:{port}", *options, "--module", "shop:app"]
    with serve(*command, SHOP_IS_BROKEN="1") as server:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="500") as refused:
                server.get("/add/1/2")
            refused.value.close()
        assert "declared twice" in server.log
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)


def test_the_reloader_waits_for_a_better_start(serve: Serve) -> None:
    """As if the app could not be imported: every request shows the error."""
    with serve(*FLASK_RUN, "--debug", SHOP_IS_BROKEN="1") as server:
        for _ in range(2):
            with pytest.raises(urllib.error.HTTPError, match="500") as refused:
                server.get("/add/1/2")
            assert b"declared twice" in refused.value.read()
            refused.value.close()
        assert server.process.poll() is None


def test_the_reloader_does_not_start_an_app_that_is_half_loaded(
    serve: Serve, peer: AutobahnPeer
) -> None:
    with serve(*FLASK_RUN, "--debug", SHOP_RAISES="1") as server:
        with pytest.raises(urllib.error.HTTPError, match="500") as refused:
            server.get("/add/1/2")
        assert b"half loaded" in refused.value.read()
        refused.value.close()
        time.sleep(0.5)
        assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"
        assert "joined" not in server.log


# A second signal.

SECOND = {
    "flask run": (FLASK_RUN, signal.SIGTERM, signal.SIGTERM),
    "flask run, Ctrl-C": (FLASK_RUN, signal.SIGINT, signal.SIGINT),
    "flask run, Ctrl-C then SIGTERM": (FLASK_RUN, signal.SIGINT, signal.SIGTERM),
    "waitress": (WAITRESS, signal.SIGTERM, signal.SIGTERM),
    "waitress, Ctrl-C": (WAITRESS, signal.SIGINT, signal.SIGINT),
    "script": (["shop", "{port}"], signal.SIGTERM, signal.SIGINT),
    "gunicorn": (GUNICORN, signal.SIGTERM, signal.SIGTERM),
}


@pytest.mark.parametrize("kind", SECOND)
def test_a_second_signal_does_not_end_the_drain(
    serve: Serve, peer: AutobahnPeer, kind: str
) -> None:
    command, first, second = SECOND[kind]
    if command is WAITRESS:
        pytest.importorskip("waitress")
    if command is GUNICORN:
        pytest.importorskip("gunicorn")
    napping = peer.subscribe("com.shop.napping")
    gone = peer.subscribe("wamp.registration.on_unregister")
    with serve(*command) as server:
        server.workers(peer)
        nap = peer.submit("com.shop.nap", 1.0)
        napping.next()
        server.process.send_signal(first)
        gone.next()  # it drains
        if command is FLASK_RUN or command[0] == "shop":  # the terminal shows the reason
            eventually(lambda: " * WAMP: waiting for 1 call to end, for at most " in server.log)
        server.process.send_signal(second)
        server.process.send_signal(second)
        assert nap.wait().value == 1.0
        server.process.wait(20)
        assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"


# Children of multiprocessing, which skip atexit.

CHILD = """
import multiprocessing, sys, threading
from flask import Flask, g
from flask_wamp import FlaskWAMP

def serve(url, prefix, ended):
    app = Flask("child")
    app.config.update(WAMP_ROUTER_URL=url, WAMP_URI_PREFIX=prefix)
    wamp = FlaskWAMP(app)

    @wamp.callee
    def nap() -> str:
        ended.set()
        threading.Event().wait(1.0)
        return "rested"

    wamp.start()
    wamp.client.wait_until_joined(10)
    print("joined", flush=True)
    ended.wait(30)  # then the child's target returns, with a call in flight

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[3])
    ended = context.Event()
    child = context.Process(target=serve, args=[*sys.argv[1:3], ended])
    child.start()
    child.join()
    sys.exit(child.exitcode)
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_drains(
    wamp_router: t.Any, peer: AutobahnPeer, tmp_path: Path, method: str
) -> None:
    (tmp_path / "parent.py").write_text(CHILD)
    prefix = f"com.child_{method}"
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "parent.py", wamp_router.rawsocket_url, prefix, method],
        cwd=tmp_path,
        env=environment(PYTHONPATH=str(ROOT)),
        stdout=subprocess.PIPE,
    )
    with contextlib.closing(t.cast("t.IO[bytes]", process.stdout)) as output:
        assert output.readline() == b"joined\n"
        assert peer.call(f"{prefix}.nap").value == "rested"
        assert process.wait(20) == 0
    assert peer.error(f"{prefix}.nap").uri == "wamp.error.no_such_procedure"
