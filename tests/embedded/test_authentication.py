"""Joining: authentication by all methods. The other side is the library's own client."""

from __future__ import annotations

import base64
import hashlib
import typing as t

import pytest

from flask_wamp.protocol.auth import Authentication, Credentials
from flask_wamp.router import Challenge, Identity, JoinRequest, Later, Refusal, scram
from flask_wamp.router.principals import Principals
from tests.embedded.pair import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CHALLENGE,
    GOODBYE,
    WELCOME,
    Line,
    Message,
    TestRouter,
)

PRIVATE_KEY = "4f3b0f2a" * 8
DENIED = "wamp.error.authentication_denied"

TABLE: dict[str, t.Any] = {
    "ticket": {"joe": {"ticket": "t1cket", "role": "frontend"}},
    "wampcra": {
        "sue": {"secret": "s3cret", "role": "frontend"},
        "ned": {"secret": "s3cret", "role": "backend", "salt": "salt123", "iterations": 100},
    },
    "scram": {"ann": {"secret": "pa55", "role": "backend"}},
}


def public_key(private: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private))
    return key.public_key().public_bytes_raw().hex()


@pytest.fixture
def router(make_router: t.Callable[..., TestRouter]) -> TestRouter:
    keys = {"device": {"authorized_keys": [public_key(PRIVATE_KEY)], "role": "device"}}
    return make_router(authenticator=Principals({**TABLE, "cryptosign": keys}))


def log_in(router: TestRouter, **credentials: t.Any) -> tuple[Line, Message, Authentication]:
    """Join as a client of the library does. Return the last answer."""
    line = router.connect()
    authentication = Authentication(Credentials(**credentials))
    line.hello(**authentication.hello())
    message = line.take_last()
    if message[0] == CHALLENGE:
        line.send(AUTHENTICATE, *authentication.authenticate(message[1], message[2]))
        message = line.take_last()
    return line, message, authentication


@pytest.mark.parametrize(
    ("method", "authid", "role", "credentials"),
    [
        ("ticket", "joe", "frontend", {"ticket": "t1cket"}),
        ("wampcra", "sue", "frontend", {"secret": "s3cret"}),
        ("wampcra", "ned", "backend", {"secret": "s3cret"}),
        ("scram", "ann", "backend", {"secret": "pa55"}),
        ("cryptosign", "device", "device", {"private_key": PRIVATE_KEY}),
    ],
)
def test_a_principal_joins(
    router: TestRouter, method: str, authid: str, role: str, credentials: dict[str, str]
) -> None:
    line, welcome, authentication = log_in(
        router, authid=authid, authmethods=(method,), **credentials
    )
    assert welcome[0] == WELCOME
    details = welcome[2]
    names = ("realm", "authid", "authrole", "authmethod", "authprovider")
    assert [details[name] for name in names] == ["realm1", authid, role, method, "static"]
    authentication.verify(details.get("authextra", {}))
    assert "authextra" not in line.ask("wamp.session.get", line.session.id)
    assert line.session.identity == Identity(authid, role, {}, method, "static")
    assert line.closed is None


@pytest.mark.parametrize(
    ("method", "authid", "credentials"),
    [
        ("ticket", "joe", {"ticket": "wrong"}),
        ("ticket", "nobody", {"ticket": "t1cket"}),
        ("wampcra", "sue", {"secret": "wrong"}),
        ("wampcra", "nobody", {"secret": "s3cret"}),
        ("wampcra", "nobody", {"secret": ""}),
        ("scram", "ann", {"secret": "wrong"}),
        ("scram", "nobody", {"secret": "pa55"}),
        ("cryptosign", "device", {"private_key": "00" * 32}),
        ("cryptosign", "joe", {"private_key": PRIVATE_KEY}),
    ],
)
def test_other_clients_do_not_join(
    router: TestRouter, method: str, authid: str, credentials: dict[str, str]
) -> None:
    line, abort, _ = log_in(router, authid=authid, authmethods=(method,), **credentials)
    assert abort == [ABORT, {"message": "the answer to the challenge is wrong"}, DENIED]
    assert line.closed is False
    assert not router.realms, "a realm was created for a refused client"
    assert router.next_deadline is None


