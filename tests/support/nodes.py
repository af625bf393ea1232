"""A node with features that the shared router lacks: authentication, pings, TLS."""

from __future__ import annotations

import dataclasses
import datetime as dt
import ipaddress
import json
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from flask_wamp.crossbar import DevRouter, free_port, node_config

AUTH_CONFIG = Path(__file__).parent.parent / "router" / "auth-config.json"


@dataclasses.dataclass(frozen=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1, as paths of PEM files."""

    certificate: str
    key: str

    @classmethod
    def make(cls, folder: Path) -> Certificate:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a router of the tests")])
        now = dt.datetime.now(dt.timezone.utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
                critical=False,
            )
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        paths = cls(str(folder / "certificate.pem"), str(folder / "key.pem"))
        pem = serialization.Encoding.PEM
        Path(paths.certificate).write_bytes(certificate.public_bytes(pem))
        Path(paths.key).write_bytes(
            key.private_bytes(
                pem, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
            )
        )
        return paths


@dataclasses.dataclass(frozen=True)
class Node:
    """The node's URLs, and its configuration."""

    auth_url: str
    """WebSocket, all methods of authentication."""

    auth_rawsocket_url: str
    """RawSocket, the same."""

    pinging_url: str
    """WebSocket. The node pings clients every second, Crossbar's shortest interval."""

    wss_url: str
    tls_url: str
    certificate: Certificate
    config: dict[str, t.Any]
    routers: list[DevRouter] = dataclasses.field(default_factory=list)
    """The router that runs it."""

    DISCREET_REALM = "discreet"
    """A realm that discloses no callers, and allows nothing below ``com.forbidden.``"""

    @property
    def urls(self) -> list[str]:
        """All of them."""
        return [
            self.auth_url,
            self.auth_rawsocket_url,
            self.pinging_url,
            self.wss_url,
            self.tls_url,
        ]

    @classmethod
    def make(cls, folder: Path) -> Node:
        """Choose ports and write the configuration. Nothing is started."""
        certificate = Certificate.make(folder)
        auth_port, auth_rawsocket_port = free_port(), free_port()
        pinging_url = f"ws://127.0.0.1:{free_port()}/ws"
        wss_url = f"wss://127.0.0.1:{free_port()}/ws"
        tls_url = f"tls://127.0.0.1:{free_port()}"
        config = json.loads(AUTH_CONFIG.read_text().replace('"PORT"', str(auth_port)))
        (worker,) = config["workers"]
        worker["realms"].append(_discreet_realm())
        # The built-in router has no port that speaks both.
        (universal,) = worker["transports"]
        web = {"type": "web", "endpoint": universal["endpoint"], "paths": universal["websocket"]}
        endpoint = {**universal["endpoint"], "port": auth_rawsocket_port}
        worker["transports"] = [
            web,
            {"type": "rawsocket", "endpoint": endpoint, **universal["rawsocket"]},
        ]
        pinging = node_config([pinging_url], auto_ping_interval_ms=1000, auto_ping_timeout_ms=1000)
        secure = node_config(
            [wss_url, tls_url], tls={"key": certificate.key, "certificate": certificate.certificate}
        )
        for other in (pinging, secure):
            worker["transports"] += other["workers"][0]["transports"]
        return cls(
            f"ws://127.0.0.1:{auth_port}/ws",
            f"tcp://127.0.0.1:{auth_rawsocket_port}",
            pinging_url,
            wss_url,
            tls_url,
            certificate,
            config,
        )


def _discreet_realm() -> dict[str, t.Any]:
    everything = dict.fromkeys(("call", "register", "publish", "subscribe"), True)
    nothing = dict.fromkeys(everything, False)
    permissions = [
        {"uri": "", "match": "prefix", "allow": everything},
        {"uri": "com.forbidden.", "match": "prefix", "allow": nothing},
    ]
    role = {"name": "anonymous", "permissions": permissions}
    return {"name": Node.DISCREET_REALM, "roles": [role]}
