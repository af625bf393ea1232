from __future__ import annotations

import base64
import hashlib
import hmac
import pickle
import subprocess
import sys
import typing as t
import warnings

import pytest

from flask_wamp.exceptions import AuthenticationError
from flask_wamp.protocol import auth
from flask_wamp.protocol.auth import Authentication, Credentials

SEED = "4d57d97a68f555696620a6d849c0ce582568518d729eb753dc7c732de2804510"
PUBLIC_KEY = "1adfc8bfe1d35616e64dffbd900096f23b066f914c8c2ffbb66f6075b96e116d"
SALT = bytes(range(16))
CRA_CHALLENGE = '{"authid": "peter", "nonce": "\u00fc", "session": 3251278072152162}'

PBKDF2 = {"kdf": "pbkdf2", "iterations": 4096, "memory": None}
ARGON2 = {"kdf": "argon2id-13", "iterations": 3, "memory": 512}

PETER = Credentials(authid="peter", secret="secret123")
SCRAM = Credentials(("scram",), authid="peter", secret="secret123")
CRYPTOSIGN = Credentials(private_key=SEED)


def without(monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    """Simulate that the library is not installed."""
    monkeypatch.setitem(sys.modules, library, None)


@pytest.fixture
def argon2() -> t.Any:
    return pytest.importorskip("argon2.low_level", reason="argon2-cffi is not installed")


@pytest.fixture
def cryptography() -> t.Any:
    return pytest.importorskip("cryptography", reason="cryptography is not installed")


class ScramRouter:
    """The router's half of scram, written after Crossbar 26.10.1, from the values that it stores."""

    def __init__(self, authid: str, salted_password: bytes, **challenge: t.Any) -> None:
        client_key = hmac.digest(salted_password, b"Client Key", "sha256")
        self.stored_key = hashlib.sha256(client_key).digest()
        self.server_key = hmac.digest(salted_password, b"Server Key", "sha256")
        self.authid = authid
        self.extra = {"salt": base64.b64encode(SALT).decode(), **challenge}
        self.auth_message = b""

    def challenge(self, hello: dict[str, t.Any], **changes: t.Any) -> dict[str, t.Any]:
        client_nonce = base64.b64decode(hello["authextra"]["nonce"])
        nonce = base64.b64encode(client_nonce + bytes(16)).decode()
        extra = {"nonce": nonce, **self.extra, **changes}
        self.auth_message = (
            "n={},r={},r={nonce},s={salt},i={iterations},c=,r={nonce}".format(
                self.authid, base64.b64encode(client_nonce).decode(), **extra
            )
        ).encode("ascii")
        return extra

    def accepts(self, proof: str) -> bool:
        signature = hmac.digest(self.stored_key, self.auth_message, "sha256")
        client_key = bytes(a ^ b for a, b in zip(signature, base64.b64decode(proof), strict=True))
        return hashlib.sha256(client_key).digest() == self.stored_key

    def welcome(self) -> dict[str, str]:
        signature = hmac.digest(self.server_key, self.auth_message, "sha256")
        return {"scram_server_signature": base64.b64encode(signature).decode()}


def pbkdf2_router(password: bytes = b"secret123") -> ScramRouter:
    return ScramRouter("peter", hashlib.pbkdf2_hmac("sha256", password, SALT, 4096), **PBKDF2)


def argon2_router(argon2: t.Any, password: bytes = b"secret123") -> ScramRouter:
    """The password salted as autobahn does it: out of the encoded hash, as text."""
    encoded = argon2.hash_secret(password, SALT, 3, 512, 1, 32, argon2.Type.ID)
    return ScramRouter("peter", encoded.split(b"$")[-1], **ARGON2)


# Credentials


@pytest.mark.parametrize(
    ("given", "offered"),
    [
        ({}, ("anonymous",)),
        ({"authid": "peter"}, ("anonymous",)),
        ({"ticket": "t"}, ("ticket",)),
        ({"authid": "peter", "secret": "s"}, ("wampcra", "scram")),
        ({"private_key": SEED}, ("cryptosign",)),
        (
            {"authid": "peter", "ticket": "t", "secret": "s", "private_key": SEED},
            ("cryptosign",),
        ),
        ({"authid": "peter", "ticket": "t", "secret": "s"}, ("wampcra", "scram")),
        ({"authmethods": ("anonymous", "ticket"), "ticket": "t"}, ("anonymous", "ticket")),
        ({"authmethods": ["scram"], "authid": "p", "secret": "s"}, ("scram",)),
    ],
)
def test_methods_are_offered_for_what_is_given(
    given: dict[str, t.Any], offered: tuple[str, ...], argon2: t.Any, cryptography: t.Any
) -> None:
    credentials = Credentials(**given)
    credentials.check()
    assert credentials.offered == offered
    assert Authentication(credentials).hello()["authmethods"] == list(offered)


def test_scram_is_not_inferred_without_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "argon2")
    PETER.check()
    assert PETER.offered == ("wampcra",)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"authmethods": ("kerberos",)}, "WAMP_AUTHMETHODS: 'kerberos' is not one of anonymous, "),
        ({"authmethods": ("ticket",)}, "'ticket' needs WAMP_TICKET"),
        ({"ticket": ""}, "'ticket' needs WAMP_TICKET"),
        ({"ticket": b"t"}, "'ticket' needs WAMP_TICKET, a string"),
        ({"authmethods": ("wampcra",), "secret": "s"}, "'wampcra' needs WAMP_AUTHID"),
        ({"authmethods": ("wampcra",), "authid": "peter"}, "'wampcra' needs WAMP_SECRET"),
        ({"secret": "s"}, "needs WAMP_AUTHID"),
        ({"authid": "peter", "secret": ""}, "needs WAMP_SECRET"),
        ({"authmethods": ("scram",), "secret": "s"}, "'scram' needs WAMP_AUTHID"),
        ({"authmethods": ("cryptosign",)}, "'cryptosign' needs WAMP_PRIVATE_KEY"),
        ({"authextra": {"channel_binding": "tls-unique"}}, "WAMP_AUTHEXTRA .* channel_binding"),
    ],
)
def test_check_names_the_wrong_configuration_key(given: dict[str, t.Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Credentials(**given).check()


@pytest.mark.parametrize(
    ("credentials", "library", "package"),
    [(SCRAM, "argon2", "argon2-cffi"), (CRYPTOSIGN, "cryptography", "cryptography")],
)
def test_check_says_what_to_install(
    credentials: Credentials, library: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, library)
    with pytest.raises(ValueError, match=f"pip install {package}$"):
        credentials.check()


def test_repr_hides_secrets() -> None:
    credentials = Credentials(
        authid="peter",
        secret="hide-secret",
        ticket="hide-ticket",
        private_key="hide-key",
        authextra={"token": "hide-extra"},
    )
    assert "peter" in repr(credentials)
    assert "hide" not in repr(credentials)
    assert "hide" not in repr(Authentication(PETER))


def test_credentials_are_values() -> None:
    assert pickle.loads(pickle.dumps(PETER)) == PETER
    assert hash(Credentials(authextra={"a": 1})) == hash(Credentials(authextra={"b": 2}))


def test_importing_auth_imports_no_library() -> None:
    code = (
        "import flask_wamp._wampy, sys\n"  # wampy imports whatever it likes
        "before = set(sys.modules)\n"
        "import flask_wamp.protocol.auth\n"
        "print({'argon2', 'cryptography'} & (set(sys.modules) - before))"
    )
    output = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    assert output.stdout == "set()\n"


# HELLO


def test_hello_without_credentials() -> None:
    assert Authentication(Credentials()).hello() == {"authmethods": ["anonymous"]}


def test_hello_has_authid_and_authextra() -> None:
    given = {"team": "a"}
    credentials = Credentials(authid="peter", ticket="t", authextra=given)
    assert Authentication(credentials).hello() == {
        "authmethods": ["ticket"],
        "authid": "peter",
        "authextra": {"team": "a"},
    }
    assert given == {"team": "a"}


def test_hello_never_has_the_secret(argon2: t.Any, cryptography: t.Any) -> None:
    credentials = Credentials(
        authid="peter", secret="hide-secret", ticket="hide-ticket", private_key=SEED
    )
    hello = str(Authentication(credentials).hello())
    assert "hide" not in hello
    assert SEED not in hello


def test_hello_has_the_public_key(cryptography: t.Any) -> None:
    hello = Authentication(Credentials(private_key=SEED, authextra={"team": "a"})).hello()
    assert hello["authextra"] == {"team": "a", "pubkey": PUBLIC_KEY, "channel_binding": None}


def test_each_hello_has_its_own_nonce() -> None:
    first, second = (Authentication(SCRAM).hello()["authextra"]["nonce"] for _ in range(2))
    assert first != second
    assert len(base64.b64decode(first, validate=True)) >= 16


# Answers


def test_ticket_is_answered_with_the_ticket() -> None:
    authentication = Authentication(Credentials(authid="peter", ticket="t-1"))
    assert authentication.authenticate("ticket", {}) == ("t-1", {})
    authentication.verify({})


def test_wampcra_vector() -> None:
    """The vector of autobahn's test suite."""
    authentication = Authentication(Credentials(authid="peter", secret="L3L1YUE8Txlw"))
    signature, extra = authentication.authenticate("wampcra", {"challenge": "[1, 2, 3]"})
    assert signature == "1njQtmmeYO41N5EWEzD2kAjjEKRZ5kPZt/TzpYXOzR0="
    assert extra == {}
    authentication.verify({})


def test_salted_wampcra_vector() -> None:
    """The derived key is of autobahn's test suite; its base64 text is the key of the HMAC."""
    authentication = Authentication(Credentials(authid="peter", secret="L3L1YUE8Txlw"))
    extra = {"challenge": "[1, 2, 3]", "salt": "salt123", "iterations": 1000, "keylen": 32}
    signature, _ = authentication.authenticate("wampcra", extra)
    key = b"qzcdsr9uu/L5hnss3kjNTRe490ETgA70ZBaB5rvnJ5Y="
    assert base64.b64decode(signature) == hmac.digest(key, b"[1, 2, 3]", "sha256")


@pytest.fixture
def autobahn() -> t.Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("autobahn.wamp.auth", reason="autobahn is not installed")


@pytest.mark.parametrize("keylen", [16, 32, 64])
def test_wampcra_agrees_with_autobahn(autobahn: t.Any, keylen: int) -> None:
    credentials = Credentials(authid="peter", secret="s\u00e4cret")
    salted = {"salt": "s\u00e4lt", "iterations": 123, "keylen": keylen}
    key = autobahn.derive_key("s\u00e4cret", *salted.values())
    for extra, expected_key in [({}, "s\u00e4cret"), (salted, key)]:
        challenge = {"challenge": CRA_CHALLENGE, **extra}
        signature, _ = Authentication(credentials).authenticate("wampcra", challenge)
        assert signature == autobahn.compute_wcs(expected_key, CRA_CHALLENGE).decode()


@pytest.mark.parametrize("authid", ["peter", "a,b=c"])
def test_scram_agrees_with_autobahn(autobahn: t.Any, argon2: t.Any, authid: str) -> None:
    if not autobahn.HAS_ARGON:
        pytest.skip("passlib, which autobahn needs for scram, is not installed")
    types = pytest.importorskip("autobahn.wamp.types")
    ours = Authentication(Credentials(("scram",), authid=authid, secret="secret123"))
    theirs = autobahn.AuthScram(authid=authid, password="secret123")
    theirs._client_nonce = ours.hello()["authextra"]["nonce"]
    extra = argon2_router(argon2).challenge(ours.hello())
    proof = theirs.on_challenge(None, types.Challenge("scram", extra))
    assert ours.authenticate("scram", extra) == (proof.decode(), {})


def test_scram_with_pbkdf2() -> None:
    authentication, router = Authentication(SCRAM), pbkdf2_router()
    proof, extra = authentication.authenticate("scram", router.challenge(authentication.hello()))
    assert router.accepts(proof)
    assert extra == {}
    authentication.verify({"x_cb_node": "n", **router.welcome()})


def test_scram_with_pbkdf2_needs_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch, "argon2")
    test_scram_with_pbkdf2()


def test_scram_with_argon2(argon2: t.Any) -> None:
    authentication, router = Authentication(SCRAM), argon2_router(argon2)
    proof, _ = authentication.authenticate("scram", router.challenge(authentication.hello()))
    assert router.accepts(proof)
    authentication.verify(router.welcome())


def test_argon2_vector(argon2: t.Any) -> None:
    """Of the argon2 tool: ``echo -n p4ssw0rd | argon2 1234567890abcdef -id -t 32 -m 9 -p 1 -l 32``."""
    extra = {"iterations": 32, "memory": 512}
    key = auth._derive_argon2id(b"p4ssw0rd", b"1234567890abcdef", extra)
    raw = base64.b64decode(key + b"=")
    assert raw.hex() == "ee4a8acf9d5958354fb79a95ae20692d05e42591ba49fae85eb6700e8b0ed293"


def test_argon2_agrees_with_autobahn(argon2: t.Any) -> None:
    """A vector for ``derive_scram_credential``, of autobahn's test suite."""
    salt = bytes.fromhex("3bc3ca01dd1d501ca1c22e1c5d7d16fe")
    salted_password = auth._derive_argon2id(b"secret123", salt, {"iterations": 4096, "memory": 512})
    router = ScramRouter("foobar@example.com", salted_password)
    assert router.stored_key.hex() == (
        "e796c2f0a51770303ee4616bc630a66774d51a55003154aff2a54ec7c4ac0e38"
    )
    assert router.server_key.hex() == (
        "8de7864c316f3c2356fd76cfdab696db55bc70e680fe5180e2f731e2345acca2"
    )


def test_pbkdf2_vector() -> None:
    """RFC 7677, section 3: its SaltedPassword must give its ServerSignature."""
    key = auth._derive_scram(
        b"pencil", base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ=="), {**PBKDF2, "iterations": 4096}
    )
    message = (
        b"n=user,r=rOprNGfwEbeRWgbNEkqO,"
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,"
        b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    )
    signature = hmac.digest(hmac.digest(key, b"Server Key", "sha256"), message, "sha256")
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="


@pytest.mark.parametrize(
    ("seed", "challenge", "signature"),
    [
        (
            SEED,
            "ff" * 32,
            (
                "b32675b221f08593213737bef8240e7c15228b07028e19595294678c90d11c0c"
                "ae80a357331bfc5cc9fb71081464e6e75013517c2cf067ad566a6b7b728e5d03"
            ),
        ),
        (
            "d511fe78e23934b3dadb52fcd022974b80bd92bccc7c5cf404e46cc0a8a2f5cd",
            "b26c1f87c13fc1da14997f1b5a71995dff8fbe0a62fae8473c7bdbd05bfb607d",
            (
                "d4209ad10d5aff6bfbc009d7e924795de138a63515efc7afc6b01b7fe5201372"
                "190374886a70207b042294af5bd64ce725cd8dceb344e6d11c09d1aaaf4d660f"
            ),
        ),
        (
            "6e1fde9cf9e2359a87420b65a87dc0c66136e66945196ba2475990d8a0c3a25b",
            "b05e6b8ad4d69abf74aa3be3c0ee40ae07d66e1895b9ab09285a2f1192d562d2",
            (
                "7beb282184baadd08f166f16dd683b39cab53816ed81e6955def951cb2ddad1e"
                "c184e206746fd82bda075af03711d3d5658fc84a76196b0fa8d1ebc92ef9f30b"
            ),
        ),
    ],
)
def test_cryptosign_vectors(seed: str, challenge: str, signature: str, cryptography: t.Any) -> None:
    """The vectors of the spec, "Cryptosign-based Authentication"."""
    authentication = Authentication(Credentials(private_key=seed))
    extra = {"challenge": challenge, "channel_binding": None}
    assert authentication.authenticate("cryptosign", extra) == (signature + challenge, {})
    authentication.verify({})


def test_cryptosign_signature_verifies_with_the_public_key(cryptography: t.Any) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    authentication = Authentication(CRYPTOSIGN)
    public_key = bytes.fromhex(authentication.hello()["authextra"]["pubkey"])
    signed, _ = authentication.authenticate("cryptosign", {"challenge": "0a" * 32})
    signature, message = bytes.fromhex(signed)[:64], bytes.fromhex(signed)[64:]
    assert message == b"\x0a" * 32
    Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)


