"""Servers other than ``flask run`` and gunicorn: which processes join, when, and the end.

Sessions are counted by the router, before any HTTP request.
"""

from __future__ import annotations

import concurrent.futures
import re
import shutil
import signal
import sys
import typing as t
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.support.peers import AutobahnPeer, Topic
from tests.support.served import Serve, Served

pytestmark = [pytest.mark.router, pytest.mark.slow]

DEPLOYING = Path(__file__).parents[2] / "docs" / "deploying.rst"


@pytest.fixture
def joins(peer: AutobahnPeer) -> Topic:
    """The sessions that join the realm."""
    return peer.subscribe("wamp.session.on_join")


def assert_only_these_join(
    server: Served, peer: AutobahnPeer, joins: Topic, count: int
) -> list[dict[str, t.Any]]:
    """Wait until this many processes serve, and check that no other has joined."""
    workers = server.workers(peer, count)
    sessions = {joins.next().value["session"] for _ in workers}
    assert sessions == {who["session"] for who in workers}
    peer.call("wamp.session.count")  # earlier messages of the router have arrived by now
    assert joins.is_quiet()
    return workers


def assert_drains(server: Served, peer: AutobahnPeer, signum: int = signal.SIGTERM) -> None:
    """Check that a server that gets a signal answers a running call, and unregisters everything."""
    napping = peer.subscribe("com.shop.napping")
    nap = peer.submit("com.shop.nap", 0.5)
    napping.next()
    server.process.send_signal(signum)
    assert nap.wait().value == 0.5
    server.process.wait(20)
    assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"


# uWSGI.


@pytest.fixture
def uwsgi() -> list[str]:
    """The command, for an app without workers yet."""
    program = Path(sys.executable).with_name("uwsgi")
    found = str(program) if program.exists() else shutil.which("uwsgi")
    if found is None:
        pytest.skip("uwsgi is not installed")
    home = ["--home", sys.prefix, "--python-path", "."]
    return [found, "--http-socket", "127.0.0.1:{port}", *home, "--module", "shop:app"]


UWSGI = {
    "prefork": (["--master", "--processes", "2"], 2),
    "lazy-apps": (["--master", "--processes", "2", "--lazy-apps"], 2),
    "threads": (["--master", "--processes", "2", "--threads", "2"], 2),
    "no master": ([], 1),
    "gevent": (["--master", "--processes", "2", "--gevent", "20", "--gevent-monkey-patch"], 2),
    "gevent lazy-apps": (
        [
            *("--master", "--processes", "2", "--lazy-apps"),
            *("--gevent", "20", "--gevent-monkey-patch"),
        ],
        2,
    ),
}


def needs(options: t.Sequence[str]) -> None:
    if "--gevent" in options:
        pytest.importorskip("gevent")


@pytest.mark.parametrize("kind", UWSGI)
def test_uwsgi(serve: Serve, peer: AutobahnPeer, joins: Topic, uwsgi: list[str], kind: str) -> None:
    options, count = UWSGI[kind]
    needs(options)
    with serve(*uwsgi, "--die-on-term", *options) as server:
        workers = assert_only_these_join(server, peer, joins, count)
        if "--master" in options:
            assert server.process.pid not in {who["pid"] for who in workers}
        assert server.get("/relay/3") == {"sum": 4}
        assert server.get("/say/hello", "POST") == "said"
        assert {who["patched"] for who in workers} == {"--gevent" in options}
        assert "Traceback" not in server.log
    eventually(lambda: callees(peer) == 0)  # it may have ended without a GOODBYE


@pytest.mark.parametrize("kind", UWSGI)
def test_uwsgi_drains(serve: Serve, peer: AutobahnPeer, uwsgi: list[str], kind: str) -> None:
    """There is no HTTP request: uWSGI runs no hooks at the end of a worker that still has one."""
    options, count = UWSGI[kind]
    needs(options)
    with serve(*uwsgi, "--die-on-term", *options) as server:
        server.workers(peer, count)
        assert_drains(server, peer)
        assert "Traceback" not in server.log


def documented_option() -> list[str]:
    """The option of docs/deploying.rst that lets requests finish at SIGTERM."""
    found = re.search(r'(--hook-master-start) "([^"]+)"', DEPLOYING.read_text(encoding="utf-8"))
    assert found is not None
    return [*found.groups()]


@pytest.mark.parametrize("kind", [kind for kind in UWSGI if "--master" in UWSGI[kind][0]])
def test_uwsgi_that_lets_requests_finish_drains(
    serve: Serve, peer: AutobahnPeer, uwsgi: list[str], kind: str
) -> None:
    options, count = UWSGI[kind]
    needs(options)
    napping = peer.subscribe("com.shop.napping")
    with (
        serve(*uwsgi, *documented_option(), *options) as server,
        concurrent.futures.ThreadPoolExecutor(1) as threads,
    ):
        server.workers(peer, count)
        request = threads.submit(server.get, "/nap/1.0")
        busy = napping.next().value
        naps = [peer.submit("com.shop.nap", 0.5) for _ in range(count)]
        assert busy in {napping.next().value for _ in naps}
        server.process.send_signal(signal.SIGTERM)
        assert [nap.wait().value for nap in naps] == [0.5] * count
        assert request.result(20) == {"napped": 1.0}
        server.process.wait(20)
        assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"
        assert "Traceback" not in server.log


def test_uwsgi_restarts_its_workers(
    serve: Serve, peer: AutobahnPeer, joins: Topic, uwsgi: list[str]
) -> None:
    with serve(*uwsgi, "--die-on-term", "--master", "--lazy-apps") as server:
        (old,) = assert_only_these_join(server, peer, joins, 1)
        server.process.send_signal(signal.SIGHUP)
        assert joins.next(20).value["session"] != old["session"]
        (new,) = server.workers(peer)
        assert new["pid"] != old["pid"]
        assert_drains(server, peer, signal.SIGINT)


