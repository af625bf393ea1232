"""Certificates that are expired, not valid yet, self-signed or of another; and those of clients.

The servers here stop after the handshake: it is all that the answer depends on.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import logging
import pathlib
import socketserver
import ssl
import threading
import typing as t

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from flask import Flask

from flask_wamp import FlaskWAMP, NotJoined
from tests.conftest import eventually
from tests.support.sockets import _Server

MakeApp = t.Callable[..., Flask]

DAY = dt.timedelta(days=1)
PEM = serialization.Encoding.PEM


def _usage(ca: bool) -> x509.KeyUsage:
    others = ("content_commitment", "data_encipherment", "encipher_only", "decipher_only")
    return x509.KeyUsage(
        digital_signature=not ca,
        key_encipherment=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        key_agreement=False,
        **dict.fromkeys(others, False),
    )


class Authority:
    """Signs certificates; its own is ``ca.pem`` in the folder."""

    def __init__(self, folder: pathlib.Path, name: str = "authority") -> None:
        self.folder, self.name = folder, name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(self.subject, self.key, ca=True)
        self.path = self._write(f"{name}.pem", certificate.public_bytes(PEM))

    def _build(
        self,
        subject: x509.Name,
        key: ec.EllipticCurvePrivateKey,
        *,
        ca: bool = False,
        host: str = "127.0.0.1",
        start: dt.timedelta = -DAY,
        end: dt.timedelta = DAY,
        self_signed: bool = False,
    ) -> x509.Certificate:
        now = dt.datetime.now(dt.timezone.utc)
        signer = key if self_signed else self.key
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if self_signed else self.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + start)
            .not_valid_after(now + end)
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), False
            )
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True)
            .add_extension(_usage(ca), True)  # Python 3.13 and newer ask for it
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), False
            )
            .sign(signer, hashes.SHA256())
        )

    def issue(self, name: str, **how: t.Any) -> tuple[str, str]:
        """Paths of a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._build(subject, key, **how).public_bytes(PEM)
        private = key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return self._write(f"{name}.crt", certificate), self._write(f"{name}.key", private)

    def _write(self, name: str, data: bytes) -> str:
        path = self.folder / f"{self.name}-{name}"
        path.write_bytes(data)
        return str(path)


class TLSServer(_Server):
    """Shakes hands and hangs up; notes whom it shook hands with, or why not."""

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
def test_the_right_certificate_is_taken(
    make_app: MakeApp, authority: Authority, scheme: str
) -> None:
    with TLSServer(authority.issue("router")) as server:
        why = why_not_joined(make_app, scheme, server, WAMP_TLS_CA=authority.path)
    assert "certificate" not in why
    assert server.seen[0] == "welcome anybody"


@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_a_client_certificate_is_shown(
    make_app: MakeApp, authority: Authority, scheme: str
) -> None:
    cert, key = authority.issue("shop")
    with TLSServer(authority.issue("router"), authority.path) as server:
        config = {"WAMP_TLS_CA": authority.path, "WAMP_TLS_CERT": cert, "WAMP_TLS_KEY": key}
        why_not_joined(make_app, scheme, server, **config)
    assert server.seen[0] == "welcome shop"


@pytest.mark.parametrize("shown", ["none", "of another authority"])
@pytest.mark.parametrize("scheme", ["wss", "tls"])
def test_a_client_the_router_does_not_know_is_told_so(
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
