"""Handover of browser connections from the app to the router.

A process of the app gets the WebSocket handshake as an HTTP request. It sends the router the connection's
file descriptor, the identity of the browser, and the request. The connection then needs no thread of the
process, and stays open when the process ends.

A handover is one connection to a unix socket. It carries the length of a header, the header as JSON, and the
request. The answer is ``+``, or ``-`` and the reason.
"""

from __future__ import annotations

import array
import dataclasses
import json
import socket
import typing as t

from ...protocol.identity import BrowserIdentity

#: Seconds for one handover.
TIMEOUT = 5.0


class Handover(t.NamedTuple):
    """What the app tells the router about a browser's connection."""

    address: str
    """Its IP address, as the app sees it."""

    secure: bool
    """Whether the request came over TLS, as the app sees it."""

    app: str
    """The name of the app: the prefix of its own URIs."""

    identity: BrowserIdentity | None
    """The identity from the app's authenticator. None if the browser is to authenticate itself."""


def pack(handover: Handover, request: bytes) -> bytes:
    """Return the bytes of a handover."""
    identity = handover.identity
    header = json.dumps(
        {
            "address": handover.address,
            "secure": handover.secure,
            "app": handover.app,
            "identity": None if identity is None else dataclasses.asdict(identity),
        }
    ).encode()
    return len(header).to_bytes(4, "big") + header + request


def unpack(data: bytes) -> tuple[Handover, bytes]:
    """Return the handover and the request from its bytes.

    :raises ValueError: The bytes are not a handover.
    """
    size = int.from_bytes(data[:4], "big")
    header = json.loads(data[4 : 4 + size])
    identity = header["identity"]
    found = None if identity is None else BrowserIdentity(**identity)
    address, app = str(header["address"]), str(header["app"])
    return Handover(address, bool(header["secure"]), app, found), data[4 + size :]


def hand_over(path: str, fds: t.Sequence[int], handover: Handover, request: bytes) -> None:
    """Hand a connection over to the router. Return when the router has accepted it.

    This blocks the thread for some hundred microseconds, and at most for :data:`TIMEOUT` seconds.

    :param fds: The connection's descriptor, and optionally one that the router keeps open until its other end
        is closed. The caller closes its own copies.
    :raises OSError: The router is not running, or refuses the connection.
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
        raise ConnectionRefusedError(f"the router refused the connection: {reason}")
