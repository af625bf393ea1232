"""Real servers: they join by themselves, before any HTTP request, and serve WAMP and HTTP."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.support.peers import AutobahnPeer
from tests.support.served import APPS, PACKAGE, Serve, Served

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = [pytest.mark.router, pytest.mark.slow]


def assert_serves(server: Served, peer: AutobahnPeer) -> None:
    """Check calls over WAMP and HTTP, and from each to the other."""
    said = peer.subscribe("com.shop.said")
    assert peer.call("com.shop.add", 1, 2).value == {"sum": 3}
    assert peer.call("com.shop.relay", 3).value == {"sum": 4}
    assert server.get("/add/1/2") == {"sum": 3}
    assert server.get("/relay/3") == {"sum": 4}
    assert server.get("/say/hello", "POST") == "said"
    assert said.next().value == "hello"


def assert_ends(server: Served, peer: AutobahnPeer) -> None:
    """Check that it ends on a signal, and unregisters its procedures."""
    server.process.send_signal(signal.SIGTERM)
    server.process.wait(10)
    assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"
    assert "Traceback" not in server.log


def test_flask_run(serve: Serve, peer: AutobahnPeer) -> None:
    with serve("flask", "--app", "shop", "run", "--port", "{port}") as server:
        (who,) = server.workers(peer)
        assert who["pid"] == server.process.pid
        assert_serves(server, peer)
        assert_ends(server, peer)


def test_flask_run_with_the_reloader_joins_once(serve: Serve, peer: AutobahnPeer) -> None:
    with serve("flask", "--app", "shop", "run", "--debug", "--port", "{port}") as server:
        (who,) = server.workers(peer)
        assert who["pid"] != server.process.pid
        assert_serves(server, peer)
        registration = peer.call("wamp.registration.match", "com.shop.add").value
        assert peer.call("wamp.registration.count_callees", registration).value == 1
        assert_ends(server, peer)


def test_flask_run_of_a_factory(serve: Serve, peer: AutobahnPeer) -> None:
    command = ["flask", "--app", "shop:create_app", "run", "--port", "{port}"]
    with serve(*command, SHOP_FACTORY="1") as server:
        server.workers(peer)
        assert_serves(server, peer)


GUNICORN = {
    "sync": ["--workers", "1"],
    "gthread": ["--worker-class", "gthread", "--threads", "4", "--workers", "2"],
    "gevent": ["--worker-class", "gevent", "--workers", "2"],
}


@pytest.mark.parametrize("preload", [False, True], ids=["", "preload"])
@pytest.mark.parametrize("kind", GUNICORN)
def test_gunicorn(serve: Serve, peer: AutobahnPeer, kind: str, preload: bool) -> None:
    pytest.importorskip("gunicorn")
    if kind == "gevent":
        pytest.importorskip("gevent")
    options = [*GUNICORN[kind], *(["--preload"] if preload else [])]
    with serve("gunicorn", "--bind", "127.0.0.1:{port}", *options, "shop:app") as server:
        workers = server.workers(peer, int(options[options.index("--workers") + 1]))
        assert server.process.pid not in {who["pid"] for who in workers}
        assert len({who["session"] for who in workers}) == len(workers)
        for who in workers:
            assert who["patched"] is (kind == "gevent")
            assert (who["native_thread"] == who["pid"]) is (kind == "gevent")
        assert_serves(server, peer)
        assert_ends(server, peer)


def test_gunicorn_with_a_factory(serve: Serve, peer: AutobahnPeer) -> None:
    pytest.importorskip("gunicorn")
    command = ["gunicorn", "--bind", "127.0.0.1:{port}", "shop:create_app()"]
    with serve(*command, SHOP_FACTORY="1") as server:
        server.workers(peer)
        assert_serves(server, peer)


def test_a_script_that_starts_it(serve: Serve, peer: AutobahnPeer) -> None:
    with serve("shop") as server:
        (who,) = server.workers(peer)
        assert who["pid"] == server.process.pid
        assert peer.call("com.shop.relay", 3).value == {"sum": 4}
        assert server.process.stdin is not None
        server.process.stdin.close()
        assert server.process.wait(10) == 0
        assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"


@pytest.mark.parametrize(
    "command",
    [["-m", "flask", "--app", "shop", "routes"], ["-c", "import shop"]],
    ids=["another command", "an import"],
)
def test_commands_that_serve_nothing_do_not_join(
    wamp_router: DevRouter, peer: AutobahnPeer, command: list[str]
) -> None:
    joins = peer.subscribe("wamp.session.on_join")
    environ = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE),
        "SHOP_ROUTER_URL": wamp_router.rawsocket_url,
    }
    subprocess.run([sys.executable, *command], cwd=APPS, env=environ, check=True, timeout=30)
    peer.call("wamp.session.count")  # earlier messages of the router have arrived by now
    assert joins.is_quiet()


def test_gunicorn_with_hooks_in_its_configuration(
    serve: Serve, peer: AutobahnPeer, tmp_path: Path
) -> None:
    pytest.importorskip("gunicorn")
    config = tmp_path / "gunicorn.conf.py"
    config.write_text("from flask_wamp.gunicorn import post_worker_init, worker_exit\n")
    command = ["gunicorn", "--bind", "127.0.0.1:{port}", "-c", str(config), "shop:app"]
    with serve(*command, FLASK_WAMP_AUTOSTART="false") as server:
        (who,) = server.workers(peer)
        assert who["pid"] != server.process.pid
        assert_serves(server, peer)
        assert_ends(server, peer)
