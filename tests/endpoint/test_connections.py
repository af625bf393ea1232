"""Connections that do nothing, or do not read: the router closes them."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
import typing as t

import pytest

from flask_wamp.crossbar import free_port
from flask_wamp.router import Router, RouterSettings
from flask_wamp.router.process import event_loop
from flask_wamp.router.process import server as server_module
from flask_wamp.router.process.listeners import Listener
from flask_wamp.router.process.server import RouterServer, ServerSettings
from flask_wamp.transports import parse_router_url

Scene = t.Callable[[RouterServer, asyncio.AbstractEventLoop, dict[str, int]], t.Awaitable[None]]


def run(scene: Scene, limits: ServerSettings, settings: RouterSettings | None = None) -> None:
    """Run a router and a coroutine on the event loop of the router's process."""

    async def main() -> None:
        loop = asyncio.get_running_loop()
        core = Router(settings or RouterSettings(), clock=loop.time, wall_clock=time.time_ns)
        server = RouterServer(core, limits)
        ports = {"ws": free_port(), "tcp": free_port()}
        urls = [f"ws://127.0.0.1:{ports['ws']}/ws", f"tcp://127.0.0.1:{ports['tcp']}"]
        listeners = [Listener(server, parse_router_url(url)) for url in urls]
        try:
            await scene(server, loop, ports)
        finally:
            for listener in listeners:
                listener.close()
            await server.stop(1)

    event_loop.run(asyncio.wait_for(main(), 30))


@contextlib.asynccontextmanager
async def connected(loop: asyncio.AbstractEventLoop, port: int) -> t.AsyncIterator[socket.socket]:
    with socket.socket() as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, ("127.0.0.1", port))
        yield sock


async def is_cut_off(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bool:
    """Wait for the end of a connection, whatever arrives before."""
    with contextlib.suppress(ConnectionResetError):
        while await loop.sock_recv(sock, 65536):
            pass
    return True


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "CHECK_INTERVAL", 0.02)


@pytest.mark.parametrize("scheme", ["ws", "tcp"])
@pytest.mark.parametrize(
    "sent", [b"", b"GET / HTTP/1.1\r\n", b"\x7f"], ids=["nothing", "a line", "a byte"]
)
def test_a_connection_that_does_not_shake_hands_is_closed(scheme: str, sent: bytes) -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with connected(loop, ports[scheme]) as sock:
            await loop.sock_sendall(sock, sent)
            assert await is_cut_off(loop, sock)
            while server.connections:
                await asyncio.sleep(0.01)

    run(scene, ServerSettings(handshake_timeout=0.1))


def test_a_connection_that_breaks_the_rules_ends_at_once() -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with connected(loop, ports["tcp"]) as sock:
            await loop.sock_sendall(sock, b"GET / HTTP/1.1\r\n")
            assert await is_cut_off(loop, sock)
            sock.close()
            while server.connections:
                await asyncio.sleep(0.01)

    run(scene, ServerSettings(handshake_timeout=60.0), RouterSettings(goodbye_timeout=60.0))


def test_a_page_of_another_origin_is_refused_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with connected(loop, ports["ws"]) as sock:
            request = HANDSHAKE.replace(b"Host: x", b"Host: x\r\nOrigin: http://evil.example")
            await loop.sock_sendall(sock, request)
            assert (await loop.sock_recv(sock, 65536)).startswith(b"HTTP/1.1 403 ")

    run(scene, ServerSettings())
    refused = "its origin, 'http://evil.example', is not allowed. Allow it with --origin"
    assert refused in caplog.text


def test_a_connection_without_hello_is_closed() -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with connected(loop, ports["tcp"]) as sock:
            await loop.sock_sendall(sock, b"\x7f\xf1\0\0")
            assert await is_cut_off(loop, sock)

    run(scene, ServerSettings(), RouterSettings(hello_timeout=0.1))


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
)
PING, PONG = b"\x89\x00", b"\x8a\x80\0\0\0\0"


async def join(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
    """Do the handshake and send HELLO."""
    hello = b'[1,"realm1",{"roles":{"caller":{}}}]'
    await loop.sock_sendall(sock, HANDSHAKE)
    await loop.sock_sendall(sock, bytes((0x81, 0x80 | len(hello))) + bytes(4) + hello)


def test_a_silent_websocket_gets_a_ping_and_is_then_closed() -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with connected(loop, ports["ws"]) as sock:
            await join(loop, sock)
            data = b""
            while more := await loop.sock_recv(sock, 65536):
                data += more
            assert b"[2," in data  # WELCOME
            assert PING in data

    run(scene, ServerSettings(ping_interval=0.1, ping_timeout=0.1))


def test_a_connection_that_answers_pings_stays_after_the_router_was_suspended() -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with connected(loop, ports["ws"]) as sock:
            await join(loop, sock)
            for _ in range(3):
                time.sleep(1)  # the loop is suspended for longer than a ping may take
                data = b""
                while PING not in data:
                    more = await loop.sock_recv(sock, 65536)
                    assert more, "closed"
                    data += more
                await loop.sock_sendall(sock, PONG)
                await asyncio.sleep(0.05)  # it is read

    run(scene, ServerSettings(ping_interval=0.1, ping_timeout=0.5))


@pytest.mark.parametrize(
    "limits",
    [ServerSettings(max_connections=2), ServerSettings(max_connections_per_address=2)],
    ids=["all", "per address"],
)
def test_only_connections_over_the_limit_are_refused(limits: ServerSettings) -> None:
    async def scene(
        server: RouterServer, loop: asyncio.AbstractEventLoop, ports: dict[str, int]
    ) -> None:
        async with contextlib.AsyncExitStack() as stack:
            socks = [
                await stack.enter_async_context(connected(loop, ports["tcp"])) for _ in range(2)
            ]
            for sock in socks:
                await loop.sock_sendall(sock, b"\x7f\xf1\0\0")
                assert await loop.sock_recv(sock, 4) == b"\x7f\xf1\0\0"
            third = await stack.enter_async_context(connected(loop, ports["tcp"]))
            assert await is_cut_off(loop, third)
            assert len(server.connections) == 2
            socks[0].close()
            while len(server.connections) == 2:
                await asyncio.sleep(0.01)
            fourth = await stack.enter_async_context(connected(loop, ports["tcp"]))
            await loop.sock_sendall(fourth, b"\x7f\xf1\0\0")
            assert await loop.sock_recv(fourth, 4) == b"\x7f\xf1\0\0"

    run(scene, limits)