# The private key


def encodings(seed: str) -> dict[str, bytes]:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    formats = {"openssh": s.PrivateFormat.OpenSSH, "pem": s.PrivateFormat.PKCS8}
    texts = {
        name: key.private_bytes(s.Encoding.PEM, format_, s.NoEncryption())
        for name, format_ in formats.items()
    }
    return {"raw": bytes.fromhex(seed), "hex": seed.upper().encode() + b"\n", **texts}


@pytest.mark.parametrize("encoding", ["raw", "hex", "openssh", "pem"])
def test_private_key_from_a_file(encoding: str, tmp_path: t.Any, cryptography: t.Any) -> None:
    path = tmp_path / "client.key"
    path.write_bytes(encodings(SEED)[encoding])
    credentials = Credentials(private_key=str(path))
    credentials.check()
    assert Authentication(credentials).hello()["authextra"]["pubkey"] == PUBLIC_KEY


@pytest.mark.parametrize("encoding", ["hex", "openssh", "pem"])
def test_private_key_from_the_value(encoding: str, cryptography: t.Any) -> None:
    credentials = Credentials(private_key=encodings(SEED)[encoding].decode())
    credentials.check()
    assert Authentication(credentials).hello()["authextra"]["pubkey"] == PUBLIC_KEY


def bad_keys() -> dict[str, bytes]:
    from cryptography.hazmat.primitives import serialization as s
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    form = s.Encoding.PEM, s.PrivateFormat.PKCS8
    encrypted = Ed25519PrivateKey.generate().private_bytes(*form, s.BestAvailableEncryption(b"pw"))
    not_ed25519 = ec.generate_private_key(ec.SECP256R1()).private_bytes(*form, s.NoEncryption())
    return {
        "empty": b"",
        "short": b"0" * 31,
        "binary": b"\xff" * 64,
        "text": b"ssh-ed25519 AAAA me",
        "broken": b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        "encrypted": encrypted,
        "not_ed25519": not_ed25519,
    }


