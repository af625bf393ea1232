"""Authentication of the client: what HELLO offers, and the answers to CHALLENGE and WELCOME.

========== ================================== =======================================================
method     requires                           what the router learns
========== ================================== =======================================================
anonymous  nothing                            nothing
ticket     ``WAMP_TICKET``                    the ticket itself, so use TLS
wampcra    ``WAMP_AUTHID``, ``WAMP_SECRET``   that the client knows the secret
scram      ``WAMP_AUTHID``, ``WAMP_SECRET``   that the client knows the secret. The router proves that
                                              it knows the secret, too
cryptosign ``WAMP_PRIVATE_KEY``               that the client has the private key of a known public key
========== ================================== =======================================================

The router is not trusted. Its messages are checked before they are used, and the work that they can cause is
limited.

Source: WAMP Advanced Profile, "Authentication Methods".
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import importlib.util
import os
import re
import typing as t
from dataclasses import dataclass, field, replace

from ..exceptions import AuthenticationError
from .identity import app_extra
from .private_key import load_private_key

if t.TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class _Method(t.NamedTuple):
    """The attributes of :class:`Credentials` and the package that a method requires."""

    needs: tuple[str, ...] = ()
    requires: str | None = None


#: The methods that a client may offer. The order does not matter: :attr:`Credentials.offered` chooses.
METHODS: dict[str, _Method] = {
    "cryptosign": _Method(("private_key",), "cryptography"),
    "wampcra": _Method(("authid", "secret")),
    "scram": _Method(("authid", "secret"), "argon2"),
    "ticket": _Method(("ticket",)),
    "anonymous": _Method(),
}

#: Packages whose name differs from the name of their module.
_PACKAGES = {"argon2": "argon2-cffi"}

#: The most work that a router may ask for. One core can do about this much within the default of
#: WAMP_CONNECT_TIMEOUT. A key derivation cannot be interrupted at the end of that time. autobahn's default is
#: half of this limit.
MAX_PBKDF2_ITERATIONS = 4_000_000
MAX_PBKDF2_KEYLEN = 64
MAX_ARGON2_MEMORY_KIB = 256 * 1024
MAX_ARGON2_TOTAL_KIB = 16 * MAX_ARGON2_MEMORY_KIB
"""Iterations times memory."""

#: The least work that scram accepts. A fake router learns a proof from which it can guess the secret. The
#: less work the derivation is, the faster it can guess. Source: RFC 5802, section 5.1, "the iteration-count
#: SHOULD be at least 4096", and RFC 8018, section 4.1, "at least eight octets long".
MIN_PBKDF2_ITERATIONS = 4096
MIN_ARGON2_TOTAL_KIB = 1024
MIN_SALT = 8

_32_BYTES_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Credentials:
    """The credentials with which to join. Their ``repr`` contains no secrets."""

    authmethods: tuple[str, ...] = ()
    """The methods to offer, in order of preference. If empty, :attr:`offered` chooses them."""

    authid: str | None = None
    """The authid to join with. The router may assign another."""

    secret: str | t.Callable[[], object] | None = field(default=None, repr=False)
    """The password of ``wampcra`` and ``scram``, or a function that returns it."""

    ticket: str | t.Callable[[], object] | None = field(default=None, repr=False)
    """The ticket of ``ticket``, or a function that returns it."""

    private_key: str | None = field(default=None, repr=False)
    """The Ed25519 key of ``cryptosign``: its seed as 64 hex digits, or a text in OpenSSH or PEM format, or
    the path of a file that contains one of these or the 32 bytes. Encrypted keys are not supported."""

    authextra: t.Mapping[str, object] | t.Callable[[], object] = field(
        default_factory=dict, repr=False, hash=False
    )
    """Further data for the router's authenticator, which is sent unchanged, or a function that returns it."""

    def resolved(self) -> Credentials:
        """Return these credentials with each function replaced by what it returns now.

        :raises AuthenticationError: A function has failed, or has returned an empty text or a value of a
            wrong type.
        """
        return replace(
            self,
            secret=_resolve("WAMP_SECRET", self.secret, str),
            ticket=_resolve("WAMP_TICKET", self.ticket, str),
            authextra=_resolve("WAMP_AUTHEXTRA", self.authextra, dict) or {},
        )

    @property
    def offered(self) -> tuple[str, ...]:
        """The methods that HELLO offers.

        If :attr:`authmethods` is empty, these are only the methods of the strongest given credential. A fake
        router would choose the weakest method, and would then learn a ticket. A secret is for ``wampcra``,
        and also for ``scram`` if argon2-cffi is installed. ``wampcra`` comes first, because more routers
        support it. Without any credential, this is ``anonymous``.
        """
        if self.authmethods:
            return tuple(self.authmethods)
        if self.private_key is not None:
            return ("cryptosign",)
        if self.secret is not None:
            return ("wampcra", "scram") if _missing_library("scram") is None else ("wampcra",)
        return ("anonymous",) if self.ticket is None else ("ticket",)

    def check(self) -> None:
        """Check that the credentials are complete and valid. Reads a private key that is in a file.

        :raises ValueError: A credential is missing or invalid. The text names the config key.
        """
        if not callable(self.authextra) and self.authextra.get("channel_binding") is not None:
            raise ValueError("WAMP_AUTHEXTRA contains a channel_binding, which is not supported")
        for authmethod in self.offered:
            self._check_method(authmethod)

    def _check_method(self, authmethod: str) -> None:
        if authmethod not in METHODS:
            allowed = ", ".join(sorted(METHODS))
            raise ValueError(f"WAMP_AUTHMETHODS: {authmethod!r} is not one of {allowed}")
        for name in METHODS[authmethod].needs:
            value = getattr(self, name)
            if not callable(value) and (not value or type(value) is not str):
                raise ValueError(f"{authmethod!r} needs WAMP_{name.upper()}, a string")
        if reason := _missing_library(authmethod):
            raise ValueError(f"WAMP_AUTHMETHODS: {reason}")
        if authmethod == "cryptosign" and self.private_key:
            load_private_key(self.private_key)


