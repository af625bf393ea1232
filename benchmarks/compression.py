"""The effect and cost of ``WAMP_COMPRESSION``: ``python benchmarks/compression.py``. It needs no router.

For several messages, it measures the bytes on the wire, and the CPU time for sending and for receiving one,
with and without compression. Compression pays where ``bytes saved / bandwidth`` is more than the time it
takes.
"""

from __future__ import annotations

import json
import random
import sys
import time
import typing as t
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.http11 import Request
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from flask_wamp.transports.websocket import WebSocketFraming

MAX = 16 * 1024 * 1024


def pair(compression: bool) -> tuple[WebSocketFraming, ServerProtocol]:
    """Return a client after its handshake, and its server."""
    client = WebSocketFraming("ws://localhost/ws", ["wamp.2.json"], MAX, compression)
    server = ServerProtocol(
        subprotocols=[Subprotocol("wamp.2.json")], extensions=[ServerPerMessageDeflateFactory()]
    )
    server.receive_data(b"".join(client.control))
    [request] = server.events_received()
    assert isinstance(request, Request)
    server.send_response(server.accept(request))
    client.feed(b"".join(server.data_to_send()))
    return client, server


def rows(count: int) -> bytes:
    """Return JSON of rows of a table."""
    chance = random.Random(7)
    made = [
        {"id": number, "name": f"tea {number % 40}", "price": round(chance.random() * 50, 2)}
        for number in range(count)
    ]
    return json.dumps([48, 1, {}, "com.example.store", [made]]).encode()


MESSAGES = {
    "rows, 1 KB": rows(20),
    "rows, 10 KB": rows(200),
    "rows, 100 KB": rows(2000),
    "rows, 1 MB": rows(20000),
    "noise, 100 KB": random.Random(7).randbytes(100_000),
}


def measure(run: t.Callable[[], object]) -> float:
    """Return the milliseconds of CPU time of the best of several runs."""
    times = []
    end = time.perf_counter() + 0.5
    while time.perf_counter() < end:
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times) * 1000


def main() -> None:
    """Print a table."""
    print(f"{'':14} {'plain':>9} {'sent':>9} {'saved':>6}   send ms (plain)   receive ms (plain)")
    for name, message in MESSAGES.items():
        times, sizes = [], []
        for compression in (True, False):
            client, server = pair(compression)
            sizes.append(len(client.frame(message, True)))
            send = measure(lambda client=client, message=message: client.frame(message, True))
            server.send_binary(message)
            frame = b"".join(server.data_to_send())
            receive = measure(lambda client=client, frame=frame: client.feed(frame))
            times.append((send, receive))
        (send, receive), (plain_send, plain_receive) = times
        print(
            f"{name:14} {sizes[1]:9} {sizes[0]:9} {1 - sizes[0] / sizes[1]:6.0%}"
            f"   {send:7.3f} ({plain_send:.3f})   {receive:10.3f} ({plain_receive:.3f})"
        )


if __name__ == "__main__":
    main()
