"""Real HTTP servers that stream: a client that disconnects ends its stream."""

from __future__ import annotations

import importlib.util
import socket
import threading
import typing as t

import pytest

from flask_wamp import FlaskWAMP
from tests.conftest import eventually
from tests.support.overload import LIMIT
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.served import STARTS_WITHIN, Serve, Served

pytestmark = [pytest.mark.router, pytest.mark.slow]

SERVERS = {
    "gthread": "gunicorn --worker-class gthread --threads 4 --bind 127.0.0.1:{port} streams:app",
    "gevent": "gunicorn --worker-class gevent --bind 127.0.0.1:{port} streams:app",
    "flask run": "flask --app streams run --port {port}",
    "waitress": "waitress --listen 127.0.0.1:{port} streams:app",
}


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest, serve: Serve) -> t.Iterator[Served]:
    """A server of ``apps/streams.py``."""
    command = SERVERS[request.param].split()
    for module in {command[0], request.param} & {"gunicorn", "gevent", "waitress"}:
        if importlib.util.find_spec(module) is None:
            pytest.skip(f"there is no {module}")
    with serve(*command) as server:
        yield server


def leave(server: Served, path: str) -> None:
    """Request a stream, read its beginning, and disconnect."""
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        come = b""
        while b"\n1\n" not in come.replace(b"\r\n", b"\n"):
            data = connection.recv(65536)
            assert data, (come, server.log)
            come += data
    assert b" 200 " in come.splitlines()[0]
    assert b"application/x-ndjson" in come


def test_a_client_that_disconnects(server: Served, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    closed = peer.subscribe("com.streams.closed")
    remote_closed = threading.Event()

    @wamp.callee("com.example.remote")
    def remote() -> t.Iterator[int]:
        pause = threading.Event()
        try:
            for number in range(1_000_000):
                yield number
                pause.wait(0.02)
        finally:
            remote_closed.set()

    eventually(lambda: _serves(peer, server), STARTS_WITHIN)
    for path in ("/ticks", "/asynchronous"):
        leave(server, path)
        closed.next()
    leave(server, "/relay/com.example.remote")
    assert remote_closed.wait(PATIENCE)
    assert closed.is_quiet()
    assert "Traceback" not in server.log


def test_a_client_that_reads_nothing(server: Served, wamp: FlaskWAMP, peer: AutobahnPeer) -> None:
    """Its stream is closed: the unread data fills neither the server nor the router."""
    cut_off = threading.Event()

    @wamp.callee("com.example.flood")
    def flood() -> t.Iterator[str]:
        try:
            while True:
                yield "x" * 1_000_000
        finally:
            cut_off.set()

    eventually(lambda: _serves(peer, server), STARTS_WITHIN)
    with socket.create_connection(("127.0.0.1", server.port), PATIENCE) as connection:
        connection.sendall(b"GET /relay/com.example.flood HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert cut_off.wait(LIMIT)


def _serves(peer: AutobahnPeer, server: Served) -> bool:
    assert server.process.poll() is None, server.log
    found = peer.call("wamp.registration.match", "com.streams.ticks")
    return found.value is not None and _listens(server)


def _listens(server: Served) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), 1).close()
    except OSError:
        return False
    return True
