"""wampy as a callee or a caller, over WebSocket and JSON. ``wampy_gevent.py URL SERIALIZER ROLE COUNT``."""

from __future__ import annotations

import logging
import sys
import time
import typing as t

from wampy.peers.clients import Client  # patches the process, as for its users
from wampy.roles.callee import callee

URL, ROLE = sys.argv[1], sys.argv[3]
logging.disable(logging.WARNING)  # it logs each payload, which should not be measured


class Bench(Client):  # type: ignore[misc]
    """A client. wampy uses the name of a method as its URI."""


def offer(name: str, function: t.Callable[..., t.Any]) -> None:
    """Register a function under a URI."""
    function.__name__ = name
    setattr(Bench, name, callee(function))


if ROLE == "serve":
    offer("com.bench.add", lambda self, a, b: a + b)
    offer("com.bench.echo", lambda self, value: value)
client = Bench(url=URL)
client.start()
while ROLE == "call":
    client.call("com.bench.add", 1, 2)
time.sleep(3600)
