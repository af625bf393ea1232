"""autobahn on asyncio. ``autobahn_asyncio.py URL SERIALIZER ROLE COUNT``."""

from __future__ import annotations

import asyncio
import sys
import typing as t
import urllib.parse

import txaio
from autobahn_session import COUNT, ROLE, play

txaio.use_asyncio()

from autobahn.asyncio.rawsocket import WampRawSocketClientFactory  # noqa: E402
from autobahn.asyncio.wamp import ApplicationSession  # noqa: E402
from autobahn.asyncio.websocket import WampWebSocketClientFactory  # noqa: E402
from autobahn.wamp.serializer import JsonSerializer, MsgPackSerializer  # noqa: E402
from autobahn.wamp.types import ComponentConfig  # noqa: E402

URL, SERIALIZER = sys.argv[1:3]


class Session(ApplicationSession):  # type: ignore[misc]
    """A session that plays the role."""

    async def onJoin(self, details: t.Any) -> None:
        """Begin."""
        tasks = set()
        await play(self, asyncio.sleep, lambda work: tasks.add(asyncio.ensure_future(work)))


async def main() -> None:
    """Connect, and wait to be killed."""
    parts = urllib.parse.urlsplit(URL)
    serializer = {"json": JsonSerializer, "msgpack": MsgPackSerializer}[SERIALIZER]()

    def make() -> Session:
        return Session(ComponentConfig("realm1"))

    factory: t.Any
    if parts.scheme == "ws":
        factory = WampWebSocketClientFactory(make, url=URL, serializers=[serializer])
        factory.setProtocolOptions(tcpNoDelay=True)
    else:
        factory = WampRawSocketClientFactory(make, serializer=serializer)
    loop = asyncio.get_running_loop()
    for _ in range(COUNT if ROLE == "idle" else 1):
        await loop.create_connection(factory, parts.hostname, parts.port)
    await asyncio.sleep(3600)


asyncio.run(main())
