"""The clients that take part, and their transports."""

from __future__ import annotations

import contextlib
import os
import typing as t

from . import machine
from .stand_in import StandIn

TRANSPORTS = {
    "ws+json": ("ws", "json"),
    "ws+msgpack": ("ws", "msgpack"),
    "RawSocket+msgpack": ("rawsocket", "msgpack"),
}
BEST = "RawSocket+msgpack"


class Contestant(t.NamedTuple):
    """A client program, and its features."""

    name: str
    program: str
    extra: tuple[str, ...] = ()
    transports: tuple[str, ...] = tuple(TRANSPORTS)
    roles: tuple[str, ...] = ("serve", "events", "call", "publish", "publish-acknowledged")
    environ: t.Mapping[str, str] = {}

    @property
    def ours(self) -> bool:
        """Whether it is Flask-WAMP."""
        return self.program == "ours"


OURS = Contestant("ours", "ours")
AGAIN = Contestant("ours, again", "ours")
GEVENT = Contestant("ours, gevent", "ours", ("gevent",))
ASYNCIO = Contestant("autobahn asyncio", "autobahn_asyncio")
TWISTED = Contestant("autobahn twisted", "autobahn_twisted")
XCONN = Contestant("xconn", "xconn_threads")
WAMPY = Contestant(
    "wampy",
    "wampy_gevent",
    transports=("ws+json",),
    roles=("serve", "call"),
    environ={"PYTHONPATH": os.environ.get("BENCH_WAMPY", "")},
)
FLOOR = Contestant("bare loop", "floor", transports=(BEST,), roles=("serve", "events"))
"""One send per answer, for the target."""
BATCHING = FLOOR._replace(name="bare loop, batching", extra=("batch",))
"""One send for all answers to one receive, the minimum that is possible in Python."""

EVERYBODY = (OURS, ASYNCIO, TWISTED, XCONN, GEVENT, WAMPY, FLOOR, BATCHING)


@contextlib.contextmanager
def joined(
    who: Contestant, transport: str, role: str, count: int = 1, connections: int = 1
) -> t.Iterator[StandIn]:
    """A client in a separate process, joined to a stand-in router."""
    framing, serializer = TRANSPORTS[transport]
    with StandIn(framing) as router, run(who, router.url, serializer, role, count) as process:
        for _ in range(connections):
            router.accept(process.pid)
        yield router


def run(who: Contestant, url: str, serializer: str, role: str, count: int = 1) -> t.Any:
    """Start the client's process."""
    program = str(machine.CLIENTS / f"{who.program}.py")
    return machine.running([program, url, serializer, role, str(count), *who.extra], **who.environ)