@pytest.mark.parametrize(
    "name", ["empty", "short", "binary", "text", "broken", "encrypted", "not_ed25519"]
)
def test_bad_key_file(name: str, tmp_path: t.Any, cryptography: t.Any) -> None:
    path = tmp_path / "client.key"
    path.write_bytes(bad_keys()[name])
    credentials = Credentials(private_key=str(path))
    with pytest.raises(ValueError, match="WAMP_PRIVATE_KEY is not an unencrypted Ed25519 key"):
        credentials.check()
    with pytest.raises(AuthenticationError, match="WAMP_PRIVATE_KEY is not"):
        Authentication(credentials)


@pytest.mark.parametrize("typo", [SEED[:-1], SEED + "0", SEED[:-1] + "x", SEED + "\0"])
def test_key_with_a_typo_is_not_shown(typo: str, cryptography: t.Any) -> None:
    with pytest.raises(ValueError, match="WAMP_PRIVATE_KEY") as raised:
        Credentials(private_key=typo).check()
    assert SEED[:8] not in str(raised.value)
    assert raised.value.__context__ is None


def test_a_key_file_that_became_unreadable(tmp_path: t.Any, cryptography: t.Any) -> None:
    with pytest.raises(AuthenticationError, match="No such file"):
        Authentication(Credentials(private_key=str(tmp_path / "gone")))