def _resolve(name: str, value: object, kind: type) -> t.Any:
    """Return a value. If it is a function, return what it returns."""
    if not callable(value):
        return value
    try:
        found = value()
    except Exception as error:  # its text may contain a secret
        why = type(error).__name__
        raise AuthenticationError(f"the function in {name} failed: {why}") from None
    if not isinstance(found, kind) or (kind is str and not found):
        wanted = "text" if kind is str else "a dictionary"
        raise AuthenticationError(
            f"the function in {name} returned {type(found).__name__} instead of {wanted}"
        )
    return found


class Authentication:
    """One attempt to join: HELLO, CHALLENGE, AUTHENTICATE and WELCOME of one connection.

    :param credentials: The credentials, which :meth:`Credentials.check` has accepted.
    :param app: The application's name, which HELLO shows to other applications. See :func:`app_extra`.
    :raises AuthenticationError: A function in the credentials has failed, or the private key cannot be read.
    """

    def __init__(self, credentials: Credentials, app: str | None = None) -> None:
        credentials = self._credentials = credentials.resolved()
        self._app_extra = app_extra(app)
        self._offered = credentials.offered
        # 18 bytes are 24 digits of base64 without padding. Crossbar makes the router's nonce by appending
        # bytes, and the spec by appending text. Without padding, it begins with ours in both cases.
        self._nonce = _base64(os.urandom(18))
        self._server_signature: str | None = None
        self._challenged = False
        self._private_key = self._load_private_key() if "cryptosign" in self._offered else None

    def hello(self) -> dict[str, object]:
        """Return the part of ``HELLO.Details`` that is about authentication."""
        details: dict[str, object] = {"authmethods": list(self._offered)}
        if self._credentials.authid is not None:
            details["authid"] = self._credentials.authid
        given = t.cast("t.Mapping[str, object]", self._credentials.authextra)  # resolved
        authextra = {**self._app_extra, **given, **self._own_authextra()}
        if authextra:
            details["authextra"] = authextra
        return details

    def authenticate(
        self, authmethod: str, extra: dict[str, object]
    ) -> tuple[str, dict[str, object]]:
        """Answer a CHALLENGE.

        This may take seconds of CPU time if the router asks for an expensive key derivation.

        :param authmethod: ``CHALLENGE.AuthMethod``.
        :param extra: ``CHALLENGE.Extra``.
        :returns: Signature and Extra for AUTHENTICATE.
        :raises AuthenticationError: The method was not offered, or the challenge is malformed or asks for too
            much work.
        """
        # Advanced Profile, "Authentication Methods": AUTHENTICATE answers CHALLENGE, and WELCOME or ABORT
        # answers AUTHENTICATE. If a second CHALLENGE were answered, the router could use any amount of this
        # process's CPU time.
        if self._challenged:
            raise AuthenticationError("the router has sent a second CHALLENGE")
        self._challenged = True
        answer = _ANSWERS.get(authmethod)
        if answer is None or authmethod not in self._offered:
            offered = ", ".join(self._offered)
            raise AuthenticationError(
                f"the router has sent CHALLENGE for {authmethod!r:.50}, but HELLO offered {offered}"
            )
        try:
            return answer(self, extra), {}
        except ValueError as error:
            # Not chained, because the error of a codec contains the whole text, which may be the secret.
            reason = type(error).__name__ if isinstance(error, UnicodeError) else error
            raise AuthenticationError(f"bad {authmethod} challenge: {reason}") from None

    def verify(self, authextra: dict[str, object]) -> None:
        """Check that the router knows the secret too. Only ``scram`` can check this.

        :param authextra: ``WELCOME.Details.authextra``.
        :raises AuthenticationError: The router does not know the secret, so it is not the right one. Or it
            has sent no CHALLENGE, although the client has offered only ``scram``.
        """
        if self._server_signature is None:
            if self._offered == ("scram",):
                raise AuthenticationError("the router has sent WELCOME without a CHALLENGE")
            return
        known = authextra if isinstance(authextra, dict) else {}  # a router may send anything
        signature = known.get("scram_server_signature")
        if not isinstance(signature, str) or not _equal(signature, self._server_signature):
            raise AuthenticationError(
                "the router's scram signature is wrong: it does not know the secret"
            )

    def _own_authextra(self) -> dict[str, object]:
        authextra: dict[str, object] = {}
        if self._private_key is not None:
            public_key = self._private_key.public_key().public_bytes_raw()
            authextra |= {"pubkey": public_key.hex(), "channel_binding": None}
        if "scram" in self._offered:
            authextra |= {"nonce": self._nonce}
        return authextra

    def _load_private_key(self) -> Ed25519PrivateKey:
        try:
            return load_private_key(self._credentials.private_key or "")
        except ValueError as error:
            raise AuthenticationError(str(error)) from None

    def _secret(self) -> bytes:
        return t.cast(str, self._credentials.secret or "").encode()

    # The answers. They raise ValueError if the router's CHALLENGE is wrong.

    def _answer_ticket(self, extra: dict[str, object]) -> str:
        return t.cast(str, self._credentials.ticket or "")

    def _answer_wampcra(self, extra: dict[str, object]) -> str:
        challenge = _text(extra, "challenge").encode()
        key = self._secret()
        if extra.get("salt") is not None:
            iterations = _number(extra, "iterations", MAX_PBKDF2_ITERATIONS)
            keylen = _number(extra, "keylen", MAX_PBKDF2_KEYLEN)
            salt = _text(extra, "salt").encode()
            key = base64.b64encode(hashlib.pbkdf2_hmac("sha256", key, salt, iterations, keylen))
        return _base64(_hmac(key, challenge))

    def _answer_scram(self, extra: dict[str, object]) -> str:
        """Compute ClientProof, and store ServerSignature for WELCOME (RFC 5802, section 3).

        This follows Crossbar 26.10.1, which differs from RFC 5802: ``c=`` is empty instead of ``biws``, and
        the authid is not escaped.
        """
        nonce, salt = _text(extra, "nonce"), _text(extra, "salt")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ValueError("its nonce does not extend the client's nonce")
        raw_salt = base64.b64decode(salt, validate=True)
        if len(raw_salt) < MIN_SALT:
            raise ValueError(f"its salt is shorter than {MIN_SALT} bytes")
        salted_password = _derive_scram(self._secret(), raw_salt, extra)
        auth_message = (
            f"n={self._credentials.authid},r={self._nonce},"
            f"r={nonce},s={salt},i={extra['iterations']},"
            f"c=,r={nonce}"
        ).encode()
        client_key = _hmac(salted_password, b"Client Key")
        client_signature = _hmac(hashlib.sha256(client_key).digest(), auth_message)
        server_key = _hmac(salted_password, b"Server Key")
        self._server_signature = _base64(_hmac(server_key, auth_message))
        return _base64(bytes(a ^ b for a, b in zip(client_key, client_signature, strict=False)))

    def _answer_cryptosign(self, extra: dict[str, object]) -> str:
        challenge = _text(extra, "challenge")
        if not _32_BYTES_HEX.fullmatch(challenge):
            raise ValueError("its challenge is not 32 bytes in hex")
        if extra.get("channel_binding") is not None:
            raise ValueError("it requires channel binding, which is not supported")
        assert self._private_key is not None  # it was offered
        message = bytes.fromhex(challenge)
        return (self._private_key.sign(message) + message).hex()


