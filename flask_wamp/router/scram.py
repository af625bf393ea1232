"""The server's side of SCRAM: the router stores keys that are useless elsewhere, and proves that it has them.

There are two dialects. The specification's method is called ``wamp-scram`` and follows RFC 5802. Crossbar.io,
autobahn and the client of this library call it ``scram``. In that dialect ``c=`` is empty in the text that is
signed, and with ``argon2id-13`` the key is the hash's unpadded Base64 text. The router follows the dialect of
the method that the client offers. It supports argon2id in the dialect of Crossbar.io only.

Source: WAMP Advanced Profile, "Salted Challenge Response Authentication"; RFC 5802, section 3.
"""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import hmac
import typing as t

from .authentication import Challenge, Details, JoinRequest, Mutual, Refusal, Verdict
from .challenges import GrantedIdentity

#: The specification's name of the method.
STANDARD = "wamp-scram"

#: The keys of a principal in the table, besides its role.
FIELDS: dict[str, type] = {
    "secret": str,
    "kdf": str,
    "salt": str,
    "iterations": int,
    "memory": int,
    "stored_key": str,
    "server_key": str,
}

#: RFC 7677: "the hash iteration-count should be such that a modern machine will take 0.1 seconds";
#: its minimum is 4096.
ITERATIONS = 10_000

PBKDF2, ARGON2ID = "pbkdf2", "argon2id-13"

_DENIED = Refusal(message="the answer to the challenge is wrong")


@dataclasses.dataclass(frozen=True)
class Credential:
    """What the router stores about a principal."""

    salt: bytes
    iterations: int
    stored_key: bytes = dataclasses.field(repr=False)
    server_key: bytes = dataclasses.field(repr=False)
    memory: int | None = None
    """KiB of memory for argon2id. None if the key was derived by PBKDF2."""

    @classmethod
    def parse(cls, entry: Details, salt: bytes) -> Credential:
        """Return the credential for an entry of the table that :func:`check` has accepted.

        :param salt: The salt, if the entry has a secret.
        """
        if "secret" in entry:
            return derive(entry["secret"], salt, entry.get("iterations", ITERATIONS))
        return cls(
            base64.b64decode(entry["salt"], validate=True),
            entry.get("iterations", ITERATIONS),
            bytes.fromhex(entry["stored_key"]),
            bytes.fromhex(entry["server_key"]),
            entry.get("memory"),
        )

    @classmethod
    def made_up(cls, salt: bytes, model: Details) -> Credential:
        """Return a made-up credential for a principal that does not exist.

        "This mock CHALLENGE SHOULD contain a generated salt value that is always the same for a
        given authid, otherwise an attacker may discover that the user doesn't actually exist."

        :param model: The entry of a principal that exists.
        """
        return cls(salt, model.get("iterations", ITERATIONS), b"", b"", model.get("memory"))


def check(where: str, entry: Details) -> None:
    """Check an entry of the table.

    :raises ValueError: It has neither a secret nor everything that is derived from one.
    """
    kdf = entry.get("kdf", PBKDF2)
    if kdf not in (PBKDF2, ARGON2ID):
        raise ValueError(f"{where}.kdf: must be {PBKDF2} or {ARGON2ID}")
    if kdf == PBKDF2 and "memory" in entry:
        raise ValueError(f"{where}.memory: goes with {ARGON2ID} only")
    if kdf == ARGON2ID and ("secret" in entry or not {"iterations", "memory"} <= entry.keys()):
        raise ValueError(
            f"{where}: {ARGON2ID} needs iterations, memory, salt, stored_key and server_key, and no "
            "secret"
        )
    derived = {"salt", "stored_key", "server_key"}
    if ("secret" in entry) == bool(derived & entry.keys()):
        raise ValueError(f"{where}: needs secret, or salt, stored_key and server_key")
    if "secret" in entry:
        return
    try:
        sizes = [len(bytes.fromhex(entry[name])) for name in ("stored_key", "server_key")]
        base64.b64decode(entry["salt"], validate=True)
    except (KeyError, ValueError):
        sizes = []
    if sizes != [32, 32]:
        raise ValueError(
            f"{where}: salt must be Base64, and stored_key and server_key 32 bytes in hex"
        )


def salt_of(secret: bytes, authid: str) -> bytes:
    """Return the salt of a principal, which reveals nothing about its password."""
    return hmac.digest(secret, authid.encode("utf-8", "replace"), "sha256")[:16]


def derive(password: str, salt: bytes, iterations: int = ITERATIONS) -> Credential:
    """Return what to store for a password."""
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    return Credential(
        salt,
        iterations,
        hashlib.sha256(client_key).digest(),
        hmac.digest(salted, b"Server Key", "sha256"),
    )


def challenge(
    request: JoinRequest, method: str, credential: Credential, grant: GrantedIdentity | None
) -> Challenge | Refusal:
    """Ask for the proof that the client knows the password.

    :param method: The method that the client offered. It decides the dialect.
    """
    client_nonce = request.authextra.get("nonce")
    if not isinstance(client_nonce, str) or not client_nonce:
        return Refusal(message=f"{method} needs a nonce as authextra.nonce")
    if request.authextra.get("channel_binding") is not None:
        # "MUST terminate [...]: The the server does not support the requested channel_binding type."
        return Refusal(message="channel bindings are not supported")
    nonce = client_nonce + base64.b64encode(request.nonce(18)).decode()
    salt = base64.b64encode(credential.salt).decode()
    authid = request.authid or ""
    is_standard = method == STANDARD
    if is_standard and credential.memory is not None:
        return Refusal(message=f"{STANDARD} is supported with {PBKDF2} only, offer scram")
    if is_standard:
        authid = authid.replace("=", "=3D").replace(",", "=2C")
    signed = (
        f"n={authid},r={client_nonce},"
        f"r={nonce},s={salt},i={credential.iterations},"
        f"c={'biws' if is_standard else ''},r={nonce}"
    ).encode("utf-8", "replace")

    def verify(signature: str, extra: Details) -> Verdict:
        if extra.get("nonce", nonce) != nonce or extra.get("channel_binding") is not None:
            return _DENIED
        if grant is None or not _proves(signature, credential, signed):
            return _DENIED
        verifier = base64.b64encode(hmac.digest(credential.server_key, signed, "sha256")).decode()
        name, value = ("verifier", f"v={verifier}") if is_standard else (CROSSBAR, verifier)
        return Mutual(grant.identity, {name: value})

    extra: dict[str, t.Any] = {
        "nonce": nonce,
        "salt": salt,
        "kdf": PBKDF2 if credential.memory is None else ARGON2ID,
        "iterations": credential.iterations,
        "memory": credential.memory,
    }
    return Challenge(method, extra, verify)


#: The key of the server's signature in WELCOME.Details.authextra, in Crossbar.io's dialect.
CROSSBAR = "scram_server_signature"


def _proves(signature: str, credential: Credential, signed: bytes) -> bool:
    """Return whether ClientProof was made from the password.

    "RecoveredStoredKey = SHA256(RecoveredClientKey)"
    """
    try:
        proof = base64.b64decode(signature, validate=True)
    except ValueError:
        return False
    client_signature = hmac.digest(credential.stored_key, signed, "sha256")
    if len(proof) != len(client_signature):
        return False
    client_key = bytes(a ^ b for a, b in zip(client_signature, proof, strict=True))
    return hmac.compare_digest(hashlib.sha256(client_key).digest(), credential.stored_key)
