"""The router in memory, behind a real port: RawSocket over TCP, for clients in other processes."""

from __future__ import annotations

import contextlib
import socket
import threading

from flask_wamp.transports.rawsocket import RawSocketFraming
from tests.support.memory import MemoryRouter
from tests.support.memory_transport import MemoryTransport

SERIALIZERS = {1: "json", 2: "msgpack", 3: "cbor"}


class SocketTransport(MemoryTransport):
    """The router's end of a TCP connection."""

    def __init__(self, router: SocketRouter, serializer: str, sock: socket.socket) -> None:
        super().__init__(router, serializer)
        self.sock = sock

    def put_bytes(self, data: bytes) -> None:
        """Send a frame."""
        with contextlib.suppress(OSError):
            self.sock.sendall(RawSocketFraming.frame(data))

    def end(self) -> None:
        """Close the connection."""
        self.cut = True
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()


class SocketRouter(MemoryRouter):
    """Listens on a port of this machine, a free one by default, while a ``with`` block runs."""

    def __init__(self, port: int = 0) -> None:
        super().__init__()
        self._listener = socket.create_server(("127.0.0.1", port), backlog=128)
        self.url = f"tcp://127.0.0.1:{self._listener.getsockname()[1]}"
        self._accepting = threading.Thread(target=self._accept, name="socket-router")
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
        with sock, contextlib.suppress(OSError):
            transport = self._shake_hands(sock)
            framing = RawSocketFraming(2**24)
            while data := sock.recv(65536):
                for message in framing.feed(data):
                    self.receive(transport, transport.router_serializer.decode(message))
            self.hang_up(transport)

    def _shake_hands(self, sock: socket.socket) -> SocketTransport:
        hello = sock.recv(4)
        with self._changed:
            self.attempts += 1
            transport = SocketTransport(self, SERIALIZERS[hello[1] & 0x0F], sock)
            self.transports.append(transport)
            self._changed.notify_all()
        sock.sendall(bytes([0x7F, 0xF0 | hello[1] & 0x0F, 0, 0]))
        return transport