# Wrong, broken or hostile routers


@pytest.mark.parametrize(
    ("credentials", "authmethod"),
    [
        (Credentials(), "anonymous"),
        (Credentials(), "ticket"),
        (SCRAM, "ticket"),
        (SCRAM, "wampcra"),
        (PETER, "cryptosign"),
        (Credentials(ticket="t"), "kerberos"),
        (Credentials(ticket="t"), "x" * 100_000),
    ],
)
def test_a_challenge_of_a_method_that_was_not_offered(
    credentials: Credentials, authmethod: str
) -> None:
    with pytest.raises(AuthenticationError, match="offered") as raised:
        Authentication(credentials).authenticate(authmethod, {"challenge": "c"})
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"challenge": None}, "its challenge is not a string"),
        ({"challenge": b"bytes"}, "its challenge is not a string"),
        ({"challenge": "\ud800"}, "UnicodeEncodeError"),
        ({"salt": b"bytes"}, "its salt is not a string"),
        ({"salt": "\ud800"}, "UnicodeEncodeError"),
        ({"iterations": None}, "its iterations is not an integer"),
        ({"iterations": 1000.0}, "its iterations is not an integer"),
        ({"iterations": True}, "its iterations is not an integer"),
        ({"iterations": 0}, "from 1 to 4000000"),
        ({"iterations": 4_000_001}, "from 1 to 4000000"),
        ({"iterations": 2**70}, "from 1 to 4000000"),
        ({"keylen": None}, "its keylen is not an integer"),
        ({"keylen": -1}, "its keylen is not an integer from 1 to"),
        ({"keylen": 2**31}, "its keylen is not an integer from 1 to"),
    ],
)
def test_bad_wampcra_challenge(changes: dict[str, t.Any], message: str) -> None:
    extra = {"challenge": "c", "salt": "s", "iterations": 1000, "keylen": 32, **changes}
    with pytest.raises(AuthenticationError, match=message):
        Authentication(PETER).authenticate("wampcra", extra)


