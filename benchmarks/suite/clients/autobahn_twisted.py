"""autobahn on Twisted. ``autobahn_twisted.py URL SERIALIZER ROLE COUNT``."""

from __future__ import annotations

import sys
import typing as t
import urllib.parse

import txaio
from autobahn_session import COUNT, ROLE, play

txaio.use_twisted()

from autobahn.twisted.rawsocket import WampRawSocketClientFactory  # noqa: E402
from autobahn.twisted.wamp import ApplicationSession  # noqa: E402
from autobahn.twisted.websocket import WampWebSocketClientFactory  # noqa: E402
from autobahn.wamp.serializer import JsonSerializer, MsgPackSerializer  # noqa: E402
from autobahn.wamp.types import ComponentConfig  # noqa: E402
from twisted.internet import reactor, task  # noqa: E402
from twisted.internet.defer import ensureDeferred  # noqa: E402
from twisted.internet.endpoints import TCP4ClientEndpoint  # noqa: E402

URL, SERIALIZER = sys.argv[1:3]


def sleep(seconds: float) -> t.Any:
    """asyncio.sleep."""
    return task.deferLater(reactor, seconds, lambda: None)


class Session(ApplicationSession):  # type: ignore[misc]
    """A session that plays the role."""

    def onJoin(self, details: t.Any) -> t.Any:
        """Begin."""
        return ensureDeferred(play(self, sleep, ensureDeferred))


def make() -> Session:
    """A session."""
    return Session(ComponentConfig("realm1"))


parts = urllib.parse.urlsplit(URL)
serializer = {"json": JsonSerializer, "msgpack": MsgPackSerializer}[SERIALIZER]()
factory: t.Any
if parts.scheme == "ws":
    factory = WampWebSocketClientFactory(make, url=URL, serializers=[serializer])
    factory.setProtocolOptions(tcpNoDelay=True)
else:
    factory = WampRawSocketClientFactory(make, serializer=serializer)
for _ in range(COUNT if ROLE == "idle" else 1):
    TCP4ClientEndpoint(reactor, parts.hostname, parts.port).connect(factory)
reactor.run(installSignalHandlers=False)
