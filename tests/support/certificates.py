"""An authority that signs valid and invalid certificates."""

from __future__ import annotations

import datetime as dt
import ipaddress
import pathlib
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

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
            .add_extension(_usage(ca), True)  # Python 3.13 and newer require it
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
