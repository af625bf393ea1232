"""TLS: ``wss://`` and ``tls://``, with a router that has a self-signed certificate."""

from __future__ import annotations

import concurrent.futures
import pathlib
import threading
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from tests.support.nodes import Certificate, Node
from tests.support.peers import PATIENCE, AutobahnPeer
from tests.support.sockets import Impostor

pytestmark = pytest.mark.router

MANY = 100

Join = t.Callable[..., tuple[Flask, FlaskWAMP]]
MakeApp = t.Callable[..., Flask]


@pytest.fixture(params=["wss_url", "tls_url"])
def url(request: pytest.FixtureRequest, node: Node) -> str:
    return str(getattr(node, request.param))


@pytest.fixture(scope="module")
def secure_peer(node: Node) -> t.Iterator[AutobahnPeer]:
    """autobahn over TLS too, on the same router."""
    with AutobahnPeer(node.wss_url, ca=node.certificate.certificate) as peer:
        yield peer


def why_not_joined(make_app: MakeApp, url: str, **config: t.Any) -> str:
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, **config))
    with pytest.raises(NotJoined) as raised:
        wamp.client.call("com.shop.echo")
    wamp.stop()
    return str(raised.value)


def test_an_untrusted_certificate_is_refused(make_app: MakeApp, url: str) -> None:
    why = why_not_joined(make_app, url)
    assert url in why
    assert "certificate was refused: self-signed certificate" in why
    assert "set WAMP_TLS_CA" in why


def test_a_certificate_of_another_authority_is_refused(
    make_app: MakeApp, url: str, tmp_path: pathlib.Path
) -> None:
    other = Certificate.make(tmp_path)
    why = why_not_joined(make_app, url, WAMP_TLS_CA=other.certificate)
    assert "certificate was refused" in why


def test_the_name_in_the_certificate_is_checked(make_app: MakeApp, node: Node, url: str) -> None:
    # It is for 127.0.0.1.
    other = url.replace("127.0.0.1", "localhost")
    why = why_not_joined(make_app, other, WAMP_TLS_CA=node.certificate.certificate)
    assert "certificate was refused" in why
    assert "localhost" in why
    assert "WAMP_ROUTER_URL must have the name" in why


@pytest.mark.parametrize("trust", ["ca", "anybody"])
def test_the_client_joins_and_serves_with_a_trusted_certificate(
    join: Join, node: Node, secure_peer: AutobahnPeer, url: str, trust: str
) -> None:
    config: dict[str, t.Any] = {"WAMP_TLS_CA": node.certificate.certificate}
    if trust == "anybody":
        config = {"WAMP_TLS_VERIFY": False}
    _, wamp = join(url, **config)
    wamp.callee("com.example.echo")(lambda data: data)
    procedure = secure_peer.register("com.shop.echo")
    assert secure_peer.call("com.example.echo", b"\x00").value == b"\x00"
    assert wamp.client.call("com.shop.echo", "hello") == "hello"
    assert procedure.next().details["caller"] == wamp.client.session_id
    secure_peer.reset()


def test_many_threads_and_large_payloads_both_ways(
    join: Join, node: Node, secure_peer: AutobahnPeer, url: str
) -> None:
    _, wamp = join(url, WAMP_TLS_CA=node.certificate.certificate)
    wamp.callee("com.example.echo", validate=False)(lambda number, data: [number, data])
    secure_peer.register("com.shop.echo")
    data = bytes(range(256)) * 200

    def ours(caller: int) -> int:
        answers = (wamp.client.call("com.shop.echo", [caller, n, data]) for n in range(MANY))
        return sum(answer == [caller, n, data] for n, answer in enumerate(answers))

    def theirs(caller: int) -> int:
        calls = [secure_peer.submit("com.example.echo", n, data) for n in range(MANY)]
        return sum(call.wait(60).value == [n, data] for n, call in enumerate(calls))

    with concurrent.futures.ThreadPoolExecutor(8) as executor:
        futures = [executor.submit(f, caller) for caller in range(4) for f in (ours, theirs)]
        assert [future.result(120) for future in futures] == [MANY] * 8
    secure_peer.reset()


def test_a_megabyte_each_way(join: Join, node: Node, secure_peer: AutobahnPeer, url: str) -> None:
    _, wamp = join(url, WAMP_TLS_CA=node.certificate.certificate)
    secure_peer.register("com.shop.echo")
    data = b"x" * 1_000_000
    assert wamp.client.call("com.shop.echo", data) == data
    secure_peer.reset()


def test_events_over_tls_keep_their_order(
    join: Join, node: Node, secure_peer: AutobahnPeer, url: str
) -> None:
    _, wamp = join(url, WAMP_TLS_CA=node.certificate.certificate)
    seen: list[int] = []
    done = threading.Event()

    @wamp.subscriber
    def news(number: int) -> None:
        seen.append(number)
        if number == 199:
            done.set()

    for number in range(200):
        secure_peer.publish("com.example.news", number, options={"acknowledge": False})
    assert done.wait(PATIENCE)
    assert seen == list(range(200))


def test_tls_to_a_port_without_tls(make_app: MakeApp) -> None:
    with Impostor(b"HTTP/1.1 400 Bad Request\r\n\r\n") as server:
        why = why_not_joined(make_app, f"wss://127.0.0.1:{server.port}/ws")
    assert "no TLS connection" in why


def test_no_tls_to_a_port_with_tls(make_app: MakeApp, node: Node) -> None:
    url = node.wss_url.replace("wss://", "ws://")
    why = why_not_joined(make_app, url, WAMP_CONNECT_TIMEOUT=1)
    assert "not a WebSocket router" in why or "closed" in why or "broke" in why


@pytest.mark.parametrize("key", ["WAMP_TLS_CA", "WAMP_TLS_CERT"])
def test_a_missing_tls_file_is_an_error_at_once(
    make_app: MakeApp, node: Node, tmp_path: pathlib.Path, key: str
) -> None:
    with pytest.raises(ValueError, match=f"{key}.*No such file"):
        FlaskWAMP(make_app(WAMP_ROUTER_URL=node.wss_url, **{key: str(tmp_path / "no.pem")}))
