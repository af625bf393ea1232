"""Processes that only use ``g.wampy`` serve nothing: commands, scripts, parents of workers."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest

from tests.conftest import eventually
from tests.support.peers import AutobahnPeer
from tests.support.served import APPS, PACKAGE, Serve

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = [pytest.mark.router, pytest.mark.slow]

SCRIPT = """
from flask import g
from shop import app
with app.app_context():
    print("price:", g.wampy.call("com.shop.price"))
"""

PROCESSES = {
    "command": ["-m", "flask", "--app", "shop", "report"],
    "shell": ["-m", "flask", "--app", "shop", "shell"],
    "script": ["-c", SCRIPT],
}


def callees(peer: AutobahnPeer, uri: str = "com.shop.add") -> int:
    number = peer.call("wamp.registration.match", uri).value
    return int(peer.call("wamp.registration.count_callees", number).value) if number else 0


@pytest.mark.parametrize("kind", PROCESSES)
def test_a_process_that_only_calls_serves_nothing(
    wamp_router: DevRouter, peer: AutobahnPeer, kind: str
) -> None:
    joins = peer.subscribe("wamp.session.on_join")
    peer.register("com.shop.price", "give", given=[[3], {}])
    registers = peer.subscribe("wamp.registration.on_register")
    subscribes = peer.subscribe("wamp.subscription.on_subscribe")
    environ = {
        **os.environ,
        "PYTHONPATH": str(PACKAGE),
        "SHOP_ROUTER_URL": wamp_router.rawsocket_url,
    }
    done = subprocess.run(
        [sys.executable, *PROCESSES[kind]],
        cwd=APPS,
        env=environ,
        input="print('price:', g.wampy.call('com.shop.price'))\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "price: 3" in done.stdout, done.stderr
    joins.next()
    peer.call("wamp.session.count")  # earlier messages of the router have arrived by now
    assert registers.is_quiet()
    assert subscribes.is_quiet()


PARENTS = {
    "reloader": (["flask", "--app", "shop", "run", "--debug", "--port", "{port}"], 1),
    "arbiter": (
        ["gunicorn", "--bind", "127.0.0.1:{port}", "--preload", "--workers", "2", "shop:app"],
        2,
    ),
}


@pytest.mark.parametrize("kind", PARENTS)
def test_parent_that_uses_its_client_serves_nothing(
    serve: Serve, peer: AutobahnPeer, kind: str
) -> None:
    if kind == "arbiter":
        pytest.importorskip("gunicorn")
    command, count = PARENTS[kind]
    imported = peer.subscribe("com.shop.imported")
    with serve(*command, SHOP_USES_AT_IMPORT="1") as server:
        parent = imported.next(30).value
        workers = server.workers(peer, count)
        assert parent not in {who["pid"] for who in workers}
        eventually(lambda: callees(peer) == count)


@pytest.fixture
def uwsgi(tmp_path: Path) -> list[str]:
    """The command, with a master, a worker, a mule and a spooler."""
    program = Path(sys.executable).with_name("uwsgi")
    found = str(program) if program.exists() else shutil.which("uwsgi")
    if found is None:
        pytest.skip("uwsgi is not installed")
    home = ["--home", sys.prefix, "--python-path", ".", "--die-on-term", "--master"]
    others = ["--mule", "--spooler", str(tmp_path)]
    return [found, "--http-socket", "127.0.0.1:{port}", *home, *others, "--module", "shop:app"]


UWSGI = {
    "prefork": ([], "this is uWSGI's master"),
    "prefork with fork hooks": (["--py-call-uwsgi-fork-hooks"], None),
    "lazy-apps": (["--lazy-apps"], None),
    "gevent": (
        ["--lazy-apps", "--gevent", "20", "--gevent-monkey-patch"],
        "uWSGI patches with gevent after",
    ),
}


@pytest.mark.parametrize("kind", UWSGI)
def test_only_workers_of_uwsgi_serve(
    serve: Serve, peer: AutobahnPeer, uwsgi: list[str], kind: str
) -> None:
    """The master, mules and spoolers do not serve, although each uses its client if it may."""
    options, refusal = UWSGI[kind]
    if "--gevent" in options:
        pytest.importorskip("gevent")
    with serve(*uwsgi, "--processes", "2", *options, SHOP_USES_AT_IMPORT="1") as server:
        workers = server.workers(peer, 2)
        assert server.process.pid not in {who["pid"] for who in workers}
        eventually(lambda: callees(peer) == 2)
        assert ("not joined: " in server.log) is (refusal is not None)
        assert refusal is None or refusal in server.log
        server.process.send_signal(signal.SIGTERM)
        server.process.wait(20)
        assert "Traceback" not in server.log
    assert callees(peer) == 0
