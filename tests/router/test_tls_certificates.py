"""Certificates that are expired, not yet valid, self-signed or of another authority, and those of clients.

The servers here stop after the handshake, because the result depends only on it.
"""

from __future__ import annotations

import contextlib
import logging
import pathlib
import socketserver
import ssl
import threading
import typing as t

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from tests.conftest import eventually
from tests.support.certificates import DAY, Authority
from tests.support.sockets import _Server

MakeApp = t.Callable[..., Flask]


class TLSServer(_Server):
    """Does the handshake and closes the connection. Records the peer, or the reason of a failure."""

    def __init__(self, certificate: tuple[str, str], client_ca: str | None = None) -> None:
        super().__init__(_ShakeHands, 0)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(*certificate)
        if client_ca:
            self.context.verify_mode = ssl.CERT_REQUIRED
            self.context.load_verify_locations(client_ca)
        self.seen: list[str] = []
        self.changed = threading.Semaphore(0)


class _ShakeHands(socketserver.BaseRequestHandler):
    server: TLSServer

    def handle(self) -> None:
        try:
            with self.server.context.wrap_socket(self.request, server_side=True) as tls:
                tls.recv(1)
                peer = tls.getpeercert() or {}
            name = dict(pair for rdn in peer.get("subject", ()) for pair in rdn)
            self.server.seen.append(f"welcome {name.get('commonName', 'anybody')}")
        except (ssl.SSLError, OSError) as error:
            self.server.seen.append(f"refused {error}")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def why_not_joined(make_app: MakeApp, scheme: str, server: TLSServer, **config: t.Any) -> str:
    url = f"{scheme}://127.0.0.1:{server.port}"
    wamp = FlaskWAMP(make_app(WAMP_ROUTER_URL=url, WAMP_SERIALIZERS=["msgpack"], **config))
    wamp.start()
    eventually(lambda: server.seen, 20)
    with contextlib.suppress(NotJoined):
        wamp.client.wait_until_joined(0.2)
    with pytest.raises(NotJoined) as raised:
        wamp.client.wait_until_joined(0)
    wamp.stop()
    return str(raised.value)


REFUSED: dict[str, tuple[dict[str, t.Any], list[str]]] = {
    "expired": ({"start": -2 * DAY, "end": -DAY}, ["certificate has expired", "a new one"]),
    "not yet valid": ({"start": DAY, "end": 2 * DAY}, ["not yet valid", "check the clocks"]),
    "self-signed": ({"self_signed": True}, ["self-signed", "set WAMP_TLS_CA"]),
    "wrong host": ({"host": "127.0.0.2"}, ["IP address mismatch", "must have the address"]),
}


@pytest.mark.parametrize("scheme", ["wss", "tls"])
@pytest.mark.parametrize(("how", "said"), REFUSED.values(), ids=REFUSED)
def test_a_bad_certificate_is_refused(
    make_app: MakeApp,
    authority: Authority,
    caplog: pytest.LogCaptureFixture,
    scheme: str,
    how: dict[str, t.Any],
    said: list[str],
) -> None:
    caplog.set_level(logging.WARNING)
    with TLSServer(authority.issue("router", **how)) as server:
        why = why_not_joined(make_app, scheme, server, WAMP_TLS_CA=authority.path)
    assert all(text in why for text in ["certificate was refused", *said]), why
    assert all(seen.startswith("refused") for seen in server.seen), "no byte of ours came"
    assert "certificate was refused" in caplog.text


@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_a_valid_certificate_is_accepted(
    make_app: MakeApp, authority: Authority, scheme: str
) -> None:
    with TLSServer(authority.issue("router")) as server:
        why = why_not_joined(make_app, scheme, server, WAMP_TLS_CA=authority.path)
    assert "certificate" not in why
    assert server.seen[0] == "welcome anybody"


@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_a_client_certificate_is_sent(make_app: MakeApp, authority: Authority, scheme: str) -> None:
    cert, key = authority.issue("shop")
    with TLSServer(authority.issue("router"), authority.path) as server:
        config = {"WAMP_TLS_CA": authority.path, "WAMP_TLS_CERT": cert, "WAMP_TLS_KEY": key}
        why_not_joined(make_app, scheme, server, **config)
    assert server.seen[0] == "welcome shop"


@pytest.mark.parametrize("shown", ["none", "of another authority"])
@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_the_error_of_an_unknown_client_certificate_says_so(
    make_app: MakeApp,
    authority: Authority,
    tmp_path: pathlib.Path,
    scheme: str,
    shown: str,
) -> None:
    config = {"WAMP_TLS_CA": authority.path}
    if shown != "none":
        cert, key = Authority(tmp_path, "other").issue("shop")
        config |= {"WAMP_TLS_CERT": cert, "WAMP_TLS_KEY": key}
    with TLSServer(authority.issue("router"), authority.path) as server:
        why = why_not_joined(make_app, scheme, server, **config)
    assert server.seen[0].startswith("refused")
    # A reset may come before the alert is read.
    assert "see WAMP_TLS_CERT" in why or "broke" in why, why
