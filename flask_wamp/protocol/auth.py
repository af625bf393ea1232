"""Proving to the router who we are: what HELLO offers, and the answers to CHALLENGE and WELCOME.

========== ================================== ================================================
method     needs                              the router learns
========== ================================== ================================================
anonymous  nothing                            nothing
ticket     ``WAMP_TICKET``                    the ticket itself: use TLS
wampcra    ``WAMP_AUTHID``, ``WAMP_SECRET``   that we know the secret
scram      ``WAMP_AUTHID``, ``WAMP_SECRET``   that we know the secret, and it proves that it does
cryptosign ``WAMP_PRIVATE_KEY``               that we hold the private key of a public key it knows
========== ================================== ================================================

What the router sends is not trusted: it is checked, and its costs are bounded, before it is used.

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
    """What a method needs from :class:`Credentials`, the telling one last, and from PyPI."""

    needs: tuple[str, ...] = ()
    requires: str | None = None


#: The strongest first. Crossbar takes the first that it is configured for: wampcra stands before scram,
#: which fewer routers know. A ticket gives itself away.
METHODS: dict[str, _Method] = {
    "cryptosign": _Method(("private_key",), "cryptography"),
    "wampcra": _Method(("authid", "secret")),
    "scram": _Method(("authid", "secret"), "argon2"),
    "ticket": _Method(("ticket",)),
    "anonymous": _Method(),
}

#: Packages that are not named like their module.
_PACKAGES = {"argon2": "argon2-cffi"}

#: The most work a router may ask for, about as much as the default of WAMP_CONNECT_TIMEOUT has time for on
#: one core: the join ends at that time, but a key derivation cannot be interrupted. autobahn's default is
#: half of it.
MAX_PBKDF2_ITERATIONS = 4_000_000
MAX_PBKDF2_KEYLEN = 64
MAX_ARGON2_MEMORY_KIB = 256 * 1024
MAX_ARGON2_TOTAL_KIB = 16 * MAX_ARGON2_MEMORY_KIB
"""Iterations times memory."""

#: The least work that scram accepts. Whoever poses as the router learns a proof, and guesses the secret
#: from it the faster, the less it costs to derive. Source: RFC 5802, section 5.1, "the iteration-count
#: SHOULD be at least 4096", and RFC 8018, section 4.1, "at least eight octets long".
MIN_PBKDF2_ITERATIONS = 4096
MIN_ARGON2_TOTAL_KIB = 1024
MIN_SALT = 8

_32_BYTES_HEX = re.compile(r"[0-9a-fA-F]{64}")


@dataclass(frozen=True)
class Credentials:
    """Who to join as. Its ``repr`` shows nothing that is secret."""

    authmethods: tuple[str, ...] = ()
    """Methods to offer, preferred first; empty: all that the rest allows (see :attr:`offered`)."""

    authid: str | None = None
    """The principal to join as; the router may assign another."""

    secret: str | t.Callable[[], object] | None = field(default=None, repr=False)
    """The password of ``wampcra`` and ``scram``, or a function that returns it."""

    ticket: str | t.Callable[[], object] | None = field(default=None, repr=False)
    """The ticket of ``ticket``, or a function that returns it."""

    private_key: str | None = field(default=None, repr=False)
    """The Ed25519 key of ``cryptosign``: its seed as 64 hex digits, or an OpenSSH or PEM text, or the
    path of a file with either or with the 32 bytes. Encrypted keys are not supported."""

    authextra: t.Mapping[str, object] | t.Callable[[], object] = field(
        default_factory=dict, repr=False, hash=False
    )
    """More for the router's authenticator, sent as it is, or a function that returns it."""

    def resolved(self) -> Credentials:
        """Return these credentials with what the functions among them return now.

        :raises AuthenticationError: A function fails, or returns something that it must not.
        """
        return replace(
            self,
            secret=_resolve("WAMP_SECRET", self.secret, str),
            ticket=_resolve("WAMP_TICKET", self.ticket, str),
            authextra=_resolve("WAMP_AUTHEXTRA", self.authextra, dict) or {},
        )

    @property
    def offered(self) -> tuple[str, ...]:
        """The methods HELLO offers.

        Without :attr:`authmethods` only those of the strongest credential that is given: whoever poses as
        the router would choose the weakest, which for a ticket gives it away. A secret is for ``wampcra``,
        and for ``scram`` where argon2-cffi is installed. Anonymous is inferred only where nothing else is
        given.
        """
        if self.authmethods:
            return tuple(self.authmethods)
        if self.private_key is not None:
            return ("cryptosign",)
        if self.secret is not None:
            return ("wampcra", "scram") if _missing_library("scram") is None else ("wampcra",)
        return ("anonymous",) if self.ticket is None else ("ticket",)

    def check(self) -> None:
        """Refuse what cannot work.

        Reads the private key's file, if it is one.

        :raises ValueError: Naming the config key at fault, and what to do about it.
        """
        if not callable(self.authextra) and self.authextra.get("channel_binding") is not None:
            raise ValueError("WAMP_AUTHEXTRA asks for a channel_binding, which is not supported")
        for authmethod in self.offered:
            self._check_method(authmethod)

    def _check_method(self, authmethod: str) -> None:
        if authmethod not in METHODS:
            allowed = ", ".join(sorted(METHODS))
            raise ValueError(f"WAMP_AUTHMETHODS: {authmethod!r} is none of {allowed}")
        for name in METHODS[authmethod].needs:
            value = getattr(self, name)
            if not callable(value) and (not value or type(value) is not str):
                raise ValueError(f"{authmethod!r} needs WAMP_{name.upper()}, a string")
        if reason := _missing_library(authmethod):
            raise ValueError(f"WAMP_AUTHMETHODS: {reason}")
        if authmethod == "cryptosign" and self.private_key:
            load_private_key(self.private_key)


