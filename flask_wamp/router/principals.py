"""Authentication by a table of principals: who may join, by which method, and with which role.

The table has the form of Crossbar.io's static authentication::

    {
        "ticket": {"joe": {"ticket": "...", "role": "frontend"}},
        "wampcra": {"sue": {"secret": "...", "role": "frontend", "salt": "...", "iterations": 1000}},
        "scram": {"ann": {"secret": "...", "role": "backend"}},
        "cryptosign": {"device": {"authorized_keys": ["<64 hex digits>"], "role": "device"}},
        "anonymous": {"role": "guest"}
    }

``salt``, ``iterations`` and ``keylen`` of ``wampcra`` are optional. A principal of ``scram`` has a
``secret``, or the values that :func:`.scram.derive` derives from one: ``salt`` in Base64, ``iterations``, and
``stored_key`` and ``server_key`` in hex. Values that Crossbar.io has derived with argon2id work too. They
have a ``kdf`` of ``argon2id-13`` and a key ``memory``.

A client that is not in the table gets a challenge like every other client, but no answer to it is accepted.
So clients cannot find out which principals exist.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..protocol import error_uris
from ..protocol.identity import BrowserIdentity, Identity
from ..protocol.principals import describe_key, is_public_key
from ..protocol.similar import did_you_mean
from . import scram
from .authentication import Challenge, JoinRequest, Refusal, Verdict, anonymous
from .challenges import GrantedIdentity, cryptosign, ticket, wampcra

Table = t.Mapping[str, t.Any]

METHODS = ("cryptosign", "scram", "wampcra", "ticket", "anonymous")


class Principals:
    """An authenticator with a table of principals.

    :param table: The table of principals. The docstring of this module describes it.
    :param secret: The bytes from which salts are derived. A client that asks twice for the same principal
        must get the same salt, whether the principal exists or not.
    :raises ValueError: The table is invalid. The message says where, and what is allowed.
    """

    def __init__(self, table: Table, secret: bytes | None = None) -> None:
        _check_keys("principals", table, METHODS)
        self._salts = secret or os.urandom(32)
        self._anonymous = _anonymous_role(table)
        self._tickets = _entries(table, "ticket", {"ticket": str}, {})
        self._secrets = _entries(
            table, "wampcra", {"secret": str}, {"salt": str, "iterations": int, "keylen": int}
        )
        self._scram = _entries(table, "scram", {}, scram.FIELDS)
        for authid, entry in self._scram.items():
            scram.check(f"principals.scram.{authid}", entry)
        self._credentials: dict[str, scram.Credential] = {}
        self._keys = _by_key(_entries(table, "cryptosign", {"authorized_keys": list}, {}))
        self._methods = frozenset(name for name in METHODS if name in table)

    def __call__(self, request: JoinRequest) -> Verdict | Challenge:
        """Authenticate by the first method of the client that the table contains."""
        for method in request.authmethods:
            name = "scram" if method == scram.STANDARD else method
            if name in self._methods:
                begin: t.Callable[[JoinRequest, str], Verdict | Challenge] = getattr(
                    self, f"_begin_{name}"
                )
                return begin(request, method)
        return Refusal(
            error_uris.NO_MATCHING_AUTH_METHOD,
            f"offer one of {', '.join(sorted(self._methods))}, not {list(request.authmethods)}",
        )

    def has(self, method: str) -> bool:
        """Return whether there are principals of a method other than ``anonymous``."""
        return method in self._methods and method != "anonymous"

    def _begin_anonymous(self, request: JoinRequest, method: str) -> Verdict:
        return anonymous(request, self._anonymous)

    def _begin_ticket(self, request: JoinRequest, method: str) -> Verdict | Challenge:
        if request.authid is None:
            return _NO_AUTHID
        entry = self._tickets.get(request.authid)
        expected = entry["ticket"] if entry else None
        return ticket(expected, self._grant(request, "ticket", entry))

    def _begin_wampcra(self, request: JoinRequest, method: str) -> Verdict | Challenge:
        if request.authid is None:
            return _NO_AUTHID
        entry = self._secrets.get(request.authid)
        grant = self._grant(request, "wampcra", entry)
        return wampcra(request, entry or self._made_up(request.authid), grant)

    def _made_up(self, authid: str) -> Table:
        """Return an entry for an unknown principal. Its challenge looks like that of a known one."""
        model = next(iter(self._secrets.values()), {"role": ""})
        made_up = {**model, "secret": ""}
        if "salt" in model:
            made_up["salt"] = scram.salt_of(self._salts, authid).hex()
        return made_up

    def _begin_scram(self, request: JoinRequest, method: str) -> Verdict | Challenge:
        if request.authid is None:
            return _NO_AUTHID
        entry = self._scram.get(request.authid)
        if entry is None:
            salt = scram.salt_of(self._salts, request.authid)
            model = next(iter(self._scram.values()), {})
            credential = scram.Credential.made_up(salt, model)
            return scram.challenge(request, method, credential, None)
        # Derived when it is needed first, and then kept, because the derivation takes milliseconds.
        if request.authid not in self._credentials:
            salt = scram.salt_of(self._salts, request.authid)
            self._credentials[request.authid] = scram.Credential.parse(entry, salt)
        credential = self._credentials[request.authid]
        return scram.challenge(request, method, credential, self._grant(request, method, entry))

    def _begin_cryptosign(self, request: JoinRequest, method: str) -> Verdict | Challenge:
        key = request.authextra.get("pubkey")
        if not isinstance(key, str):
            return Refusal(message="cryptosign needs the public key as authextra.pubkey")
        authid, role = self._keys.get(key.lower(), ("", ""))
        is_known = bool(authid) and request.authid in (None, authid)
        return cryptosign(
            request, key, GrantedIdentity(authid, role, "cryptosign") if is_known else None
        )

    def _grant(
        self, request: JoinRequest, method: str, entry: Table | None
    ) -> GrantedIdentity | None:
        assert request.authid is not None
        return GrantedIdentity(request.authid, entry["role"], method) if entry else None


def of_app(verdict: object, app: str) -> Verdict:
    """Return a verdict that makes the rules of an app apply to the session."""
    if not isinstance(verdict, Identity):
        return t.cast(Verdict, verdict)
    return BrowserIdentity(
        verdict.authid,
        verdict.authrole,
        verdict.authextra,
        verdict.authmethod,
        verdict.authprovider,
        app=app,
    )


def prove(verdict: Verdict | Challenge, app: str) -> Verdict | Challenge:
    """Return the verdict or the challenge for a principal of an app."""
    if not isinstance(verdict, Challenge):
        return of_app(verdict, app)
    verify = verdict.verify
    return dataclasses.replace(
        verdict, verify=lambda signature, extra: of_app(verify(signature, extra), app)
    )


_NO_AUTHID = Refusal(message="HELLO.Details.authid is missing")


def _anonymous_role(table: Table) -> str:
    entry = table.get("anonymous", {"role": "anonymous"})
    _check_entry("principals.anonymous", entry, {"role": str}, {})
    role: str = entry["role"]
    return role


def _entries(
    table: Table,
    method: str,
    required: t.Mapping[str, type],
    optional: t.Mapping[str, type],
) -> dict[str, dict[str, t.Any]]:
    entries = table.get(method, {})
    if not isinstance(entries, dict):
        raise ValueError(f"principals.{method}: must be a dictionary of principals")
    for authid, entry in entries.items():
        where = f"principals.{method}.{authid}"
        _check_entry(where, entry, {"role": str, **required}, optional)
    return entries


def _check_entry(
    where: str, entry: object, required: t.Mapping[str, type], optional: t.Mapping[str, type]
) -> None:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: must be a dictionary")
    kinds = {**required, **optional}
    _check_keys(where, entry, kinds)
    for name, kind in kinds.items():
        if name not in entry and name in optional:
            continue
        value = entry.get(name)
        if name not in entry:
            raise ValueError(f"{where}: the key {name!r} is missing")
        if type(value) is not kind or not value:
            # The value is not shown: it may be a secret.
            raise ValueError(f"{where}.{name}: must be {_KINDS[kind]}")


_KINDS: dict[type, str] = {
    str: "a non-empty string",
    int: "an integer above 0",
    list: "a non-empty list",
}


def _check_keys(where: str, table: Table, allowed: t.Iterable[str]) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: must be a dictionary")
    for key in table:
        if key not in allowed:
            hint = did_you_mean(str(key), allowed)
            raise ValueError(f"{where}: {key!r} is not one of {', '.join(allowed)}{hint}")


def _by_key(entries: dict[str, dict[str, t.Any]]) -> dict[str, tuple[str, str]]:
    """Return the authid and the role of each public key."""
    owners: dict[str, tuple[str, str]] = {}
    for authid, entry in entries.items():
        for key in entry["authorized_keys"]:
            where = f"principals.cryptosign.{authid}.authorized_keys"
            if not is_public_key(key):
                raise ValueError(
                    f"{where}: a public key must be 64 hex digits, not {describe_key(key)}"
                )
            if key.lower() in owners:
                raise ValueError(f"{where}: {key} is also a key of {owners[key.lower()][0]!r}")
            owners[key.lower()] = authid, entry["role"]
    return owners