@pytest.mark.parametrize("method", ["ticket", "wampcra", "scram"])
def test_a_client_cannot_find_out_which_principals_exist(router: TestRouter, method: str) -> None:
    def shape(authid: str) -> t.Any:
        line = router.connect()
        line.hello(authid=authid, authmethods=[method], authextra={"nonce": "abcd"})
        code, name, extra = line.take_last()
        return code, name, {key: type(value) for key, value in extra.items()}

    known = {"ticket": "joe", "wampcra": "sue", "scram": "ann"}[method]
    assert shape(known) == shape("nobody")


def test_the_salt_of_a_principal_does_not_change(router: TestRouter) -> None:
    def salt(authid: str) -> str:
        line = router.connect()
        line.hello(authid=authid, authmethods=["scram"], authextra={"nonce": "abcd"})
        return t.cast(str, line.take_last()[2]["salt"])

    assert salt("ann") == salt("ann") != salt("nobody") == salt("nobody")


def test_scram_as_in_the_specification(router: TestRouter) -> None:
    """RFC 5802 in full: ``c=biws``, the authid escaped, the verifier with ``v=``."""
    import hmac

    line = router.connect()
    nonce = base64.b64encode(b"0123456789").decode()
    line.hello(authid="ann", authmethods=["wamp-scram"], authextra={"nonce": nonce})
    code, method, extra = line.take_last()
    assert (code, method, extra["kdf"]) == (CHALLENGE, "wamp-scram", "pbkdf2")
    assert extra["nonce"].startswith(nonce) and extra["nonce"] != nonce
    signed = (
        f"n=ann,r={nonce},r={extra['nonce']},s={extra['salt']},i={extra['iterations']},"
        f"c=biws,r={extra['nonce']}"
    ).encode()
    salt = base64.b64decode(extra["salt"])
    salted = hashlib.pbkdf2_hmac("sha256", b"pa55", salt, extra["iterations"])
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    signature = hmac.digest(hashlib.sha256(client_key).digest(), signed, "sha256")
    proof = bytes(a ^ b for a, b in zip(client_key, signature, strict=True))
    line.send(AUTHENTICATE, base64.b64encode(proof).decode(), {"nonce": extra["nonce"]})
    code, _, details = line.take_last()
    verifier = hmac.digest(hmac.digest(salted, b"Server Key", "sha256"), signed, "sha256")
    assert code == WELCOME
    assert details["authmethod"] == "wamp-scram"
    assert details["authextra"] == {"verifier": "v=" + base64.b64encode(verifier).decode()}


def test_a_principal_may_have_derived_scram_values() -> None:
    credential = scram.derive("pa55", b"0123456789abcdef", 4096)
    entry = {
        "role": "backend",
        "salt": base64.b64encode(credential.salt).decode(),
        "iterations": 4096,
        "stored_key": credential.stored_key.hex(),
        "server_key": credential.server_key.hex(),
    }
    router = TestRouter(authenticator=Principals({"scram": {"ann": entry}}))
    _, welcome, authentication = log_in(router, authid="ann", authmethods=("scram",), secret="pa55")
    assert welcome[0] == WELCOME
    authentication.verify(welcome[2]["authextra"])


#: The values that Crossbar.io derives from "scram-secret", see ``tests/router/auth-config.json``.
ARGON2ID: dict[str, t.Any] = {
    "role": "backend",
    "kdf": "argon2id-13",
    "iterations": 3,
    "memory": 512,
    "salt": "AAECAwQFBgcICQoLDA0ODw==",
    "stored_key": "ea3bec15b09416863ab75e6446a5c70c913e2ca291f177105d97983f54ee6a18",
    "server_key": "70c8ed2784d7e4f6fb8b890ec7793360deda1871f4bf84229d9055b4e5c089cd",
}


def test_a_principal_may_have_argon2id_values_of_crossbar() -> None:
    pytest.importorskip("argon2")
    router = TestRouter(authenticator=Principals({"scram": {"ann": ARGON2ID}}))
    for secret, code in (("scram-secret", WELCOME), ("wrong", ABORT)):
        _, answer, authentication = log_in(
            router, authid="ann", authmethods=("scram",), secret=secret
        )
        assert answer[0] == code
        if code == WELCOME:
            authentication.verify(answer[2]["authextra"])


