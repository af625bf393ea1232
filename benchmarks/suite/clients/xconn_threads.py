"""xconn's blocking client. ``xconn_threads.py URL SERIALIZER ROLE COUNT``."""

from __future__ import annotations

import sys
import threading
import time
import typing as t

from xconn import Client, JSONSerializer, MsgPackSerializer
from xconn.types import Event, Invocation, Result, TransportConfig

URL, SERIALIZER, ROLE, COUNT = *sys.argv[1:4], int(sys.argv[4])

serializer = {"json": JSONSerializer, "msgpack": MsgPackSerializer}[SERIALIZER]()
# Without tcp_nodelay, a call takes 44 ms over RawSocket.
config = TransportConfig(tcp_nodelay=True)
session = Client(serializer=serializer, config=config).connect(URL, "realm1")
had = 0


def topic(event: Event) -> None:
    """Count the events, if they arrive in order."""
    global had
    n, mark = event.args
    had = had + 1 if had == n else -1
    if mark:
        session.publish("com.bench.done", [had])
        had = 0


def slow(event: Event) -> None:
    """Take a millisecond."""
    time.sleep(0.001)


def busy(invocation: Invocation) -> Result:
    """Take as long as asked."""
    time.sleep(invocation.args[0] / 1000)
    return Result(invocation.args)


def forever(work: t.Callable[[], object]) -> None:
    """Repeat a request without a pause."""
    while True:
        work()


if ROLE == "serve":
    session.register("com.bench.add", lambda call: Result([call.args[0] + call.args[1]]))
    session.register("com.bench.echo", lambda call: Result(call.args))
    session.register("com.bench.busy", busy)
    session.subscribe("com.bench.topic", topic)
    session.subscribe("com.bench.slow", slow)
works = {
    "call": lambda: session.call("com.bench.add", [1, 2]),
    "publish": lambda: session.publish("com.bench.topic", [1]),
    "publish-acknowledged": lambda: session.publish(
        "com.bench.topic", [1], options={"acknowledge": True}
    ),
}
if ROLE in works:
    for _ in range(COUNT):
        threading.Thread(target=forever, args=[works[ROLE]], daemon=True).start()
time.sleep(3600)