#: The functions that answer CHALLENGE, by method.
_ANSWERS: dict[str, t.Callable[[Authentication, dict[str, object]], str]] = {
    "ticket": Authentication._answer_ticket,
    "wampcra": Authentication._answer_wampcra,
    "scram": Authentication._answer_scram,
    "cryptosign": Authentication._answer_cryptosign,
}


def _derive_scram(password: bytes, salt: bytes, extra: dict[str, object]) -> bytes:
    """Compute SaltedPassword with the key derivation function that the router names."""
    derive = _KDFS.get(_text(extra, "kdf"))
    if derive is None:
        raise ValueError(f"its kdf is not one of {', '.join(_KDFS)}")
    return derive(password, salt, extra)


def _derive_argon2id(password: bytes, salt: bytes, extra: dict[str, object]) -> bytes:
    """Return the hash as unpadded base64 text, which Crossbar 26.10.1 and autobahn use as the key."""
    memory = _number(extra, "memory", MAX_ARGON2_MEMORY_KIB)
    least = -(-MIN_ARGON2_TOTAL_KIB // memory)
    iterations = _number(extra, "iterations", MAX_ARGON2_TOTAL_KIB // memory, least)
    if reason := _missing_library("scram"):
        raise ValueError(reason)
    from argon2 import low_level
    from argon2.exceptions import HashingError

    try:
        raw = low_level.hash_secret_raw(
            password, salt, iterations, memory, parallelism=1, hash_len=32, type=low_level.Type.ID
        )
    except HashingError as error:
        raise ValueError(str(error)) from None
    return base64.b64encode(raw).rstrip(b"=")


def _derive_pbkdf2(password: bytes, salt: bytes, extra: dict[str, object]) -> bytes:
    iterations = _number(extra, "iterations", MAX_PBKDF2_ITERATIONS, MIN_PBKDF2_ITERATIONS)
    return hashlib.pbkdf2_hmac("sha256", password, salt, iterations)


_KDFS: dict[str, t.Callable[[bytes, bytes, dict[str, object]], bytes]] = {
    "argon2id-13": _derive_argon2id,
    "pbkdf2": _derive_pbkdf2,
}


def _text(extra: dict[str, object], key: str) -> str:
    value = extra.get(key)
    if isinstance(value, str):
        return value
    raise ValueError(f"its {key} is not a string")


def _number(extra: dict[str, object], key: str, most: int, least: int = 1) -> int:
    value = extra.get(key)
    if type(value) is not int or not least <= value <= most:  # True is an int too
        raise ValueError(f"its {key} is not an integer from {least} to {most}")
    return value


def _missing_library(authmethod: str) -> str | None:
    library = METHODS[authmethod].requires
    if library is None or importlib.util.find_spec(library) is not None:
        return None
    package = _PACKAGES.get(library, library)
    return f"{authmethod!r} needs a library: pip install {package}"


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())
