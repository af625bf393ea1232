"""Connections of browsers, handed over by the processes that serve the app.

The process that got the WebSocket handshake as an HTTP request sends the connection itself (its file
descriptor), who the browser is, and the request, and has nothing to do with the connection any more. It
holds no thread, and the connection outlives the process.

A handover is one connection to a unix socket: the length of a header, the header as JSON, the request. The
answer is one byte: ``+``, or ``-`` and the reason.
"""

from __future__ import annotations

import array
import dataclasses
import json
import socket
import typing as t

from ...protocol.identity import BrowserIdentity

#: Seconds for one handover: a process sends it in one go.
TIMEOUT = 5.0


class Handover(t.NamedTuple):
    """What is known of a browser that is handed over."""

    address: str
    """Its IP address, as the app sees it."""

    secure: bool
    """Whether it came over TLS, as the app sees it."""

    identity: BrowserIdentity | None
    """Who it is by the app's authenticator; None: its ticket will say."""


def pack(handover: Handover, request: bytes) -> bytes:
    """Return the bytes of a handover."""
    identity = handover.identity
    header = json.dumps(
        {
            "address": handover.address,
            "secure": handover.secure,
            "identity": None if identity is None else dataclasses.asdict(identity),
        }
    ).encode()
    return len(header).to_bytes(4, "big") + header + request


def unpack(data: bytes) -> tuple[Handover, bytes]:
    """Take a handover apart.

    :raises ValueError: It is none.
    """
    size = int.from_bytes(data[:4], "big")
    header = json.loads(data[4 : 4 + size])
    identity = header["identity"]
    found = None if identity is None else BrowserIdentity(**identity)
    return Handover(str(header["address"]), bool(header["secure"]), found), data[4 + size :]


def hand_over(path: str, fds: t.Sequence[int], handover: Handover, request: bytes) -> None:
    """Give a connection to the router; returns when the router has it.

    Blocks the thread for some hundred microseconds, at most :data:`TIMEOUT`.

    :param fds: The connection's descriptor, and perhaps one to be kept open until its other end is
        closed. The caller closes its own copies.
    :raises OSError: The router is not there, or refuses.
    """
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(TIMEOUT)
        sock.connect(path)
        data = pack(handover, request)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
        sent = sock.sendmsg([data], [rights])
        if sent < len(data):
            sock.sendall(data[sent:])
        sock.shutdown(socket.SHUT_WR)
        answer = sock.recv(1000)
    if answer != b"+":
        reason = answer[1:].decode(errors="replace") or "it closed the connection"
        raise ConnectionRefusedError(f"the router did not take the connection: {reason}")
