"""``flask wamp worker``, as real processes."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from flask_wamp.crossbar import free_port
from tests.conftest import eventually
from tests.support.peers import AutobahnPeer, RemoteError
from tests.support.served import STARTS_WITHIN, Serve, Served

pytestmark = [pytest.mark.router, pytest.mark.slow]

WORKER = ["flask", "--app", "shop", "wamp", "worker"]


def callees(peer: AutobahnPeer, procedure: str = "com.shop.who") -> int:
    """Return how many sessions have registered the procedure."""
    registration = peer.call("wamp.registration.lookup", procedure).value
    if registration is None:
        return 0
    try:
        return int(peer.call("wamp.registration.count_callees", registration).value)
    except RemoteError:  # unregistered in between
        return 0


def wait_for_line(server: Served, line: str, count: int = 1) -> None:
    """Wait until it has printed a line this many times."""
    eventually(lambda: server.log.count(line) >= count or server.process.poll() is not None, 30)
    assert server.log.count(line) >= count, server.log


def test_the_worker_prints_that_it_is_ready_and_serves(serve: Serve, peer: AutobahnPeer) -> None:
    with serve(*WORKER) as server:
        wait_for_line(server, "1 worker ready\n")
        assert callees(peer) == 1
        who = peer.call("com.shop.who").value
        assert who["pid"] != server.process.pid
        assert not who["patched"]
        assert peer.call("com.shop.relay", 3).value == {"sum": 4}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert server.log == "1 worker ready\n"
        assert callees(peer) == 0


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_the_worker_drains(serve: Serve, peer: AutobahnPeer, signum: signal.Signals) -> None:
    napping = peer.subscribe("com.shop.napping")
    with serve(*WORKER) as server:
        server.workers(peer)
        nap = peer.submit("com.shop.nap", 0.5)
        napping.next()
        server.process.send_signal(signum)
        assert nap.wait().value == 0.5
        assert server.process.wait(20) == 0
        assert callees(peer) == 0
        assert "Traceback" not in server.log


def test_a_worker_that_dies_is_replaced(serve: Serve, peer: AutobahnPeer) -> None:
    with serve(*WORKER, "--workers", "2") as server:
        wait_for_line(server, "2 workers ready\n")
        old = {who["pid"] for who in server.workers(peer, 2)}
        victim = old.pop()
        os.kill(victim, signal.SIGKILL)
        wait_for_line(server, f"worker {victim} died with exit code -9, starting another in")
        eventually(lambda: callees(peer) == 2, STARTS_WITHIN)
        new = {who["pid"] for who in server.workers(peer, 2)}
        assert victim not in new
        assert old < new


def test_sighup_restarts_them_one_by_one(serve: Serve, peer: AutobahnPeer) -> None:
    with serve(*WORKER, "--workers", "2") as server:
        old = {who["pid"] for who in server.workers(peer, 2)}
        wait_for_line(server, "2 workers ready\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for_line(server, "2 workers restarted\n")
        new = {who["pid"] for who in server.workers(peer, 2)}
        assert not old & new
        assert callees(peer) == 2


def test_a_restart_that_fails_leaves_the_old_ones(
    serve: Serve, peer: AutobahnPeer, tmp_path: Path
) -> None:
    extra = tmp_path / "extra.py"
    extra.write_text("from shop import app\n")
    command = ["flask", "--app", str(extra), "wamp", "worker"]
    with serve(*command) as server:
        wait_for_line(server, "1 worker ready\n")
        extra.write_text("from shop import no_such_app\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for_line(server, "the new worker did not become ready, so the old ones stay\n")
        assert callees(peer) == 1
        assert peer.call("com.shop.relay", 3).value == {"sum": 4}
        extra.write_text("from shop import app\n")
        server.process.send_signal(signal.SIGHUP)
        wait_for_line(server, "1 worker restarted\n")
        assert callees(peer) == 1


def test_workers_are_patched_before_other_imports(serve: Serve, peer: AutobahnPeer) -> None:
    pytest.importorskip("gevent")
    with serve(*WORKER, "--gevent") as server:
        (who,) = server.workers(peer)
        assert who["patched"]
        assert who["native_thread"] == who["pid"]
        assert peer.call("com.shop.relay", 3).value == {"sum": 4}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log


def test_the_worker_serves_http_too(serve: Serve, peer: AutobahnPeer) -> None:
    pytest.importorskip("gevent")
    with serve(*WORKER, "--gevent", "--http", ":{port}", "--workers", "2") as server:
        pids = {who["pid"] for who in server.workers(peer, 2)}
        assert server.get("/who")["pid"] in pids
        assert server.get("/relay/3") == {"sum": 4}
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
        assert "Traceback" not in server.log


def test_the_worker_restarts_when_a_file_changes(
    serve: Serve, peer: AutobahnPeer, tmp_path: Path
) -> None:
    extra = tmp_path / "extra.py"
    extra.write_text("from shop import app, wamp\n@wamp.callee\ndef version():\n    return 1\n")
    command = ["flask", "--app", str(extra), "wamp", "worker", "--reload"]
    with serve(*command) as server:
        wait_for_line(server, "1 worker ready\n")
        assert peer.call("com.shop.version").value == 1
        extra.write_text(extra.read_text().replace("return 1", "return 2"))
        os.utime(extra, (2e9, 2e9))

        def is_new() -> bool:
            try:
                return bool(peer.call("com.shop.version").value == 2)
            except RemoteError:
                return False

        eventually(is_new, STARTS_WITHIN)
        assert "extra.py has changed" in server.log


def test_no_process_is_left_when_the_worker_is_killed(serve: Serve, peer: AutobahnPeer) -> None:
    with serve(*WORKER, "--workers", "2") as server:
        workers = server.workers(peer, 2)
        server.process.kill()
        server.process.wait()
        eventually(lambda: callees(peer) == 0, 10)
        eventually(lambda: not any(is_alive(who["pid"]) for who in workers), 10)


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            ["--http", ":5000"],
            "Error: --http requires --gevent, because it uses gevent's HTTP server",
        ),
        (["--gevent", "--http", "here"], "Error: cannot listen on here: give [HOST]:PORT"),
        (["--gevent", "--http", ":70000"], "Error: cannot listen on :70000: give [HOST]:PORT"),
        (["--gevent", "--http", "192.0.2.1:80"], "Error: cannot listen on 192.0.2.1:80: "),
        (["--workers", "0"], "Error: Invalid value for '--workers': 0 is not in the range x>=1."),
    ],
)
def test_a_mistake_is_a_one_line_error(serve: Serve, options: list[str], line: str) -> None:
    with serve(*WORKER, *options) as server:
        assert server.process.wait(30) != 0
        assert line in server.log
        assert "Traceback" not in server.log


def test_a_port_in_use_is_a_one_line_error(serve: Serve) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f":{taken.getsockname()[1]}"
        with serve(*WORKER, "--gevent", "--http", address) as server:
            assert server.process.wait(30) == 1
            assert server.log.startswith(f"Error: cannot listen on {address}: ")
            assert len(server.log.splitlines()) == 1


def test_an_app_without_the_extension_is_a_one_line_error(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text("from flask import Flask\napp = Flask(__name__)\n")
    with serve("flask", "--app", str(tmp_path / "bare.py"), "wamp", "worker") as server:
        assert server.process.wait(30) == 1
        assert server.log == "Error: this app has no FlaskWAMP. Create one: wamp = FlaskWAMP(app)\n"


def test_an_app_that_cannot_be_imported_is_not_restarted(serve: Serve) -> None:
    with serve("flask", "--app", "no_such_module", "wamp", "worker") as server:
        assert server.process.wait(30) == 1
        assert "Could not import 'no_such_module'." in server.log
        assert "Traceback" not in server.log


def test_the_worker_waits_for_a_router_that_starts_later(serve: Serve) -> None:
    nobody = f"tcp://127.0.0.1:{free_port()}"
    with serve(*WORKER, SHOP_ROUTER_URL=nobody) as server:
        wait_for_line(server, "not joined to realm realm1 at")
        assert "ready" not in server.log
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(20) == 0