def test_only_one_challenge_is_answered() -> None:
    authentication = Authentication(Credentials(ticket="t"))
    assert authentication.authenticate("ticket", {}) == ("t", {})
    with pytest.raises(AuthenticationError, match="second CHALLENGE"):
        authentication.authenticate("ticket", {})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"nonce": None}, "its nonce is not a string"),
        ({"nonce": "AAAA"}, "its nonce does not extend the client's nonce"),
        ({"salt": None}, "its salt is not a string"),
        ({"salt": "AAA"}, "padding"),
        ({"salt": "A A=A!"}, "bad scram challenge"),
        ({"salt": "\u00e4\u00e4\u00e4\u00e4"}, "bad scram challenge"),
        ({"kdf": None}, "its kdf is not a string"),
        ({"kdf": "md5"}, "its kdf is not one of argon2id-13, pbkdf2"),
        ({"iterations": "4096"}, "its iterations is not an integer"),
        ({"iterations": 4_000_001}, "from 4096 to 4000000"),
        ({**ARGON2, "memory": None}, "its memory is not an integer"),
        ({**ARGON2, "memory": -1}, "its memory is not an integer"),
        ({**ARGON2, "memory": 2**18 + 1}, "from 1 to 262144"),
        ({**ARGON2, "iterations": 0}, "its iterations is not an integer from 2 to"),
        ({**ARGON2, "memory": 2**18, "iterations": 17}, "from 1 to 16"),
        ({**ARGON2, "memory": 512, "iterations": 2**30}, "from 2 to 8192"),
        # Parameters that make guessing too cheap.
        ({"iterations": 1}, "from 4096 to 4000000"),
        ({"iterations": 4095}, "from 4096 to 4000000"),
        ({**ARGON2, "iterations": 1}, "from 2 to 8192"),
        ({**ARGON2, "memory": 8, "iterations": 1}, "from 128 to 524288"),
        ({"salt": ""}, "its salt is shorter than 8 bytes"),
        ({"salt": "AAAAAAAAAA=="}, "its salt is shorter than 8 bytes"),
    ],
)
def test_bad_scram_challenge(changes: dict[str, t.Any], message: str) -> None:
    authentication = Authentication(SCRAM)
    extra = {**pbkdf2_router().challenge(authentication.hello()), **changes}
    with pytest.raises(AuthenticationError, match=message):
        authentication.authenticate("scram", extra)