# waitress.


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_waitress_serve(
    serve: Serve, peer: AutobahnPeer, joins: Topic, signum: signal.Signals
) -> None:
    pytest.importorskip("waitress")
    with serve("waitress", "--listen", "127.0.0.1:{port}", "shop:app") as server:
        (who,) = assert_only_these_join(server, peer, joins, 1)
        assert who["pid"] == server.process.pid
        assert server.get("/relay/3") == {"sum": 4}
        assert_drains(server, peer, signum)
        assert "Traceback" not in server.log


# ASGI servers with an adapter, and others whose workers are children of multiprocessing.

ASYNC = {
    "uvicorn": (["--port", "{port}", "shop_asgi:asgi"], 1),
    "uvicorn workers": (["--port", "{port}", "--workers", "2", "shop_asgi:asgi"], 2),
    "hypercorn": (["--bind", "127.0.0.1:{port}", "--workers", "2", "shop_asgi:asgi"], 2),
    "granian": (["--interface", "wsgi", "--port", "{port}", "--workers", "2", "shop:app"], 2),
}


@pytest.mark.parametrize("kind", ASYNC)
def test_servers_with_children_of_multiprocessing(
    serve: Serve, peer: AutobahnPeer, kind: str
) -> None:
    options, count = ASYNC[kind]
    program = kind.split()[0]
    pytest.importorskip(program)
    pytest.importorskip("a2wsgi")
    with serve(program, *options) as server:
        if program != "uvicorn":  # not recognized: each worker serves from its first request on
            eventually(lambda: server.get("/who") and callees(peer) == count)
        workers = server.workers(peer, count)
        assert server.process.pid not in {who["pid"] for who in workers} or count == 1
        napping = peer.subscribe("com.shop.napping")
        naps = [peer.submit("com.shop.nap", 0.5) for _ in range(2)]
        for _ in naps:
            napping.next()
        server.process.send_signal(signal.SIGTERM)
        assert [nap.wait().value for nap in naps] == [0.5, 0.5]
        server.process.wait(20)
    assert callees(peer) == 0


def callees(peer: AutobahnPeer) -> int:
    number = peer.call("wamp.registration.match", "com.shop.who").value
    return int(peer.call("wamp.registration.count_callees", number).value) if number else 0


# Scripts.


def test_app_run(serve: Serve, peer: AutobahnPeer, joins: Topic) -> None:
    with serve("shop", "{port}") as server:
        (who,) = assert_only_these_join(server, peer, joins, 1)
        assert who["pid"] == server.process.pid
        assert server.get("/relay/3") == {"sum": 4}
        assert_drains(server, peer)


def test_app_run_with_the_reloader(serve: Serve, peer: AutobahnPeer, joins: Topic) -> None:
    with serve("shop", "{port}", "debug") as server:
        (who,) = assert_only_these_join(server, peer, joins, 1)
        assert who["pid"] != server.process.pid
        assert server.get("/relay/3") == {"sum": 4}
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        assert peer.error("com.shop.add", 1, 2).uri == "wamp.error.no_such_procedure"


@pytest.mark.parametrize("kind", ["run_simple", "pywsgi"])
def test_an_unrecognized_server_joins_at_the_first_request(
    serve: Serve, peer: AutobahnPeer, joins: Topic, kind: str
) -> None:
    if kind == "pywsgi":
        pytest.importorskip("gevent")
    with serve("embedded", kind, "{port}") as server:
        assert server.get("/health") == "well"  # of another app in the process: it listens
        peer.call("wamp.session.count")
        assert joins.is_quiet()
        assert server.get("/add/1/2") == {"sum": 3}
        assert_only_these_join(server, peer, joins, 1)
        assert server.get("/relay/3") == {"sum": 4}
        assert joins.is_quiet()
        assert_drains(server, peer)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("kind", ["run_simple", "pywsgi"])
def test_a_signal_does_not_end_the_handler_that_runs_when_it_comes(
    serve: Serve, peer: AutobahnPeer, kind: str, signum: signal.Signals
) -> None:
    """Python runs signal handlers in the running greenlet, which is here that of the WAMP handler."""
    if kind == "pywsgi":
        pytest.importorskip("gevent")
    with serve("embedded", kind, "{port}") as server:
        assert server.get("/add/1/2") == {"sum": 3}
        server.workers(peer)
        assert peer.call("com.shop.end", signum, 0.2).value == 0.2
        server.process.wait(20)


# Forks.


@pytest.mark.parametrize("how", ["os.fork", "multiprocessing"])
def test_a_fork_leaves_the_session_to_its_parent(
    serve: Serve, peer: AutobahnPeer, joins: Topic, how: str
) -> None:
    """The child does not have the parent's socket, and gets its own session when it starts."""
    with serve("forking", how) as server:
        (who,) = assert_only_these_join(server, peer, joins, 1)
        child = peer.call("com.shop.fork", "look").value
        assert child == {"session": None, "shared_sockets": []}
        assert peer.call("com.shop.who").value["session"] == who["session"]
        assert peer.call("com.shop.relay", 3).value == {"sum": 4}
        assert joins.is_quiet()
        child = peer.call("com.shop.fork", "start").value
        assert child["session"] not in (None, who["session"])
        assert joins.next().value["session"] == child["session"]
        assert peer.call("com.shop.who").value["session"] == who["session"]
        eventually(lambda: len(server.workers(peer, 1)) == 1)
