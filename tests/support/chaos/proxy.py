"""A proxy, of TCP or unix sockets. Lines can be delayed, stalled, cut, and cut in the middle of a message."""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import struct
import threading
import time

from flask_wamp.crossbar import local_url

_numbers = itertools.count(1)

UP, DOWN = "up", "down"
"""From the client to the router, and back."""

#: Makes ``close`` send RST, so that data in transit is lost too.
_RESET = struct.pack("ii", 1, 0)


class Line:
    """One connection through the proxy: two sockets, and a thread for each direction."""

    def __init__(self, proxy: Proxy, client: socket.socket, router: socket.socket) -> None:
        self.left: dict[str, int] = {}
        """The number of bytes that a direction may still carry. Then the connection is cut."""
        self.truncated: set[str] = set()
        """Directions that carry only a part of the next piece. Then the connection is closed."""
        self._proxy = proxy
        if proxy.frail:
            self.left[random.choice((UP, DOWN))] = int(4000 ** random.random()) - 1
        self._sockets = client, router
        self._lock = threading.Lock()
        self._open = 2
        for direction, source, target in ((UP, client, router), (DOWN, router, client)):
            threading.Thread(
                target=self._pump, args=[direction, source, target], name=f"pump-{direction}"
            ).start()

    def cut(self, *, reset: bool = True) -> None:
        """End both directions at once."""
        for each in self._sockets:
            with contextlib.suppress(OSError):
                if reset:
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                each.shutdown(socket.SHUT_RDWR)

    def _pump(self, direction: str, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self._proxy.hold(direction)
                whole = len(data)
                data = self._allowed(direction, data)
                target.sendall(data)
                if len(data) < whole:
                    break
        self.cut(reset=direction not in self.truncated)
        self._ended()

    def _allowed(self, direction: str, data: bytes) -> bytes:
        if direction in self.truncated and len(data) > 1:
            return data[: random.randrange(1, len(data))]
        left = self.left.get(direction)
        if left is None:
            return data
        self.left[direction] = max(0, left - len(data))
        return data[:left]

    def _ended(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open:
                return
        for each in self._sockets:
            each.close()
        self._proxy.lines.discard(self)


class Proxy:
    """Listens on its own port or unix socket, and forwards everything to a router.

    :param router_url: The URL of the router.
    """

    def __init__(self, router_url: str) -> None:
        self.lines: set[Line] = set()
        self.delay = 0.0
        """The seconds for which each piece is held back."""
        self.refusing = False
        """Whether new connections are closed."""
        self.frail = False
        """Whether new connections are cut after a few bytes, while the client joins."""
        self._router = local_url(router_url)
        self._gates = {direction: threading.Event() for direction in (UP, DOWN)}
        self.mend()
        self._listener = socket.socket(self._router.family)
        self.url = self._listen()
        """The URL for its clients."""
        self._thread = threading.Thread(target=self._accept, name="proxy")
        self._thread.start()

    def _listen(self) -> str:
        if self._router.unix:
            path = f"{self._router.path}.{next(_numbers)}"
            self._listener.bind(path)
            url = f"unix://{path}"
        else:
            self._listener.bind(("127.0.0.1", 0))
            port = self._listener.getsockname()[1]
            url = self._router.url.replace(f":{self._router.port}", f":{port}")
        self._listener.listen(128)
        return url

    def stall(self, direction: str) -> None:
        """Carry nothing more in a direction, and keep all connections."""
        self._gates[direction].clear()

    def hold(self, direction: str) -> None:
        """Wait as long as the line is stalled or slow."""
        self._gates[direction].wait()
        if self.delay:
            time.sleep(self.delay)

    def cut(self, *, reset: bool = True) -> None:
        """Cut all lines."""
        for line in list(self.lines):
            line.cut(reset=reset)

    def mend(self) -> None:
        """Undo all faults."""
        self.delay, self.refusing, self.frail = 0.0, False, False
        for gate in self._gates.values():
            gate.set()

    def close(self) -> None:
        """Cut all connections, and stop listening."""
        self.mend()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                if self.refusing:
                    raise ConnectionRefusedError
                router = self._connect()
            except OSError:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                client.close()
                continue
            if not self._router.unix:
                for each in (client, router):
                    each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.lines.add(Line(self, client, router))

    def _connect(self) -> socket.socket:
        router = socket.socket(self._router.family)
        try:
            router.settimeout(5)
            router.connect(self._router.address)
            router.settimeout(None)
        except BaseException:
            router.close()
            raise
        return router