def test_an_unknown_client_gets_the_same_challenge() -> None:
    router = TestRouter(authenticator=Principals({"scram": {"ann": ARGON2ID}}))
    challenges = []
    for authid in ("ann", "nobody"):
        line = router.connect()
        line.hello(authid=authid, authmethods=["scram"], authextra={"nonce": "abcd"})
        challenges.append(line.take_last()[2])
    known, unknown = ({**extra, "nonce": "", "salt": ""} for extra in challenges)
    assert known == unknown
    assert known["kdf"] == "argon2id-13" and known["memory"] == 512


def test_the_method_of_the_specification_is_refused_with_argon2id() -> None:
    router = TestRouter(authenticator=Principals({"scram": {"ann": ARGON2ID}}))
    line = router.connect()
    line.hello(authid="ann", authmethods=["wamp-scram"], authextra={"nonce": "abcd"})
    code, details, _ = line.take_last()
    assert code == ABORT
    assert details["message"] == "wamp-scram is supported with pbkdf2 only, offer scram"


def test_the_first_common_method_is_used(router: TestRouter) -> None:
    line = router.connect()
    line.hello(authid="sue", authmethods=["tls", "wampcra", "ticket"])
    assert line.take_last()[1] == "wampcra"


def test_a_method_that_is_not_offered_is_refused(router: TestRouter) -> None:
    for methods in (["anonymous"], [], ["tls"]):
        line = router.connect()
        line.hello(authid="sue", authmethods=methods)
        code, details, reason = line.take_last()
        assert (code, reason) == (ABORT, "wamp.error.no_matching_auth_method")
        assert "cryptosign, scram, ticket, wampcra" in details["message"]


def test_an_answer_is_valid_once(router: TestRouter) -> None:
    line = router.connect()
    line.hello(authid="joe", authmethods=["ticket"])
    line.take_last()
    line.send(AUTHENTICATE, "t1cket", {})
    assert line.take()[0] == WELCOME
    line.send(AUTHENTICATE, "t1cket", {})
    assert line.take_last()[2] == "wamp.error.protocol_violation"


def test_authentication_ends_in_time(router: TestRouter) -> None:
    line = router.connect()
    line.hello(authid="joe", authmethods=["ticket"])
    line.take_last()
    router.pass_time(router.settings.authentication_timeout)
    assert line.take_last() == [
        ABORT,
        {"message": "not authenticated in time"},
        "wamp.error.authentication_failed",
    ]
    assert line.closed is False


def test_a_transport_with_an_identity_needs_no_authentication(router: TestRouter) -> None:
    identity = Identity("app", "trusted", {"pid": 7}, "unix", "router")
    line = router.join(identity=identity)
    assert line.welcome["authid"] == "app"
    assert line.welcome["authextra"] == {"pid": 7}
    assert line.session.identity is identity


@pytest.mark.parametrize(
    "table",
    [
        {"magic": {}},
        {"ticket": []},
        {"ticket": {"joe": {"role": "x"}}},
        {"ticket": {"joe": {"ticket": "x"}}},
        {"ticket": {"joe": {"ticket": 7, "role": "x"}}},
        {"ticket": {"joe": {"ticket": "x", "role": "x", "rôle": "x"}}},
        {"wampcra": {"joe": {"secret": "x", "role": "x", "iterations": "many"}}},
        {"scram": {"joe": {"role": "x"}}},
        {"scram": {"joe": {"role": "x", "secret": "x", "stored_key": "x"}}},
        {"scram": {"joe": {"role": "x", "salt": "!", "stored_key": "x", "server_key": "x"}}},
        {"scram": {"joe": {"role": "x", "secret": "x", "kdf": "md5"}}},
        {"scram": {"joe": {"role": "x", "secret": "x", "memory": 512}}},
        {"scram": {"joe": {"role": "x", "secret": "x", "kdf": "argon2id-13"}}},
        {"cryptosign": {"joe": {"role": "x", "authorized_keys": []}}},
        {"cryptosign": {"joe": {"role": "x", "authorized_keys": ["zz"]}}},
        {"anonymous": {}},
        {"anonymous": {"role": ""}},
        [],
    ],
)
def test_the_error_of_an_invalid_table_says_where(table: t.Any) -> None:
    with pytest.raises(ValueError) as caught:
        Principals(table)
    where = next(iter(table), "principals")
    assert str(caught.value).startswith((where, "principals"))


