"""The floor: a blocking loop over a socket with msgspec, no dispatch, no thread.

``floor.py URL msgpack ROLE 1 [batch]``: it answers each message separately, or all messages of one receive
with one send.
"""

from __future__ import annotations

import socket
import sys
import typing as t
import urllib.parse

import msgspec

encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode
parts = urllib.parse.urlsplit(sys.argv[1])
sock = socket.create_connection((parts.hostname, parts.port))
sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
batch = "batch" in sys.argv
had = 0


def frame(message: t.Any) -> bytes:
    """Encode, with RawSocket's header."""
    data = encode(message)
    return len(data).to_bytes(4, "big") + data


def answer(m: t.Any) -> bytes:
    """Return the answer to a message."""
    global had
    if m[0] == 68:
        return frame([70, m[1], {}, [m[4][0] + m[4][1]] if m[2] == 1 else m[4]])
    if m[0] == 36:
        n, mark = m[4]
        had = had + 1 if had == n else -1
        if mark:
            had, count = 0, had
            return frame([16, 9, {}, "com.bench.done", [count]])
    if m[0] == 2:
        procedures = ("add", "echo", "busy")
        return b"".join(frame([64, n, {}, f"com.bench.{p}"]) for n, p in enumerate(procedures)) + (
            frame([32, 7, {}, "com.bench.topic"]) + frame([32, 8, {}, "com.bench.slow"])
        )
    return b""


sock.sendall(b"\x7f\xf2\0\0")
sock.recv(4)
sock.sendall(frame([1, "realm1", {"roles": {}}]))
rest = b""
while data := sock.recv(65536):
    rest += data
    at, end, out = 0, len(rest), []
    while end - at >= 4:
        stop = at + 4 + int.from_bytes(rest[at + 1 : at + 4], "big")
        if stop > end:
            break
        reply = answer(decode(memoryview(rest)[at + 4 : stop]))
        if batch:
            out.append(reply)
        elif reply:
            sock.sendall(reply)
        at = stop
    rest = rest[at:]
    if any(out):
        sock.sendall(b"".join(out))
