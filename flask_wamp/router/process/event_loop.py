"""The event loop of the router's process. It calls connections directly when their sockets are ready.

The event loop of asyncio makes a list of all sockets that are ready, schedules a callback for each, and runs
the callbacks in a context. For a short message, this is a large part of all work. So connections have an
``epoll`` of their own, which is polled in the place where asyncio waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import select
import selectors
import socket
import typing as t

from ..._text import get_logger

logger = get_logger("flask_wamp.router")

T = t.TypeVar("T")


class Watched(t.Protocol):
    """A connection whose socket is watched."""

    def readable(self) -> None:
        """Read, because bytes or the end of the connection have arrived."""

    def writable(self) -> None:
        """Write, because the system accepts bytes again."""

    def close(self) -> None:
        """Close the connection at once."""


class Watcher(t.Protocol):
    """Calls connections when their sockets are ready, in the thread of the event loop."""

    def add(self, sock: socket.socket, connection: Watched) -> None:
        """Start to call :meth:`Watched.readable`."""

    def watch_writing(self, sock: socket.socket, connection: Watched, wanted: bool) -> None:
        """Start or stop calling :meth:`Watched.writable`."""

    def remove(self, sock: socket.socket) -> None:
        """Stop calling the connection. Its socket must still be open."""


class LoopWatcher:
    """A watcher for every event loop and every system."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def add(self, sock: socket.socket, connection: Watched) -> None:
        """See :meth:`Watcher.add`."""
        self._loop.add_reader(sock, connection.readable)

    def watch_writing(self, sock: socket.socket, connection: Watched, wanted: bool) -> None:
        """See :meth:`Watcher.watch_writing`."""
        if wanted:
            self._loop.add_writer(sock, connection.writable)
        else:
            self._loop.remove_writer(sock)

    def remove(self, sock: socket.socket) -> None:
        """See :meth:`Watcher.remove`."""
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)


class ConnectionSelector(selectors.BaseSelector):
    """A selector that calls connections, and returns all other files that are ready. It is a watcher.

    The other files are watched by a selector of their own. Its ``epoll`` is one more file of this one.
    """

    def __init__(self) -> None:
        self._others = selectors.EpollSelector()
        self._epoll = select.epoll()
        self._epoll.register(self._others.fileno(), select.EPOLLIN)
        self._connections: dict[int, Watched] = {}

    # As a watcher.

    def add(self, sock: socket.socket, connection: Watched) -> None:
        """See :meth:`Watcher.add`."""
        number = sock.fileno()
        self._epoll.register(number, select.EPOLLIN)
        self._connections[number] = connection

    def watch_writing(self, sock: socket.socket, connection: Watched, wanted: bool) -> None:
        """See :meth:`Watcher.watch_writing`."""
        self._epoll.modify(sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if wanted else 0))

    def remove(self, sock: socket.socket) -> None:
        """See :meth:`Watcher.remove`."""
        number = sock.fileno()
        self._epoll.unregister(number)
        del self._connections[number]

    # As a selector.

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for files, call the connections among them, and return the others."""
        others = False
        connections = self._connections
        for number, event in self._epoll.poll(timeout):
            # A connection of this list may have been closed by one before it.
            connection = connections.get(number)
            if connection is None:
                others = True
                continue
            try:
                if event & ~select.EPOLLOUT:  # errors are read, too
                    connection.readable()
                if event & select.EPOLLOUT and number in connections:
                    connection.writable()
            except Exception:  # a bug in Flask-WAMP must not end the other connections
                logger.exception("closing a connection after an unexpected error")
                with contextlib.suppress(Exception):
                    connection.close()
        return self._others.select(0) if others else []

    def register(self, fileobj: t.Any, events: int, data: object = None) -> selectors.SelectorKey:
        """Watch another file."""
        return self._others.register(fileobj, events, data)

    def unregister(self, fileobj: t.Any) -> selectors.SelectorKey:
        """Stop watching another file."""
        return self._others.unregister(fileobj)

    def modify(self, fileobj: t.Any, events: int, data: object = None) -> selectors.SelectorKey:
        """Change how another file is watched."""
        return self._others.modify(fileobj, events, data)

    def get_map(self) -> t.Mapping[t.Any, selectors.SelectorKey]:
        """Return the other files."""
        return self._others.get_map()

    def close(self) -> None:
        """Close both selectors."""
        self._others.close()
        self._epoll.close()


class RouterLoop(asyncio.SelectorEventLoop):
    """An event loop with a watcher for connections."""

    def __init__(self) -> None:
        if hasattr(select, "epoll"):
            selector = ConnectionSelector()
            super().__init__(selector)
            self.watcher: Watcher = selector
        else:
            super().__init__()
            self.watcher = LoopWatcher(self)


def watcher_of(loop: asyncio.AbstractEventLoop) -> Watcher:
    """Return the watcher of an event loop."""
    return loop.watcher if isinstance(loop, RouterLoop) else LoopWatcher(loop)


def run(main: t.Coroutine[object, object, T]) -> T:
    """Run a coroutine on an event loop for a router, and close the loop."""
    loop = RouterLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()
