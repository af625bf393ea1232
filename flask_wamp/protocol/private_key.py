"""The private key of ``cryptosign``, from the configuration or from a file."""

from __future__ import annotations

import os
import pathlib
import re
import typing as t

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

_32_BYTES_HEX = re.compile(r"[0-9a-fA-F]{64}")


def load_private_key(text: str) -> Ed25519PrivateKey:
    """Load the private key of ``WAMP_PRIVATE_KEY``.

    :param text: The key, or the path of a file.
    :raises ValueError: There is no valid key. The text does not contain the value, because a key with a typo
        would look like a path.
    """
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
    except ImportError:
        raise ValueError("'cryptosign' needs a library: pip install cryptography") from None
    try:
        return _parse_private_key(_read_private_key(text.strip()))
    except OSError as error:
        reason = (
            f"neither a key (64 hex digits, OpenSSH, PEM) nor a readable file: {error.strerror}"
        )
    except (ValueError, TypeError, UnsupportedAlgorithm):  # TypeError if it requires a password
        reason = "not an unencrypted Ed25519 key: 32 bytes, 64 hex digits, OpenSSH or PEM"
    raise ValueError(f"WAMP_PRIVATE_KEY is {reason}")


def _read_private_key(text: str) -> bytes:
    if _32_BYTES_HEX.fullmatch(text) or text.startswith("-----BEGIN"):
        return text.encode()
    return pathlib.Path(os.path.expanduser(text)).read_bytes()


def _parse_private_key(data: bytes) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if len(data) == 32:
        return Ed25519PrivateKey.from_private_bytes(data)
    if _32_BYTES_HEX.fullmatch(text := data.decode().strip()):
        return Ed25519PrivateKey.from_private_bytes(bytes.fromhex(text))
    openssh = text.startswith("-----BEGIN OPENSSH")
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    key = load(data, password=None)
    if isinstance(key, Ed25519PrivateKey):
        return key
    raise ValueError("not Ed25519")