@pytest.mark.parametrize("changes", [{"memory": 1, "iterations": 4096}, {"salt": "AAAA"}])
def test_parameters_that_argon2_refuses(changes: dict[str, t.Any], argon2: t.Any) -> None:
    authentication = Authentication(SCRAM)
    extra = {**argon2_router(argon2).challenge(authentication.hello()), **changes}
    with pytest.raises(AuthenticationError, match="bad scram challenge"):
        authentication.authenticate("scram", extra)


def test_argon2_challenge_without_the_library(monkeypatch: pytest.MonkeyPatch) -> None:
    authentication = Authentication(SCRAM)
    without(monkeypatch, "argon2")
    extra = pbkdf2_router().challenge(authentication.hello(), **ARGON2)
    with pytest.raises(AuthenticationError, match="pip install argon2-cffi$"):
        authentication.authenticate("scram", extra)


def test_nonce_that_only_repeats_ours() -> None:
    authentication = Authentication(SCRAM)
    hello = authentication.hello()
    extra = {**pbkdf2_router().challenge(hello), "nonce": hello["authextra"]["nonce"]}
    with pytest.raises(AuthenticationError, match="does not extend the client's nonce"):
        authentication.authenticate("scram", extra)


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"challenge": 1},
        {"challenge": "ff" * 31},
        {"challenge": "ff" * 33},
        {"challenge": "ff " * 31 + "ff"},
        {"challenge": "zz" * 32},
        {"challenge": "\uff11" * 64},
        {"challenge": "ff" * 32, "channel_binding": "tls-unique"},
    ],
)
def test_bad_cryptosign_challenge(extra: dict[str, t.Any], cryptography: t.Any) -> None:
    with pytest.raises(AuthenticationError, match="bad cryptosign challenge"):
        Authentication(CRYPTOSIGN).authenticate("cryptosign", extra)


