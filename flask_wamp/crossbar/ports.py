"""Check whether addresses of this machine are free, in use, or served by a WAMP router."""

from __future__ import annotations

import contextlib
import errno
import random
import socket
import ssl
import time
from pathlib import Path

from ..transports import Address, RouterURL
from .errors import RouterError

#: These are below the ephemeral ports of Linux (32768) and of the IANA (49152). On an ephemeral port, a
#: client that tries to reconnect may connect to itself, and the router could then not listen on it.
_FREE_PORTS = range(20000, 32000)

_PROBE_TIMEOUT = 1.0

_UPGRADE = (
    "GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: Zmxhc2std2FtcC1wcm9iZQ==\r\n"
    "Sec-WebSocket-Protocol: wamp.2.json\r\n\r\n"
)

#: The handshake of RawSocket: magic octet, maximum length and serializer (MessagePack), two reserved octets.
_RAWSOCKET = b"\x7f\xf2\x00\x00"


def free_port(*preferred: int) -> int:
    """Find a free TCP port of 127.0.0.1.

    :param preferred: Ports to try first, in this order.
    """
    # Tests may seed the shared generator, and would then all get the same ports.
    choices = random.SystemRandom().sample(_FREE_PORTS, k=100)
    for port in (*preferred, *choices):
        with contextlib.suppress(OSError):
            _bind(socket.AF_INET, ("127.0.0.1", port))
            return port
    raise RouterError("there is no free TCP port on 127.0.0.1")


def check_free(endpoint: RouterURL) -> None:
    """Check that a router can listen on an address.

    :raises RouterError: It cannot. The text says why.
    """
    if endpoint.unix:
        _check_unix(endpoint)
        return
    where = f"port {endpoint.port} on {endpoint.host}"
    try:
        _bind(endpoint.family, endpoint.address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise RouterError(
                f"{where} is in use by another program. Stop it, or choose another port "
                f"(WAMP_ROUTER_URL, now {endpoint.shown})"
            ) from None
        raise RouterError(f"cannot listen on {where}: {error.strerror}") from None


def wait_until_free(endpoint: RouterURL, timeout: float) -> None:
    """Wait until the address of a router that has ended is free, at most ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        try:
            check_free(endpoint)
        except RouterError:
            time.sleep(0.02)
        else:
            return


def answers(endpoint: RouterURL) -> bool:
    """Return whether a WAMP router accepts clients at an address.

    It is not enough that the TCP connection succeeds, because Crossbar opens the port of a Web transport
    before it serves its paths.
    """
    try:
        with _connect(endpoint) as connection:
            if endpoint.websocket:
                host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
                request = _UPGRADE.format(path=endpoint.path, host=host, port=endpoint.port)
                connection.sendall(request.encode())
                return b" 101 " in connection.recv(64)
            connection.sendall(_RAWSOCKET)
            return connection.recv(4)[:1] == _RAWSOCKET[:1]
    except OSError:
        return False


def _bind(family: socket.AddressFamily, address: Address) -> None:
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # Crossbar sets this option too. So an address is free even if connections of a router that has just
        # ended are still being closed.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)


def _check_unix(endpoint: RouterURL) -> None:
    path = Path(endpoint.path)
    if not path.parent.is_dir():
        raise RouterError(f"{endpoint.shown}: there is no folder {path.parent}")
    if path.exists() and not path.is_socket():
        raise RouterError(f"{endpoint.shown}: {path} is a file, but not a socket")
    try:
        _connect(endpoint).close()
    except OSError:
        path.unlink(missing_ok=True)  # a router that was killed has left it behind
    else:
        raise RouterError(
            f"{endpoint.shown} is in use by another program. Stop it, or choose another path"
        )


def _connect(endpoint: RouterURL) -> socket.socket:
    connection = socket.socket(endpoint.family, socket.SOCK_STREAM)
    try:
        connection.settimeout(_PROBE_TIMEOUT)
        connection.connect(endpoint.address)
        return _unverified(connection) if endpoint.secure else connection
    except BaseException:
        connection.close()
        raise


def _unverified(connection: socket.socket) -> socket.socket:
    """Start TLS without verifying the certificate, because this process has started the router."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(connection)
