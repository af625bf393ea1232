"""The event loop of the router's process calls connections directly, and runs all else as asyncio does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
import threading
import typing as t

import pytest

from flask_wamp.router.process.event_loop import LoopWatcher, RouterLoop, Watcher, run, watcher_of


class Connection:
    """One end of a socket pair, which notes what the watcher calls."""

    def __init__(self, watcher: Watcher) -> None:
        self.sock, self.peer = socket.socketpair()
        for sock in (self.sock, self.peer):
            sock.setblocking(False)
        self.received: list[bytes] = []
        self.written = 0
        self.closed = 0
        self.on_bytes: t.Callable[[], object] = lambda: None
        self._watcher = watcher
        watcher.add(self.sock, self)

    def readable(self) -> None:
        self.received.append(self.sock.recv(100))
        self.on_bytes()

    def writable(self) -> None:
        self.written += 1

    def watch_writing(self, wanted: bool) -> None:
        self._watcher.watch_writing(self.sock, self, wanted)

    def close(self) -> None:
        self.closed += 1
        if self.sock.fileno() != -1:
            self._watcher.remove(self.sock)
            self.sock.close()


#: gevent's monkey-patching removes ``epoll``.
KINDS = ["epoll", "asyncio"] if hasattr(select, "epoll") else ["asyncio"]


@pytest.fixture(params=KINDS)
def loop(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[RouterLoop]:
    """The loop of this system, and that of a system without ``epoll``."""
    if request.param == "asyncio":
        monkeypatch.delattr(select, "epoll", raising=False)
    loop = RouterLoop()
    assert isinstance(loop.watcher, LoopWatcher) is (request.param == "asyncio")
    yield loop
    loop.close()


@pytest.fixture
def connections(loop: RouterLoop) -> t.Iterator[list[Connection]]:
    with contextlib.ExitStack() as stack:
        made = [Connection(loop.watcher) for _ in range(3)]
        for connection in made:
            stack.callback(connection.peer.close)
            stack.callback(connection.close)
        yield made


def turn(loop: RouterLoop) -> None:
    """Let the loop handle what is ready."""
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(0))


def test_connections_read_what_arrives(loop: RouterLoop, connections: list[Connection]) -> None:
    first, second, third = connections
    first.peer.send(b"one")
    third.peer.send(b"three")
    turn(loop)
    first.peer.close()
    turn(loop)
    assert first.received[:2] == [b"one", b""]
    assert (second.received, third.received) == ([], [b"three"])


def test_a_connection_writes_only_while_it_wants_to(
    loop: RouterLoop, connections: list[Connection]
) -> None:
    connection = connections[0]
    turn(loop)
    assert connection.written == 0
    connection.watch_writing(True)
    connection.peer.send(b"both")
    turn(loop)
    assert connection.written
    assert connection.received == [b"both"]
    connection.watch_writing(False)
    written = connection.written
    turn(loop)
    assert connection.written == written


def test_a_connection_that_another_one_has_closed_is_not_called(
    loop: RouterLoop, connections: list[Connection]
) -> None:
    def close_others(this: Connection) -> None:
        for other in connections:
            if other is not this:
                other.close()

    for connection in connections:
        connection.on_bytes = lambda this=connection: close_others(this)
        connection.watch_writing(True)
        connection.peer.send(b"now")
    turn(loop)
    assert [connection.received for connection in connections].count([b"now"]) == 1
    assert sum(connection.closed for connection in connections) == 2


def test_a_connection_may_close_itself_before_it_would_write(
    loop: RouterLoop, connections: list[Connection]
) -> None:
    connection = connections[0]
    connection.on_bytes = connection.close
    connection.watch_writing(True)
    connection.peer.send(b"the end")
    turn(loop)
    assert (connection.received, connection.closed) == ([b"the end"], 1)


def test_a_failure_ends_no_other_connection(
    loop: RouterLoop, connections: list[Connection], caplog: pytest.LogCaptureFixture
) -> None:
    failing, other, _ = connections

    def fail() -> t.NoReturn:
        raise RuntimeError("a bug")

    failing.on_bytes = fail
    for connection in (failing, other):
        connection.peer.send(b"hello")
    with caplog.at_level(logging.ERROR):
        turn(loop)
    assert failing.closed == (0 if isinstance(loop.watcher, LoopWatcher) else 1)
    assert (other.received, other.closed) == ([b"hello"], 0)
    assert "a bug" in caplog.text


def test_other_files_threads_timers_and_signals_work(
    loop: RouterLoop, connections: list[Connection]
) -> None:
    async def main() -> None:
        got: asyncio.Queue[str] = asyncio.Queue()
        ours, theirs = socket.socketpair()
        with ours, theirs:
            loop.add_reader(ours, lambda: got.put_nowait(ours.recv(100).decode()))
            theirs.send(b"a file")
            assert await got.get() == "a file"
            loop.remove_reader(ours)
        loop.call_later(0.01, got.put_nowait, "a timer")
        assert await got.get() == "a timer"
        job = (loop.call_soon_threadsafe, (got.put_nowait, "a thread"))
        threading.Thread(target=job[0], args=job[1]).start()
        assert await got.get() == "a thread"
        loop.add_signal_handler(signal.SIGUSR1, got.put_nowait, "a signal")
        os.kill(os.getpid(), signal.SIGUSR1)
        assert await got.get() == "a signal"
        loop.remove_signal_handler(signal.SIGUSR1)
        connections[0].on_bytes = lambda: got.put_nowait("a connection")
        connections[0].peer.send(b"hello")
        assert await got.get() == "a connection"

    loop.run_until_complete(asyncio.wait_for(main(), 30))


def test_run_returns_the_result_and_closes_the_loop() -> None:
    async def main() -> RouterLoop:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, RouterLoop)
        assert watcher_of(loop) is loop.watcher
        return loop

    assert run(main()).is_closed()


def test_every_other_loop_has_a_watcher() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        connection = Connection(watcher_of(loop))
        connection.peer.send(b"hello")
        while not connection.received:
            await asyncio.sleep(0)
        assert connection.received == [b"hello"]
        connection.close()
        connection.peer.close()

    asyncio.run(asyncio.wait_for(main(), 30))
