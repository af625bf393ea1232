"""How a connection of the router writes: in order, and with one system call per turn."""

from __future__ import annotations

import asyncio
import os
import socket
import time
import typing as t

import pytest

from flask_wamp.router import Router
from flask_wamp.router.facts import TransportFacts
from flask_wamp.router.process import event_loop
from flask_wamp.router.process.client_connection import ClientConnection
from flask_wamp.router.process.server import RouterServer


class CountingSocket(socket.socket):
    """A socket that counts the calls of ``send``."""

    sends = 0

    def send(self, *args: t.Any) -> int:
        self.sends += 1
        return super().send(*args)


class Connection(ClientConnection):
    """A connection that ignores what it receives."""

    def _feed(self, data: bytes) -> None:
        pass


class Scene(t.NamedTuple):
    server: RouterServer
    connection: Connection
    sock: CountingSocket
    client: socket.socket

    async def received(self, size: int) -> bytes:
        """Read so many bytes, or all before the end."""
        data = b""
        while len(data) < size:
            more = await asyncio.get_running_loop().sock_recv(self.client, 65536)
            if not more:
                break
            data += more
        return data


def run(scene: t.Callable[[Scene], t.Awaitable[None]]) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        server = RouterServer(Router(clock=loop.time, wall_clock=time.time_ns))
        ours, client = socket.socketpair()
        sock = CountingSocket(fileno=ours.detach())
        client.setblocking(False)
        connection = Connection(server, sock, TransportFacts())
        with client:
            try:
                await scene(Scene(server, connection, sock, client))
            finally:
                connection.close()
                await server.stop(1)

    event_loop.run(asyncio.wait_for(main(), 30))


@pytest.mark.parametrize("count", [1, 2, 100])
def test_the_messages_of_a_turn_leave_together(count: int) -> None:
    async def scene(this: Scene) -> None:
        for turn in range(3):
            for number in range(count):
                this.connection.write(b"%d:%d " % (turn, number))
            assert this.sock.sends == turn
            this.server.flush()
            assert this.sock.sends == turn + 1
        expected = b"".join(b"%d:%d " % (a, b) for a in range(3) for b in range(count))
        assert await this.received(len(expected)) == expected

    run(scene)


@pytest.mark.parametrize("at_a_time", [1, 3])
@pytest.mark.parametrize(("size", "turns"), [(10, 20_000), (100_000, 20)], ids=["small", "large"])
def test_a_client_that_reads_late_gets_everything_in_order(
    at_a_time: int, size: int, turns: int
) -> None:
    async def scene(this: Scene) -> None:
        written = []
        for _ in range(turns):
            for _ in range(at_a_time):
                written.append(os.urandom(size))
                this.connection.write(written[-1])
            this.server.flush()
        expected = b"".join([*written, b"and more"])
        received = len(await this.received(1))
        this.connection.write(b"and more")
        this.server.flush()
        assert await this.received(len(expected) - received) == expected[received:]

    run(scene)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_an_ended_connection_sends_all_before_the_end(count: int) -> None:
    async def scene(this: Scene) -> None:
        for _ in range(count):
            this.connection.write(b"last ")
        this.connection.end()
        this.connection.write(b"words")
        this.server.flush()
        assert await this.received(1000) == b"last " * count + b"words"

    run(scene)


def test_a_closed_connection_writes_nothing() -> None:
    async def scene(this: Scene) -> None:
        this.connection.write(b"too late")
        this.connection.close()
        this.connection.write(b"much too late")
        this.server.flush()
        assert await this.received(1000) == b""
        assert this.sock.sends == 0

    run(scene)


def test_a_lost_connection_is_closed_when_it_writes() -> None:
    async def scene(this: Scene) -> None:
        closed: list[ClientConnection] = []
        this.connection.on_close = closed.append
        this.client.close()
        this.connection.write(b"hello")
        this.server.flush()
        assert closed == [this.connection]

    run(scene)
