"""Hosts with several addresses: one that does not answer does not delay the others."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
import typing as t

import pytest

from flask_wamp.exceptions import TransportError
from flask_wamp.transports import connecting
from flask_wamp.transports.connecting import Address, addresses_of, connect
from flask_wamp.transports.streams import TLSSettings, open_stream
from flask_wamp.transports.urls import parse_router_url

TIMEOUT = 10.0


@pytest.fixture
def silent() -> t.Iterator[Address]:
    """An address that neither accepts nor refuses connections: the queue of its socket is full."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        address = server.getsockname()
        for _ in range(8):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(address)
        yield socket.AF_INET, address


@pytest.fixture
def good() -> t.Iterator[Address]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield socket.AF_INET, server.getsockname()


@pytest.fixture
def refusing() -> Address:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return socket.AF_INET, server.getsockname()


def deadline(seconds: float = TIMEOUT) -> float:
    return time.monotonic() + seconds


def ignore(sock: socket.socket) -> None:
    """Nobody closes it."""


def connected(addresses: list[Address]) -> t.Any:
    with connect(addresses, deadline(), ignore) as sock:
        assert sock.gettimeout() is None
        return sock.getpeername()


def test_the_first_address_that_answers_is_used(
    silent: Address, refusing: Address, good: Address
) -> None:
    assert connected([good]) == good[1]
    assert connected([silent, good]) == good[1]
    assert connected([refusing, good]) == good[1]
    assert connected([silent, refusing, silent, good]) == good[1]


def test_the_deadline_applies_if_no_address_answers(silent: Address) -> None:
    with pytest.raises(TimeoutError):
        connect([silent, silent], deadline(0.5), ignore)


def test_the_error_has_the_reason_if_all_addresses_refuse(refusing: Address) -> None:
    with pytest.raises(ConnectionRefusedError):
        connect([refusing, refusing], deadline(), ignore)


def test_no_address_is_an_error() -> None:
    with pytest.raises(OSError, match="no address"):
        connect([], deadline(), ignore)


def test_an_address_of_an_unsupported_family(good: Address) -> None:
    unroutable = (socket.AF_INET6, ("100::1", good[1][1]))  # RFC 6666: discarded
    assert connected([unroutable, good]) == good[1]


def test_all_other_sockets_are_closed(silent: Address, good: Address) -> None:
    opened: list[socket.socket] = []
    with connect([silent, silent, good], deadline(), opened.append) as sock:
        assert [each is sock for each in opened if each.fileno() >= 0] == [True]
    assert len(opened) == 3


def test_closing_a_socket_ends_the_attempt(silent: Address) -> None:
    opened: list[socket.socket] = []
    known = threading.Event()

    def note(sock: socket.socket) -> None:
        opened.append(sock)
        known.set()

    def close() -> None:
        known.wait(TIMEOUT)
        with contextlib.suppress(OSError):
            opened[-1].shutdown(socket.SHUT_RDWR)
        opened[-1].close()

    thread = threading.Thread(target=close)
    thread.start()
    with pytest.raises(OSError):
        connect([silent], deadline(600), note)
    thread.join()


def test_closing_a_socket_while_it_starts_to_connect_ends_the_attempt(
    silent: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closing(socket.socket):
        def connect_ex(self, address: t.Any) -> int:
            code = super().connect_ex(address)
            self.close()
            return code

    monkeypatch.setattr(connecting.socket, "socket", Closing)
    with pytest.raises(ConnectionAbortedError):
        connect([silent], deadline(), lambda sock: None)


def test_address_families_alternate(monkeypatch: pytest.MonkeyPatch) -> None:
    v4, v6 = socket.AF_INET, socket.AF_INET6
    found = [(v6, 1, 6, "", (name, 1)) for name in "abc"] + [(v4, 1, 6, "", ("d", 1))]
    monkeypatch.setattr(connecting.socket, "getaddrinfo", lambda *args, **options: found)
    assert [address[0] for _, address in addresses_of("host", 1)] == ["a", "d", "b", "c"]


def test_a_router_whose_first_address_does_not_answer_is_reached(
    silent: Address, good: Address, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [(family, 1, 6, "", address) for family, address in (silent, good)]
    monkeypatch.setattr(connecting.socket, "getaddrinfo", lambda *args, **options: found)
    stream = open_stream(parse_router_url("tcp://router:80"), TLSSettings(), deadline())
    stream.close()


def test_an_unknown_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **options: object) -> t.NoReturn:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(connecting.socket, "getaddrinfo", unknown)
    with pytest.raises(TransportError, match="cannot connect to tcp://nowhere:80: Name or service"):
        open_stream(parse_router_url("tcp://nowhere:80"), TLSSettings(), deadline())