def _resolve(name: str, value: object, kind: type) -> t.Any:
    """Return a value, or what the function in its place returns."""
    if not callable(value):
        return value
    try:
        found = value()
    except Exception as error:
        raise AuthenticationError(f"{name} is a function, and it failed: {error!r}") from error
    if not isinstance(found, kind) or (kind is str and not found):
        wanted = "text" if kind is str else "a dictionary"
        raise AuthenticationError(
            f"{name} is a function, and returned {type(found).__name__} instead of {wanted}"
        )
    return found


class Authentication:
    """One attempt to join: HELLO, CHALLENGE, AUTHENTICATE and WELCOME of one connection.

    :param credentials: What :meth:`Credentials.check` found to be good.
    :param app: The name of the application, for other applications; see :func:`app_extra`.
    :raises AuthenticationError: The private key cannot be read (any more).
    """

    def __init__(self, credentials: Credentials, app: str | None = None) -> None:
        credentials = self._credentials = credentials.resolved()
        self._app_extra = app_extra(app)
        self._offered = credentials.offered
        # 18 bytes are 24 digits of base64 without padding. So the router's nonce, which Crossbar makes
        # by appending bytes and the spec by appending text, begins with ours either way.
        self._nonce = _base64(os.urandom(18))
        self._server_signature: str | None = None
        self._challenged = False
        self._private_key = self._load_private_key() if "cryptosign" in self._offered else None

    def hello(self) -> dict[str, object]:
        """Return what goes into ``HELLO.Details``."""
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

        May take seconds of CPU where the router asks for an expensive key derivation.

        :param authmethod: ``CHALLENGE.AuthMethod``.
        :param extra: ``CHALLENGE.Extra``.
        :returns: Signature and Extra for AUTHENTICATE.
        :raises AuthenticationError: It is not a challenge we offered to answer, is malformed, or
            asks for too much work.
        """
        # Advanced Profile, "Authentication Methods": one CHALLENGE is answered by one AUTHENTICATE, and
        # that by WELCOME or ABORT. To answer any number would let the router use as much of this process's
        # time as it likes.
        if self._challenged:
            raise AuthenticationError("the router challenges twice")
        self._challenged = True
        answer = _ANSWERS.get(authmethod)
        if answer is None or authmethod not in self._offered:
            offered = ", ".join(self._offered)
            raise AuthenticationError(
                f"the router challenges {authmethod!r:.50}, offered: {offered}"
            )
        try:
            return answer(self, extra), {}
        except ValueError as error:
            # Not chained: the error of a codec carries the whole text, which may be the secret.
            reason = type(error).__name__ if isinstance(error, UnicodeError) else error
            raise AuthenticationError(f"bad {authmethod} challenge: {reason}") from None

    def verify(self, authextra: dict[str, object]) -> None:
        """Check that the router knows our secret too, where the method (``scram``) can tell.

        :param authextra: ``WELCOME.Details.authextra``.
        :raises AuthenticationError: It does not, so it is not the router that it claims to be.
        """
        if self._server_signature is None:
            if self._offered == ("scram",):
                raise AuthenticationError("the router welcomes us without having asked who we are")
            return
        known = (
            authextra if isinstance(authextra, dict) else {}
        )  # the router's, so it may be anything
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

    # The answers. A ValueError is what the router did wrong.

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
        """Compute ClientProof, and keep ServerSignature for WELCOME (RFC 5802, section 3).

        In Crossbar's dialect (26.10.1): ``c=`` is empty where RFC 5802 has ``biws``, and the authid is
        not escaped.
        """
        nonce, salt = _text(extra, "nonce"), _text(extra, "salt")
        if not nonce.startswith(self._nonce) or nonce == self._nonce:
            raise ValueError("its nonce does not extend ours")
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
            raise ValueError("what to sign is not 32 bytes in hex")
        if extra.get("channel_binding") is not None:
            raise ValueError("it asks for a channel binding")
        assert self._private_key is not None  # it was offered
        message = bytes.fromhex(challenge)
        return (self._private_key.sign(message) + message).hex()


#: Methods with a CHALLENGE, and what answers it.
_ANSWERS: dict[str, t.Callable[[Authentication, dict[str, object]], str]] = {
    "ticket": Authentication._answer_ticket,
    "wampcra": Authentication._answer_wampcra,
    "scram": Authentication._answer_scram,
    "cryptosign": Authentication._answer_cryptosign,
}


def _derive_scram(password: bytes, salt: bytes, extra: dict[str, object]) -> bytes:
    """Compute SaltedPassword with the function the router names."""
    derive = _KDFS.get(_text(extra, "kdf"))
    if derive is None:
        raise ValueError(f"its kdf is none of {', '.join(_KDFS)}")
    return derive(password, salt, extra)


def _derive_argon2id(password: bytes, salt: bytes, extra: dict[str, object]) -> bytes:
    """As Crossbar (26.10.1) and autobahn do it: the key is the hash's unpadded base64 text."""
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
