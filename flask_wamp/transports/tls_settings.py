"""The TLS settings, and the check of their files at the start."""

from __future__ import annotations

import os
import ssl
import typing as t

StrPath = str | os.PathLike[str]


class TLSSettings(t.NamedTuple):
    """Files in PEM format. If ``ca`` is None, the system's certificate authorities are trusted."""

    ca: StrPath | None = None
    cert: StrPath | None = None
    key: StrPath | None = None
    verify: bool = True

    def context(self) -> ssl.SSLContext:
        """Return the TLS context: at least TLS 1.2, and certificates are verified unless ``verify`` is False.

        It never asks for a passphrase.

        :raises ValueError: A file cannot be used. The text names the configuration key and the remedy.
        """
        self._check_files()
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except OSError as error:
            raise ValueError(f"WAMP_TLS_CA {_shown(self.ca)}: {error}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.cert is not None:
            self._load_certificate(context, self.cert)
        return context

    def _check_files(self) -> None:
        """Check that the files can be opened, because OpenSSL does not say which of them is missing."""
        if self.key is not None and self.cert is None:
            raise ValueError(
                "WAMP_TLS_KEY needs WAMP_TLS_CERT, the certificate that belongs to the key"
            )
        for name, path in zip(("CA", "CERT", "KEY"), self[:3], strict=True):
            if path is None:
                continue
            if "-----BEGIN" in str(path):  # not shown, because it may be a private key
                raise ValueError(
                    f"WAMP_TLS_{name} takes the path of a PEM file, not the text of the file"
                )
            try:
                with open(path, "rb"):
                    pass
            except OSError as error:
                raise ValueError(f"WAMP_TLS_{name} {_shown(path)}: {error.strerror}") from error

    def _load_certificate(self, context: ssl.SSLContext, cert: StrPath) -> None:
        try:
            context.load_cert_chain(cert, self.key, password=_refuse_passphrase)
        except _EncryptedKeyError:
            name, path = ("CERT", cert) if self.key is None else ("KEY", self.key)
            raise ValueError(
                f"WAMP_TLS_{name} {_shown(path)}: the key is encrypted, which is not supported. "
                "To decrypt it, run: openssl pkey -in KEY -out PLAIN"
            ) from None
        except OSError as error:
            key = "" if self.key is None else f" with WAMP_TLS_KEY {_shown(self.key)}"
            raise ValueError(f"WAMP_TLS_CERT {_shown(cert)}{key}: {error}") from error


class _EncryptedKeyError(Exception):
    """OpenSSL has asked for a passphrase."""


def _refuse_passphrase() -> t.NoReturn:
    # Without this, OpenSSL would prompt on the terminal, and a server would wait forever.
    raise _EncryptedKeyError


def _shown(path: object) -> str:
    return repr(os.fspath(t.cast(StrPath, path)))
