"""A missing or wrong router: one clear error, and the client keeps trying."""

from __future__ import annotations

import socket
import time
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from flask_wamp.crossbar import free_port
from tests.conftest import eventually
from tests.support.peers import PATIENCE
from tests.support.sockets import Forwarder, Impostor

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter

pytestmark = pytest.mark.router

MakeApp = t.Callable[..., Flask]


def assert_not_joined(make_app: MakeApp, url: str, why: str, **config: t.Any) -> FlaskWAMP:
    """Check that an app with this URL reports at once why it has not joined, and stops at once."""
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, **{"WAMP_CONNECT_TIMEOUT": 30.0, **config}))
    started = time.monotonic()
    for use in (wamp.client.call, wamp.client.publish, wamp.client.submit):
        with pytest.raises(NotJoined, match=why):
            use("com.shop.echo")
    assert time.monotonic() - started < 10, "it has waited though there was nothing to wait for"
    with pytest.raises(NotJoined, match=why) as raised:
        wamp.client.wait_until_joined(0.05)
    assert url in str(raised.value)
    assert not wamp.client.joined
    started = time.monotonic()
    wamp.stop()
    assert time.monotonic() - started < 10
    return wamp


def test_a_port_without_a_listener(make_app: MakeApp) -> None:
    assert_not_joined(make_app, f"ws://127.0.0.1:{free_port()}/ws", "Connection refused")


def test_no_such_unix_socket(make_app: MakeApp, tmp_path: Path) -> None:
    assert_not_joined(make_app, f"unix://{tmp_path}/nobody.sock", "No such file or directory")


def test_a_wrong_realm(make_app: MakeApp, wamp_router: DevRouter) -> None:
    assert_not_joined(
        make_app,
        wamp_router.url,
        r"realm nowhere .*wamp\.error\.no_such_realm",
        WAMP_REALM="nowhere",
    )


def test_a_wrong_path(make_app: MakeApp, wamp_router: DevRouter) -> None:
    url = wamp_router.url.removesuffix("/ws") + "/nope"
    assert_not_joined(make_app, url, "HTTP 404 .*check the path")


def test_a_websocket_url_for_a_rawsocket_port(make_app: MakeApp, wamp_router: DevRouter) -> None:
    url = wamp_router.rawsocket_url.replace("tcp://", "ws://") + "/ws"
    assert_not_joined(make_app, url, r"not a WebSocket router|closed the connection|broke")


IMPOSTORS: dict[str, tuple[str, bytes, str]] = {
    "a web server": (
        "ws",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        "HTTP 200 OK instead of opening a WebSocket; check the path",
    ),
    "a web server that minds": (
        "ws",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "HTTP 400 Bad Request instead of opening a WebSocket",
    ),
    "a websocket that is not ours": (
        "ws",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA=\r\n\r\n",
        "not a WebSocket router",
    ),
    "ssh for ws": ("ws", b"SSH-2.0-OpenSSH_9.6\r\n", "not a WebSocket router"),
    "half an answer for ws": ("ws", b"HTTP/1.1 101 Swi", "not a WebSocket router|closed"),
    "a closed door for ws": ("ws", b"", "not a WebSocket router|closed"),
    "a web server for tcp": (
        "tcp",
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        "not a RawSocket router",
    ),
    "ssh for tcp": ("tcp", b"SSH-2.0-OpenSSH_9.6\r\n", "not a RawSocket router"),
    "a closed door for tcp": ("tcp", b"", "closed the connection"),
    "half an answer for tcp": ("tcp", b"\x7f\xf2", "closed the connection"),
    "a router of another tongue": ("tcp", b"\x7f\x10\x00\x00", "declined.*serializer"),
    "a full router": ("tcp", b"\x7f\x40\x00\x00", "declined.*too many connections"),
    "an unasked serializer": ("tcp", b"\x7f\xff\x00\x00", "serializer that was not offered"),
    "a router that leaves": ("tcp", b"\x7f\xf2\x00\x00", "closed the connection"),
    "no message in msgpack": (
        "tcp",
        b"\x7f\xf2\x00\x00\x00\x00\x00\x02hi",
        "not a WAMP message|not a RawSocket router",
    ),
}


