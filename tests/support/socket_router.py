"""The router in memory, behind a real port: RawSocket over TCP, for clients in other processes."""

from __future__ import annotations

import contextlib
import socket
import threading

from flask_wamp.exceptions import TransportError
from flask_wamp.transports.rawsocket import RawSocketFraming
from tests.support.memory import MemoryRouter
from tests.support.memory_transport import MemoryTransport

SERIALIZERS = {1: "json", 2: "msgpack", 3: "cbor"}


class SocketRouter(MemoryRouter):
    """Listens on a local port, a free one by default, while a ``with`` block runs."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, name="socket-router")
        self.sockets: dict[MemoryTransport, socket.socket] = {}
        self._serving: list[threading.Thread] = []

    def __enter__(self) -> SocketRouter:
        self._accepting.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        self.drop()
        for thread in self._serving:
            thread.join()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                self._serving.append(threading.Thread(target=self._serve, args=[sock]))
                self._serving[-1].start()

    def _serve(self, sock: socket.socket) -> None:
        """Forward the client's messages in this thread, and those of the router in another one."""
        with sock:
            transport = self._shake_hands(sock)
            self.sockets[transport] = sock
            sending = threading.Thread(target=self._send_all, args=[transport, sock])
            sending.start()
            with contextlib.suppress(OSError, TransportError):
                self._receive_all(transport, sock)
            transport.cut()
            sending.join()

    def _receive_all(self, transport: MemoryTransport, sock: socket.socket) -> None:
        framing = RawSocketFraming(2**24)
        while data := sock.recv(65536):
            transport.send([bytes(message) for message in framing.feed(data)])

    def _send_all(self, transport: MemoryTransport, sock: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while (messages := transport.receive()) is not None:
                sock.sendall(b"".join(map(RawSocketFraming.frame, messages)))
            sock.shutdown(socket.SHUT_RDWR)

    def _shake_hands(self, sock: socket.socket) -> MemoryTransport:
        hello = sock.recv(4)
        with self._changed:
            self.attempts += 1
            self._changed.notify_all()
            transport = MemoryTransport(self, SERIALIZERS[hello[1] & 0x0F])
        sock.sendall(bytes([0x7F, 0xF0 | hello[1] & 0x0F, 0, 0]))
        return transport
