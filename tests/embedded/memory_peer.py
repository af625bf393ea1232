"""A client of a router in memory that uses only a transport."""

from __future__ import annotations

import typing as t

from flask_wamp.protocol.identity import Identity
from flask_wamp.router.memory import MemoryRouter, MemoryTransport
from flask_wamp.transports import TLSSettings, parse_router_url
from tests.embedded.pair import ROLES, decode, encode

URL = parse_router_url("memory:")


class Peer:
    """A client that sends and receives messages as lists."""

    def __init__(
        self, router: MemoryRouter, identity: Identity | None = None, serializer: str = "json"
    ) -> None:
        opener = router.opener(identity) if identity else router.open_transport
        transport = opener(
            URL,
            serializers=[serializer],
            max_message_size=2**20,
            timeout=5,
            tls=TLSSettings(),
        )
        assert isinstance(transport, MemoryTransport)
        self.transport = transport
        self.serializer = serializer
        self.inbox: list[t.Any] = []

    def send(self, *message: t.Any) -> None:
        self.transport.send([encode(self.serializer, list(message))])

    def take(self) -> t.Any:
        while not self.inbox:
            messages = self.transport.receive()
            assert messages is not None, "the router has closed the connection"
            self.inbox += [decode(self.serializer, bytes(data)) for data in messages]
        return self.inbox.pop(0)

    def join(self) -> t.Any:
        self.send(1, "realm1", {"roles": ROLES})
        return self.take()[2]
