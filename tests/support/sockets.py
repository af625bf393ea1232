"""Servers in the place of a router, or between a router and a client."""

from __future__ import annotations

import contextlib
import socket
import socketserver
import threading
import typing as t


class _Server(socketserver.ThreadingTCPServer):
    """A server in a separate thread, while a ``with`` block runs."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(
        self, handler: type[socketserver.BaseRequestHandler], port: int, host: str = "127.0.0.1"
    ) -> None:
        super().__init__((host, port), handler)
        self._serving = threading.Thread(
            target=self.serve_forever, args=[0.01], name=type(self).__name__
        )

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    def __enter__(self) -> t.Any:
        self._serving.start()
        return self

    def server_close(self) -> None:
        self.shutdown()
        self._serving.join()
        super().server_close()


class Impostor(_Server):
    """Answers any request with the same bytes, and closes the connection."""

    def __init__(self, answer: bytes) -> None:
        super().__init__(_Answer, 0)
        self.answer = answer
        self.asked = threading.Semaphore(0)
        """Released for every client."""
        self.received = bytearray()
        """The bytes of all clients."""


class _Answer(socketserver.BaseRequestHandler):
    server: Impostor

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            self.server.received += self.request.recv(4096)
            self.request.sendall(self.server.answer)
            self.server.asked.release()


class Forwarder(_Server):
    """Forwards connections to a router's port, as long as it is not cut.

    :param url: The router's ``tcp://`` URL.
    """

    def __init__(self, url: str, port: int = 0, host: str = "127.0.0.1") -> None:
        super().__init__(_Forward, port, host)
        router_host, _, router_port = url.removeprefix("tcp://").partition(":")
        self.router = (router_host, int(router_port))
        self.passing = True
        self.sockets: set[socket.socket] = set()

    @property
    def url(self) -> str:
        """The URL of the forwarder."""
        return f"tcp://{self.server_address[0]}:{self.port}"

    def cut(self) -> None:
        """Break all connections, and refuse new ones."""
        self.passing = False
        for each in list(self.sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def mend(self) -> None:
        """Accept connections again."""
        self.passing = True


class _Forward(socketserver.BaseRequestHandler):
    server: Forwarder

    def handle(self) -> None:
        if not self.server.passing:
            return
        with socket.create_connection(self.server.router) as router:
            self.server.sockets |= {router, self.request}
            back = threading.Thread(target=_pump, args=[router, self.request], name="pump")
            back.start()
            _pump(self.request, router)
            back.join()
            self.server.sockets -= {router, self.request}


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)
