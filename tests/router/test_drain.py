"""A server that gets a signal to end answers running calls first."""

from __future__ import annotations

import signal

import pytest

from tests.support.peers import AutobahnPeer
from tests.support.served import Serve

pytestmark = [pytest.mark.router, pytest.mark.slow]

SERVERS = {
    "flask run": ["flask", "--app", "shop", "run", "--port", "{port}"],
    "script": ["shop"],
    "sync": ["gunicorn", "--bind", "127.0.0.1:{port}", "shop:app"],
    "gthread": ["gunicorn", "--bind", "127.0.0.1:{port}", "-k", "gthread", "shop:app"],
    "gevent": ["gunicorn", "--bind", "127.0.0.1:{port}", "-k", "gevent", "shop:app"],
    "worker": ["flask", "--app", "shop", "wamp", "worker"],
    "gevent worker": ["flask", "--app", "shop", "wamp", "worker", "--gevent"],
}

SIGNALS = [signal.SIGTERM, signal.SIGINT]

CASES = [
    *((server, signum) for server in SERVERS for signum in SIGNALS),
    ("gthread", signal.SIGQUIT),
    ("gevent", signal.SIGQUIT),
]


@pytest.mark.parametrize(
    ("server", "signum"), CASES, ids=[f"{server} {signum.name}" for server, signum in CASES]
)
def test_a_call_in_flight_is_answered(
    serve: Serve, peer: AutobahnPeer, server: str, signum: signal.Signals
) -> None:
    command = SERVERS[server]
    if "gunicorn" in command:
        pytest.importorskip("gunicorn")
    if "gevent" in server:
        pytest.importorskip("gevent")
    napping = peer.subscribe("com.shop.napping")
    leaves = peer.subscribe("wamp.session.on_leave")
    with serve(*command) as served:
        (who,) = served.workers(peer)
        nap = peer.submit("com.shop.nap", 0.5)
        napping.next()
        served.process.send_signal(signum)
        assert nap.wait().value == 0.5
        assert leaves.next().args[0] == who["session"]
        served.process.wait(20)
        error = peer.error("com.shop.add", 1, 2)
        assert error.uri == "wamp.error.no_such_procedure"
        if signum is not signal.SIGINT or server not in ("script", "flask run"):
            assert "Traceback" not in served.log


def test_a_worker_that_gunicorn_replaces_answers_first(serve: Serve, peer: AutobahnPeer) -> None:
    pytest.importorskip("gunicorn")
    napping = peer.subscribe("com.shop.napping")
    leaves = peer.subscribe("wamp.session.on_leave")
    with serve(*SERVERS["gthread"]) as served:
        (old,) = served.workers(peer)
        nap = peer.submit("com.shop.nap", 0.5)
        napping.next()
        served.process.send_signal(signal.SIGHUP)
        assert nap.wait().value == 0.5
        assert leaves.next().args[0] == old["session"]
        (new,) = served.workers(peer)
        assert new["pid"] != old["pid"]
        assert "Traceback" not in served.log
