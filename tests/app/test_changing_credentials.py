"""Functions for secrets, HTTP headers, and proxies, as the other end of the connection sees them."""

from __future__ import annotations

import logging
import socket
import threading
import traceback
import typing as t

import pytest
from flask import Flask, current_app

from flask_wamp import FlaskWAMP, NotJoined
from flask_wamp.protocol import messages as m
from tests.conftest import eventually
from tests.support.memory import MemoryRouter
from tests.support.sockets import Impostor

MakeApp = t.Callable[..., Flask]

FORBIDDEN = b"HTTP/1.1 403 Forbidden\r\n\r\n"


def test_the_ticket_function_is_called_at_every_join(
    make_app: MakeApp, router: MemoryRouter
) -> None:
    tickets = iter(["first", "second"])
    apps: list[str] = []

    def ticket() -> str:
        apps.append(current_app.name)
        return next(tickets)

    app = make_app("shop", WAMP_ROUTER_URL="ws://in.memory/ws", WAMP_TICKET=ticket)
    wamp = FlaskWAMP(app)
    assert apps == []
    router.silent = True
    for number, expected in enumerate(["first", "second"], 1):
        wamp.start()
        router.wait_for(m.Hello, number)
        router.send(m.Challenge("ticket", {}))
        assert router.wait_for(m.Authenticate, number).signature == expected
        router.give_up()
        router.down = False
    assert apps == ["shop", "shop"]
    router.give_up()


def test_the_authextra_function_is_called_at_every_join(
    make_app: MakeApp, router: MemoryRouter
) -> None:
    numbers = iter(range(1, 100))
    wamp = FlaskWAMP(
        make_app(
            WAMP_ROUTER_URL="ws://in.memory/ws", WAMP_AUTHEXTRA=lambda: {"number": next(numbers)}
        )
    )
    wamp.client.wait_until_joined()
    router.drop()
    router.wait_for(m.Hello, 2)
    extras = [hello.details["authextra"]["number"] for hello in router.sent(m.Hello)]
    assert extras == [1, 2]
    wamp.client.wait_until_joined()


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda: None, "the function in WAMP_TICKET returned NoneType instead of text"),
        (lambda: 1 / 0, "the function in WAMP_TICKET failed: ZeroDivisionError"),
        (lambda: "", "instead of text"),
    ],
)
def test_a_function_that_fails_fails_the_attempt(
    make_app: MakeApp, router: MemoryRouter, function: t.Callable[[], object], text: str
) -> None:
    answers: list[t.Callable[[], object]] = [function]
    wamp = FlaskWAMP(
        make_app(WAMP_ROUTER_URL="ws://in.memory/ws", WAMP_TICKET=lambda: answers[0]())
    )
    with pytest.raises(NotJoined, match=text):
        wamp.client.call("com.example.add")
    answers[0] = lambda: "good"
    wamp.client.wait_until_joined()


@pytest.mark.parametrize("key", ["WAMP_TICKET", "WAMP_SECRET", "WAMP_AUTHEXTRA"])
def test_the_error_of_a_function_is_not_shown(
    make_app: MakeApp, router: MemoryRouter, caplog: pytest.LogCaptureFixture, key: str
) -> None:
    caplog.set_level(logging.DEBUG)

    def fetch() -> str:
        raise OSError("https://vault.example/?token=sesame is down")

    config = {"WAMP_AUTHID": "app", key: fetch}
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL="ws://in.memory/ws", **config))
    with pytest.raises(NotJoined, match=f"the function in {key} failed: OSError") as info:
        wamp.client.call("com.example.add")
    wamp.stop()
    shown = "".join(traceback.format_exception(info.value))
    assert "sesame" not in shown + caplog.text


def requested(server: Impostor) -> str:
    """The first request that a server got."""
    eventually(lambda: b"\r\n\r\n" in server.received)
    return bytes(server.received).decode()


def test_headers_are_sent_with_the_handshake(
    make_app: MakeApp, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    numbers = iter(range(1, 100))
    with Impostor(FORBIDDEN) as server:
        wamp = FlaskWAMP(
            make_app(
                WAMP_ROUTER_URL=f"ws://joe:pw@127.0.0.1:{server.port}/ws",
                WAMP_HEADERS=lambda: {"Authorization": f"Bearer {next(numbers)}", "X-Tea": "hot"},
            )
        )
        with pytest.raises(NotJoined, match="403") as info:
            wamp.client.call("com.example.add")
        request = requested(server)
        wamp.stop()
    assert "\r\nAuthorization: Bearer 1\r\n" in request
    assert "\r\nX-Tea: hot\r\n" in request
    assert "Basic" not in request
    assert "Bearer" not in str(info.value) + caplog.text + repr(wamp.client.settings)


def test_headers_that_a_function_returns_are_checked(make_app: MakeApp) -> None:
    with Impostor(FORBIDDEN) as server:
        wamp = FlaskWAMP(
            make_app(
                WAMP_ROUTER_URL=f"ws://127.0.0.1:{server.port}/ws",
                WAMP_HEADERS=lambda: {"X": "hush\r\nHost: evil"},
            )
        )
        with pytest.raises(NotJoined, match="returned no headers: ValueError") as info:
            wamp.client.call("com.example.add")
        wamp.stop()
    assert "hush" not in str(info.value)


class HTTPProxy:
    """A proxy that accepts every request to connect, and remembers it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(10)

    def _serve(self) -> None:
        try:
            while True:
                client, _ = self._socket.accept()
                with client:
                    self._connect(client)
        except OSError:
            return

    def _connect(self, client: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            head += client.recv(4096)
        self.asked.append(head.decode())
        host, _, port = head.split()[1].decode().rpartition(":")
        with socket.create_connection((host, int(port)), timeout=10) as router:
            client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            router.sendall(client.recv(65536))
            client.sendall(router.recv(65536))


def test_the_client_connects_through_the_proxy(make_app: MakeApp) -> None:
    pytest.importorskip("python_socks")
    proxy = HTTPProxy()
    with Impostor(FORBIDDEN) as server:
        wamp = FlaskWAMP(
            make_app(
                WAMP_ROUTER_URL=f"ws://127.0.0.1:{server.port}/ws",
                WAMP_PROXY=f"http://joe:hush@127.0.0.1:{proxy.port}",
            )
        )
        with pytest.raises(NotJoined, match="403"):
            wamp.client.call("com.example.add")
        request = requested(server)
        wamp.stop()
    proxy.close()
    assert request.startswith("GET /ws HTTP/1.1\r\n")
    assert proxy.asked[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\n")
    assert "Proxy-Authorization: Basic" in proxy.asked[0]


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h", "socks4"])
def test_a_proxy_that_cannot_be_reached(make_app: MakeApp, scheme: str) -> None:
    pytest.importorskip("python_socks")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    wamp = FlaskWAMP(
        make_app(
            WAMP_ROUTER_URL="ws://127.0.0.1:9/ws",
            WAMP_PROXY=f"{scheme}://joe:hush@127.0.0.1:{port}",
        )
    )
    with pytest.raises(NotJoined, match=rf"through the proxy '{scheme}://127\.0\.0\.1") as info:
        wamp.client.call("com.example.add")
    wamp.stop()
    assert "hush" not in str(info.value)