@pytest.mark.parametrize(("scheme", "answer", "why"), IMPOSTORS.values(), ids=IMPOSTORS)
def test_a_port_of_another_server(make_app: MakeApp, scheme: str, answer: bytes, why: str) -> None:
    with Impostor(answer) as server:
        path = "/ws" if scheme == "ws" else ""
        url = f"{scheme}://127.0.0.1:{server.port}{path}"
        assert_not_joined(make_app, url, why, WAMP_SERIALIZERS=["msgpack"])


def assert_silent(make_app: MakeApp, url: str) -> None:
    """Check that an app with this URL waits for its timeout, and then reports why it has not joined."""
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_CONNECT_TIMEOUT=0.2))
    started = time.monotonic()
    with pytest.raises(NotJoined, match="did not answer in time"):
        wamp.client.call("com.shop.echo")
    assert 0.2 <= time.monotonic() - started < 10
    with pytest.raises(NotJoined, match="did not answer in time"):
        wamp.client.wait_until_joined(0.05)
    wamp.stop()


@pytest.mark.parametrize("form", ["ws://127.0.0.1:{}/ws", "tcp://127.0.0.1:{}"])
def test_a_server_that_sends_nothing(make_app: MakeApp, form: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # the system accepts the connection
        assert_silent(make_app, form.format(silent.getsockname()[1]))


def test_a_rawsocket_url_for_a_websocket_port(make_app: MakeApp, wamp_router: DevRouter) -> None:
    # Crossbar waits for the rest of an HTTP request.
    assert_silent(make_app, wamp_router.url.replace("ws://", "tcp://").removesuffix("/ws"))


@pytest.mark.parametrize(
    "form", ["ws://127.0.0.1:{}/ws", "tcp://127.0.0.1:{}", "wss://127.0.0.1:{}/ws"]
)
def test_stopping_does_not_wait_for_a_silent_server(
    make_app: MakeApp, form: str, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = form.format(silent.getsockname()[1])
        wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_CONNECT_TIMEOUT=30))
        wamp.start()
        client, _ = silent.accept()
        with client:
            assert client.recv(1)  # it has sent its handshake
            started = time.monotonic()
            wamp.stop()
            assert time.monotonic() - started < 10
    assert caplog.text == ""


def test_the_client_keeps_trying_and_logs_that_once(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    with Impostor(b"SSH-2.0-OpenSSH_9.6\r\n") as server:
        url = f"tcp://127.0.0.1:{server.port}"
        config = {"WAMP_RECONNECT_MIN": 0.01, "WAMP_RECONNECT_MAX": 0.02}
        FlaskWAMP(make_app(WAMP_ROUTER_URL=url, **config)).start()
        for _ in range(10):
            assert server.asked.acquire(timeout=PATIENCE)
    eventually(lambda: "Connection refused" in caplog.text)  # a new reason is logged
    assert caplog.text.count("not a RawSocket router") == 1


def test_the_client_joins_the_right_router_after_the_wrong_one_has_ended(
    make_app: MakeApp, wamp_router: DevRouter
) -> None:
    with Impostor(b"SSH-2.0-OpenSSH_9.6\r\n") as server:
        port = server.port
        app = make_app(WAMP_ROUTER_URL=f"tcp://127.0.0.1:{port}", WAMP_RECONNECT_MAX=0.05)
        wamp = FlaskWAMP(app)
        wamp.start()
        assert server.asked.acquire(timeout=PATIENCE)
    with Forwarder(wamp_router.rawsocket_url, port):
        wamp.client.wait_until_joined(PATIENCE)
        assert wamp.client.call("wamp.session.count") >= 1
        wamp.stop()