# Authenticator functions.


def test_a_function_decides(make_router: t.Callable[..., TestRouter]) -> None:
    def authenticator(request: JoinRequest) -> Identity:
        cookie = request.facts.http_headers["cookie"]
        return Identity(cookie, f"of {request.realm}", {"name": "Ann"}, "cookie", "dynamic")

    router = make_router(authenticator=authenticator)
    line = router.join(http_headers={"cookie": "ann"}, details={"authid": "mallory"})
    assert line.welcome["authid"] == "ann"
    assert line.welcome["authextra"] == {"name": "Ann"}
    assert "cookie" not in str(line.ask("wamp.session.get", line.id)["transport"])


def test_a_function_may_answer_later(make_router: t.Callable[..., TestRouter]) -> None:
    answers: list[Later[t.Any]] = []
    tickets: list[str] = []

    def verify(ticket: str, extra: t.Any) -> Later[t.Any]:
        tickets.append(ticket)
        answers.append(Later())
        return answers[-1]

    router = make_router(authenticator=lambda request: Challenge("ticket", {}, verify))
    good, bad, gone, slow = [router.connect() for _ in range(4)]
    for line in (good, bad, gone, slow):
        line.hello(authmethods=["ticket"])
        assert line.take_last() == [CHALLENGE, "ticket", {}]
        line.send(AUTHENTICATE, "one", {})
        assert not line.inbox
    gone.lose()
    answers[0].resolve(Identity("ann", "member", authmethod="ticket", authprovider="dynamic"))
    answers[1].resolve(Refusal("com.example.error.used", "used already"))
    answers[2].resolve(Identity("gone", "member"))
    assert good.take_last()[2]["authid"] == "ann"
    assert bad.take_last() == [ABORT, {"message": "used already"}, "com.example.error.used"]
    assert not gone.inbox
    router.pass_time(router.settings.authentication_timeout)
    assert slow.take_last()[0] == ABORT
    answers[3].resolve(Identity("slow", "member"))
    assert not slow.inbox
    assert good.ask("wamp.session.count") == 1


@pytest.mark.parametrize("answer", [None, True, "ann", {"authid": "ann"}])
def test_an_authenticator_that_returns_none_refuses(
    make_router: t.Callable[..., TestRouter], answer: t.Any
) -> None:
    line = make_router(authenticator=lambda request: answer).connect()
    line.hello()
    assert line.take_last()[2] == "wamp.error.authentication_failed"
    assert line.closed is False


def test_an_authenticator_that_raises_refuses(
    make_router: t.Callable[..., TestRouter],
) -> None:
    def authenticator(request: JoinRequest) -> Identity:
        raise RuntimeError("the database is away")

    line = make_router(authenticator=authenticator).connect()
    line.hello()
    [_, details, reason] = line.take_last()
    assert reason == "wamp.error.authentication_failed"
    assert "database" not in details["message"]


def test_all_clients_are_anonymous_without_an_authenticator() -> None:
    router = TestRouter()
    one, other = router.join(), router.join()
    assert one.welcome["authid"] != other.welcome["authid"]
    assert one.welcome["authmethod"] == one.welcome["authrole"] == "anonymous"
    line = router.connect()
    line.hello(authmethods=["ticket"], authid="joe")
    assert line.take_last()[2] == "wamp.error.no_matching_auth_method"


def test_a_client_may_join_again_on_its_transport(router: TestRouter) -> None:
    router = TestRouter()
    line = router.join()
    first = line.id
    line.register("com.example.add")
    line.send(GOODBYE, {}, "wamp.close.close_realm")
    assert line.take_last() == [GOODBYE, {}, "wamp.close.goodbye_and_out"]
    line.hello("realm2")
    [code, second, details] = line.take_last()
    assert (code, details["realm"]) == (WELCOME, "realm2")
    assert second != first
    line.send(CALL, 1, {}, "wamp.registration.list")
    assert line.take_last()[3] == [{"exact": [], "prefix": [], "wildcard": []}]
