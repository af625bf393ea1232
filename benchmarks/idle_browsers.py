"""Many idle WebSockets: ``python -m benchmarks.idle_browsers [--browsers 10000]``.

Starts the built-in router and opens WebSockets that subscribe to one topic and then say nothing. Prints the
router's memory, its CPU while all are idle, and how long one event takes to the first and to the last of
them. All of it is on this machine, the browsers in one process.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import select
import socket
import subprocess
import sys
import time
from pathlib import Path

from flask_wamp.crossbar import free_port

HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    b"Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
)
HELLO = [1, "realm1", {"roles": {"publisher": {}, "subscriber": {}}}]
IDLE = 5.0
"""Seconds for which the CPU is measured."""


def frame(message: list[object]) -> bytes:
    """Return a message as a masked text frame, with a mask of zeros."""
    data = json.dumps(message).encode()
    assert len(data) < 126
    return bytes((0x81, 0x80 | len(data))) + bytes(4) + data


def join(port: int, number: int = 0) -> socket.socket:
    """Open a WebSocket and join the realm; from several addresses, for each may open so many only."""
    source = (f"127.0.0.{2 + number // 4000}", 0)
    sock = socket.create_connection(("127.0.0.1", port), source_address=source)
    sock.sendall(HANDSHAKE + frame(HELLO))
    read_until(sock, b"[2,")
    return sock


def read_until(sock: socket.socket, what: bytes) -> None:
    """Read until this has come."""
    data = b""
    while what not in data:
        more = sock.recv(65536)
        assert more, data
        data += more


def memory_of(pid: int) -> float:
    """Return the resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def cpu_of(pid: int) -> float:
    """Return the CPU time of a process, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for_event(socks: list[socket.socket]) -> tuple[float, float]:
    """Return when the first and the last of the sockets have something to read."""
    poll = select.epoll()
    for sock in socks:
        poll.register(sock.fileno(), select.EPOLLIN | select.EPOLLONESHOT)
    left, first = len(socks), 0.0
    while left:
        found = len(poll.poll(30))
        assert found, f"{left} have got nothing"
        first = first or time.monotonic()
        left -= found
    poll.close()
    return first, time.monotonic()


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--browsers", type=int, default=10_000)
    count = parser.parse_args().browsers
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    port = free_port()
    command = [sys.executable, "-m", "flask_wamp.router", f"--url=ws://127.0.0.1:{port}/ws"]
    router = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert router.stdout is not None
        assert b"ready" in router.stdout.readline()
        empty = memory_of(router.pid)
        socks = []
        for number in range(count):
            sock = join(port, number)
            sock.sendall(frame([32, 1, {}, "com.news"]))
            read_until(sock, b"[33,")
            socks.append(sock)
        full = memory_of(router.pid)
        before = cpu_of(router.pid)
        time.sleep(IDLE)
        cpu = (cpu_of(router.pid) - before) / IDLE
        publisher = join(port)
        begun = time.monotonic()
        publisher.sendall(frame([16, 1, {}, "com.news", ["hello"]]))
        first, last = wait_for_event(socks)
        print(f"browsers           {count}")
        print(f"memory, empty      {empty:.0f} MB")
        print(f"memory             {full:.0f} MB, {(full - empty) * 1024 / count:.1f} kB each")
        print(f"CPU while idle     {cpu:.2%} of a core")
        print(f"event, first       {(first - begun) * 1000:.0f} ms")
        print(f"event, last        {(last - begun) * 1000:.0f} ms")
        for sock in [*socks, publisher]:
            with contextlib.suppress(OSError):
                sock.close()
    finally:
        router.terminate()
        router.wait(30)


if __name__ == "__main__":
    main()
