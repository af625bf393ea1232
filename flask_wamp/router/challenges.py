"""The server's side of ticket, WAMP-CRA and cryptosign: the challenge, and the check of its answer.

Each function makes a :class:`.Challenge`. If the principal does not exist, ``grant`` is None. The challenge
then looks like any other, but no answer to it is accepted.

Source: WAMP Advanced Profile, "Ticket-based Authentication", "Challenge Response Authentication",
"Cryptosign".
"""

from __future__ import annotations

import base64
import functools
import hashlib
import hmac
import json
import typing as t

from ..protocol.identity import Identity
from .authentication import Challenge, Details, JoinRequest, Refusal, Verdict

_DENIED = Refusal(message="the answer to the challenge is wrong")


class GrantedIdentity(t.NamedTuple):
    """The identity that the client gets when its answer is right."""

    authid: str
    authrole: str
    authmethod: str

    @property
    def identity(self) -> Identity:
        """The same as an :class:`.Identity`."""
        return Identity(self.authid, self.authrole, {}, self.authmethod, "static")


def ticket(expected: str | None, grant: GrantedIdentity | None) -> Challenge:
    """Ask for a ticket.

    :param expected: The right ticket. None if there is no such principal.
    """

    def verify(signature: str, extra: Details) -> Verdict:
        is_right = _equal(signature, expected or "")
        return grant.identity if grant is not None and is_right else _DENIED

    return Challenge("ticket", {}, verify)


def wampcra(request: JoinRequest, entry: Details, grant: GrantedIdentity | None) -> Challenge:
    """Ask to sign a challenge with a shared secret.

    :param entry: ``secret`` and ``role``, and ``salt``, ``iterations`` and ``keylen`` if the client has to
        derive the key from the password.
    """
    challenge = json.dumps(
        {
            "nonce": request.nonce(24).hex(),
            "authprovider": "static",
            "authid": request.authid,
            "authrole": entry["role"],
            "authmethod": "wampcra",
            "timestamp": request.timestamp,
            "session": request.session_id,
        }
    )
    extra: dict[str, t.Any] = {"challenge": challenge}
    key = entry["secret"].encode()
    if "salt" in entry:
        salt, iterations, keylen = (
            entry["salt"],
            entry.get("iterations", 1000),
            entry.get("keylen", 32),
        )
        extra |= {"salt": salt, "iterations": iterations, "keylen": keylen}
        key = _derived(entry["secret"], salt, iterations, keylen)
    expected = base64.b64encode(hmac.digest(key, challenge.encode(), "sha256")).decode()

    def verify(signature: str, extra: Details) -> Verdict:
        is_right = _equal(signature, expected)
        return grant.identity if grant is not None and is_right else _DENIED

    return Challenge("wampcra", extra, verify)


def cryptosign(request: JoinRequest, public_key: str, grant: GrantedIdentity | None) -> Challenge:
    """Ask to sign random bytes with a private key.

    :param public_key: The public key of that private key, in hex.
    """
    challenge = request.nonce(32)

    def verify(signature: str, extra: Details) -> Verdict:
        # "The signature [...] is the concatenation of the 64 bytes of the signature with the 32
        # bytes of the challenge"
        is_right = _is_signed(public_key, signature, challenge)
        return grant.identity if grant is not None and is_right else _DENIED

    return Challenge("cryptosign", {"challenge": challenge.hex(), "channel_binding": None}, verify)


def _is_signed(public_key: str, signature: str, challenge: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        signed = bytes.fromhex(signature)
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
        key.verify(signed[:64], challenge)
    except (ValueError, InvalidSignature):
        return False
    return signed[64:] in (b"", challenge)


@functools.lru_cache(maxsize=1024)
def _derived(secret: str, salt: str, iterations: int, keylen: int) -> bytes:
    return base64.b64encode(
        hashlib.pbkdf2_hmac("sha256", secret.encode(), salt.encode(), iterations, keylen)
    )


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
