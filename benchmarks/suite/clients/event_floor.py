"""The floor for events: a loop that only receives and sends. ``event_floor.py PORT``.

It speaks just enough WebSocket and WAMP for the clients of :mod:`..crowd`: it looks for the beginnings of
their messages, and answers with bytes that are always the same.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import sys

from benchmarks.suite.crowd import MARK, PAYLOAD

DISCLOSED = {
    "publisher": 2**52,
    "publisher_authid": "MGY5-2L7B-9WQC",
    "publisher_authrole": "anonymous",
}


def frame(message: list[object]) -> bytes:
    """Return a message as an unmasked text frame."""
    data = json.dumps(message, separators=(",", ":")).encode()
    size = len(data)
    header = bytes((0x81, size)) if size < 126 else bytes((0x81, 126)) + size.to_bytes(2, "big")
    return header + data


WELCOME = frame([2, 1, {"roles": {"broker": {}}}])
SUBSCRIBED = frame([33, 1, 1])
EVENT = frame([36, 1, 2**52, DISCLOSED, [PAYLOAD]])

listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=1000)
poll = select.epoll()
poll.register(listener.fileno(), select.EPOLLIN)
clients: dict[int, socket.socket] = {}
subscribers: dict[int, socket.socket] = {}


def accept() -> None:
    """Accept a client."""
    sock, _ = listener.accept()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    clients[sock.fileno()] = sock
    poll.register(sock.fileno(), select.EPOLLIN)


def receive(number: int) -> None:
    """Answer what a client has sent."""
    sock = clients[number]
    data = b""
    with contextlib.suppress(ConnectionError):
        data = sock.recv(65536)
    if not data:
        poll.unregister(number)
        subscribers.pop(number, None)
        clients.pop(number).close()
    elif data.startswith(b"GET "):
        sock.send(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    elif b"[1," in data:
        sock.send(WELCOME)
    elif b"[32," in data:
        sock.send(SUBSCRIBED)
        subscribers[number] = sock
    else:
        events = EVENT * data.count(MARK.encode())
        with contextlib.suppress(ConnectionError):
            for subscriber in subscribers.values():
                subscriber.send(events)


print("ready", flush=True)
while True:
    for ready, _ in poll.poll():
        if ready == listener.fileno():
            accept()
        else:
            receive(ready)