@pytest.mark.parametrize(
    "authextra",
    [
        {},
        ["scram_server_signature"],
        {"scram_server_signature": None},
        {"scram_server_signature": b"bytes"},
        {"scram_server_signature": ""},
        {"scram_server_signature": "\ud800"},
        {"scram_server_signature": base64.b64encode(bytes(32)).decode()},
    ],
)
def test_router_that_cannot_sign_is_not_trusted(authextra: t.Any) -> None:
    authentication = Authentication(SCRAM)
    authentication.authenticate("scram", pbkdf2_router().challenge(authentication.hello()))
    with pytest.raises(AuthenticationError, match="does not know the secret"):
        authentication.verify(authextra)


def test_router_with_another_secret_is_not_trusted() -> None:
    authentication, router = Authentication(SCRAM), pbkdf2_router(b"another")
    proof, _ = authentication.authenticate("scram", router.challenge(authentication.hello()))
    assert not router.accepts(proof)
    with pytest.raises(AuthenticationError, match="does not know the secret"):
        authentication.verify(router.welcome())


def test_router_that_skips_scram_is_not_trusted() -> None:
    with pytest.raises(AuthenticationError, match="WELCOME without a CHALLENGE"):
        Authentication(SCRAM).verify({})


@pytest.mark.parametrize("credentials", [Credentials(), Credentials(ticket="t"), PETER])
def test_other_methods_do_not_verify_the_router(credentials: Credentials) -> None:
    Authentication(credentials).verify({})


def test_errors_never_show_the_secret() -> None:
    credentials = Credentials(authid="peter", secret="hide\ud800", ticket="hide-ticket")
    with pytest.raises(AuthenticationError) as raised:
        Authentication(credentials).authenticate("wampcra", {"challenge": "c"})
    assert "hide" not in str(raised.value)
    assert raised.value.__suppress_context__
