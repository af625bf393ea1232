"""A router that stops reading on demand, for clients in other processes."""

from __future__ import annotations

import socket
import threading
import typing as t

from flask_wamp.protocol import messages as m
from flask_wamp.protocol.serializers import Buffer
from flask_wamp.transports.rawsocket import RawSocketFraming
from tests.support.memory_transport import MemoryTransport
from tests.support.socket_router import SocketRouter

_PING, _PONG = 1, 2


class _Framing(RawSocketFraming):
    """Counts pongs."""

    def __init__(self) -> None:
        super().__init__(2**24)
        self.seen = 0

    def _frames(self, data: bytes, is_full: bool) -> list[Buffer]:
        at = 0
        while at + 4 <= len(data):
            end = at + 4 + int.from_bytes(data[at + 1 : at + 4], "big")
            self.seen += data[at] == _PONG and end <= len(data)
            at = end
        return super()._frames(data, is_full)


class StallingRouter(SocketRouter):
    """Continues to send while it does not read. Does not keep payloads."""

    def __init__(self) -> None:
        super().__init__()
        # The system buffers little here, so unsent bytes wait in the client.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        self._reading = threading.Event()
        self._reading.set()
        self.published: dict[str, list[int]] = {}
        """The numbers that each writer has published, in order of arrival."""
        self.pongs_after: list[int] = []
        """For each pong, the number of publications before it."""

    def __exit__(self, *exc_info: object) -> None:
        self.go_on()
        super().__exit__(*exc_info)

    def stop_reading(self) -> None:
        """Stop reading after the current receive."""
        self._reading.clear()

    def go_on(self) -> None:
        """Read again."""
        self._reading.set()

    def ping(self) -> None:
        """Send a ping on the newest connection."""
        with self._changed:
            self.sockets[self.transports[-1]].sendall(bytes([_PING, 0, 0, 0]))

    @property
    def publications(self) -> int:
        """The number of received publications."""
        return sum(map(len, list(self.published.values())))

    def take(self, transport: MemoryTransport, message: t.Any) -> m.Message | None:
        """Count a publication, and drop it."""
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
