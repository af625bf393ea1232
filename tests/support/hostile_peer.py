"""A peer that sends invalid messages over RawSocket, and joins again when the router ends its session."""

from __future__ import annotations

import contextlib
import itertools
import socket
import typing as t

from flask_wamp.transports import Address
from flask_wamp.transports.rawsocket import RawSocketFraming
from tests.support.hostile import DEEP, array, encode, mapping, odd_values

IDS = {"json": 1, "msgpack": 2, "cbor": 3}

PATIENCE = 20.0


class HostilePeer:
    """A session of its own with a router.

    :param address: Host and port of a RawSocket listener, or the path of its unix socket.
    :param name: The serializer it speaks.
    """

    def __init__(self, address: Address, name: str, realm: str = "realm1") -> None:
        self.name = name
        self.kicked = 0
        """The number of its sessions that the router has ended."""
        self._address = address
        self._realm = realm
        self._ids = itertools.count(1)
        self._socket: socket.socket | None = None

    def requests(self, procedure: str, topic: str) -> t.Iterator[bytes]:
        """Create a CALL and a PUBLISH for each unusual value, as a payload and inside of one."""
        name = self.name
        empty, nothing = encode(name, {}), encode(name, [])
        # Deeper values crash Crossbar 26.10 if it has to encode them in CBOR.
        for value in odd_values(name, deepest=DEEP[1]).values():
            payloads = (
                [value],
                [nothing, value],
                [array(name, [value]), mapping(name, [(encode(name, "k"), value)])],
            )
            for kind, target in ((48, procedure), (16, topic)):
                for payload in payloads:
                    head = [encode(name, kind), b"", empty, encode(name, target)]
                    yield self._numbered(head, payload)

    def _numbered(self, head: list[bytes], payload: list[bytes]) -> bytes:
        head[1] = encode(self.name, next(self._ids))
        return array(self.name, [*head, *payload])

    def send(self, data: bytes) -> None:
        """Send a message, in a new session if the router has ended the last one."""
        for _ in range(2):
            sock = self._socket or self._join()
            try:
                sock.sendall(RawSocketFraming.frame(data))
                self._drain(sock)
                return
            except OSError:
                self.close()
                self.kicked += 1

    def _drain(self, sock: socket.socket) -> None:
        """Read received bytes, because otherwise the router would stop reading."""
        sock.setblocking(False)
        try:
            with contextlib.suppress(BlockingIOError):
                while sock.recv(65536):
                    pass
                raise ConnectionError
        finally:
            sock.settimeout(PATIENCE)

    def _join(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX if isinstance(self._address, str) else socket.AF_INET)
        sock.settimeout(PATIENCE)
        sock.connect(self._address)
        self._ids = itertools.count(1)
        self._socket = sock
        sock.sendall(bytes([0x7F, 0xF0 | IDS[self.name], 0, 0]))
        roles = {role: {} for role in ("caller", "publisher")}
        hello = encode(self.name, [1, self._realm, {"roles": roles}])
        sock.sendall(RawSocketFraming.frame(hello))
        while len(sock.recv(65536)) <= 4:  # the handshake alone
            pass
        return sock

    def close(self) -> None:
        """End the session."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def __enter__(self) -> HostilePeer:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()
