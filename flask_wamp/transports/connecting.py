"""Connects over TCP: tries the addresses of a host in parallel, and uses the first that answers.

Source: RFC 8305, "Happy Eyeballs", sections 4 and 5.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import typing as t

from ..concurrency.clock import monotonic

ATTEMPT_DELAY = 0.25
"""Seconds until the next address is tried, if none has answered. Source: RFC 8305, section 5."""

CHECK_INTERVAL = 0.1
"""Seconds between two checks whether another thread has closed the sockets."""

_IN_PROGRESS = frozenset({errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EAGAIN})

Address = tuple[int, t.Any]
"""A family of sockets, and an address for one."""


def addresses_of(host: str, port: int) -> list[Address]:
    """Return the addresses of a host. IPv4 and IPv6 addresses alternate.

    :raises OSError: The name is unknown.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    addresses = [(int(family), address) for family, *_, address in found]
    first = [each for each in addresses if each[0] == addresses[0][0]]
    others = [each for each in addresses if each[0] != addresses[0][0]]
    # Section 4: "interleave address families", so that a broken family does not take all the time.
    in_turn: list[Address] = []
    while first or others:
        in_turn += first[:1] + others[:1]
        del first[:1], others[:1]
    return in_turn


def connect(
    addresses: t.Sequence[Address], deadline: float, opened: t.Callable[[socket.socket], None]
) -> socket.socket:
    """Return a connected socket.

    :param deadline: The ``time.monotonic()`` at which to give up.
    :param opened: Called with every socket before it connects. Close a socket to end the attempt.
    :raises OSError: No address has answered. This is the error of the last address that failed.
    """
    attempts = _Attempts(opened)
    try:
        return attempts.first(list(addresses), deadline)
    finally:
        attempts.close_others()


class _Attempts:
    def __init__(self, opened: t.Callable[[socket.socket], None]) -> None:
        self._opened = opened
        self._selector = selectors.DefaultSelector()
        self._sockets: list[socket.socket] = []
        self._connected: socket.socket | None = None
        self._error: OSError = OSError(errno.EADDRNOTAVAIL, "the host has no address")

    def first(self, waiting: list[Address], deadline: float) -> socket.socket:
        next_at = monotonic()
        while self._connected is None:
            now = monotonic()
            if waiting and (now >= next_at or not self._sockets):
                self._start(*waiting.pop(0))
                next_at = now + ATTEMPT_DELAY
            elif not self._sockets:
                raise self._error
            elif now >= deadline:
                raise TimeoutError(errno.ETIMEDOUT, os.strerror(errno.ETIMEDOUT))
            elif self._wait(
                min(
                    CHECK_INTERVAL,
                    deadline - now,
                    max(0.0, next_at - now) if waiting else CHECK_INTERVAL,
                )
            ):
                next_at = now  # an attempt has failed, so try the next address at once
        self._connected.setblocking(True)
        return self._connected

    def _start(self, family: int, address: t.Any) -> None:
        sock = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(sock)
        self._opened(sock)
        sock.setblocking(False)
        code = sock.connect_ex(address)
        if code not in _IN_PROGRESS:
            self._ended(sock, code)
            return
        try:
            self._selector.register(sock, selectors.EVENT_WRITE)
        except ValueError:  # another thread has just closed the socket
            raise _aborted() from None

    def _wait(self, seconds: float) -> bool:
        """Wait for an answer. Return whether an attempt has failed."""
        failed = False
        for key, _ in self._selector.select(seconds):
            sock = t.cast(socket.socket, key.fileobj)
            self._selector.unregister(sock)
            closed = sock.fileno() < 0
            code = (
                errno.ECONNABORTED
                if closed
                else sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            )
            self._ended(sock, code)
            failed = failed or bool(code)
        if any(sock.fileno() < 0 for sock in self._sockets):
            raise _aborted()
        return failed

    def _ended(self, sock: socket.socket, code: int) -> None:
        if code == 0:
            self._connected = self._connected or sock
            return
        self._error = OSError(code, os.strerror(code))
        self._sockets.remove(sock)
        sock.close()

    def close_others(self) -> None:
        self._selector.close()
        for sock in self._sockets:
            if sock is not self._connected:
                sock.close()


def _aborted() -> OSError:
    return OSError(errno.ECONNABORTED, os.strerror(errno.ECONNABORTED))
