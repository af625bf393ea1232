"""A router that stops reading when it is told to, for clients in other processes."""

from __future__ import annotations

import socket
import threading
import typing as t

from flask_wamp.protocol import messages as m
from flask_wamp.transports.rawsocket import RawSocketFraming
from tests.support.memory_transport import MemoryTransport
from tests.support.socket_router import SocketRouter

_PING, _PONG = 1, 2


class _Framing(RawSocketFraming):
    """Counts pongs."""

    def __init__(self) -> None:
        super().__init__(2**24)
        self.seen = 0

    def _check(self, kind: int, length: int) -> None:
        self.seen += kind == _PONG
        super()._check(kind, length)


class StallingRouter(SocketRouter):
    """Goes on sending while it does not read; keeps no payload of what it is sent."""

    def __init__(self) -> None:
        super().__init__()
        # The system takes little for us: what is unsent is with the client.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._reading = threading.Event()
        self._reading.set()
        self.published: dict[str, list[int]] = {}
        """The numbers each writer has published, as they came."""
        self.pongs_after: list[int] = []
        """For each pong: how many publications had come by then."""

    def __exit__(self, *exc_info: object) -> None:
        self.go_on()
        super().__exit__(*exc_info)

    def stop_reading(self) -> None:
        """Read nothing, after what is being waited for now."""
        self._reading.clear()

    def go_on(self) -> None:
        """Read again."""
        self._reading.set()

    def ping(self) -> None:
        """Send a ping to who connected last."""
        with self._changed:
            self.sockets[self.transports[-1]].sendall(bytes([_PING, 0, 0, 0]))

    @property
    def publications(self) -> int:
        """How many have come."""
        return sum(map(len, list(self.published.values())))

    def take(self, transport: MemoryTransport, message: t.Any) -> m.Message | None:
        """Count a publication, and forget it."""
        if not isinstance(message, m.Publish):
            return super().take(transport, message)
        writer, number, _ = message.args
        self.published.setdefault(writer, []).append(number)
        return None

    def _receive_all(self, transport: MemoryTransport, sock: socket.socket) -> None:
        framing = _Framing()
        while data := sock.recv(65536):
            for message in framing.feed(data):
                self._reading.wait()
                transport.send([bytes(message)])
            while len(self.pongs_after) < framing.seen:
                self.pongs_after.append(self.publications)
