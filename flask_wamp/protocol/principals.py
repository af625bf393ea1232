"""Principals: clients that authenticate with a secret or a public key, such as devices.

Source: WAMP Advanced Profile, "Challenge Response Authentication" and "Cryptosign-based Authentication".
"""

from __future__ import annotations

import dataclasses
import typing as t

from .similar import did_you_mean

#: The form of principals in a configuration, for error messages.
FORMS: t.Final = "a dictionary such as {'device-7': {'role': 'device', 'secret': '...'}}"

_KEYS: t.Final = frozenset({"role", "secret", "public_key"})


@dataclasses.dataclass(frozen=True)
class Principal:
    """A client that authenticates with a secret or a public key."""

    authid: str
    role: str
    secret: str | None = dataclasses.field(default=None, repr=False)
    """The secret for WAMP-CRA."""

    public_keys: tuple[str, ...] = ()
    """The public keys for cryptosign, each of 64 hex digits in lower case."""


def make_principal(
    authid: object, role: object, secret: object = None, public_key: object = None
) -> Principal:
    """Check and return a principal.

    :param public_key: 64 hex digits, or a list of such keys.
    :raises ValueError: An argument is missing or invalid. The message does not contain the secret.
    """
    if not isinstance(authid, str) or not authid:
        raise ValueError(
            f"the authid of a principal must be a non-empty string, not {authid!r:.100}"
        )
    where = f"principal {authid!r:.100}"
    if not isinstance(role, str) or not role or role == "*":
        raise ValueError(f"{where}: role must be the name of a role, such as 'device'")
    if (secret is None) == (public_key is None):
        raise ValueError(f"{where}: give either a secret or a public_key")
    if secret is not None and (not isinstance(secret, str) or not secret):
        raise ValueError(f"{where}: secret must be a non-empty string")
    given = [] if public_key is None else [public_key]
    keys = public_key if isinstance(public_key, list | tuple) else given
    for key in keys:
        if not is_public_key(key):
            raise ValueError(
                f"{where}: public_key must be 64 hex digits, or a list of such keys, not "
                f"{describe_key(key)}"
            )
    if public_key is not None and not keys:
        raise ValueError(f"{where}: public_key is an empty list")
    return Principal(authid, role, secret, tuple(str(key).lower() for key in keys))


def is_public_key(value: object) -> bool:
    """Return whether a value is an Ed25519 public key in hex."""
    return (
        isinstance(value, str)
        and len(value) == 64
        and all(c in "0123456789abcdefABCDEF" for c in value)
    )


def describe_key(value: object) -> str:
    """Describe an invalid public key for an error. The text does not contain it: it may be a secret."""
    return f"text of {len(value)} characters" if isinstance(value, str) else type(value).__name__


def read_principals(value: object) -> list[Principal]:
    """Return the principals of a dictionary whose keys are authids. See :data:`FORMS`.

    :raises ValueError: The value is not a dictionary, or a principal is invalid.
    """
    if not isinstance(value, dict):
        raise ValueError("this is not a dictionary")
    made = []
    for authid, entry in value.items():
        if not isinstance(entry, dict):
            raise ValueError(f"principal {authid!r:.100} must be a dictionary")
        unknown = sorted(map(str, entry.keys() - _KEYS))
        if unknown:
            raise ValueError(
                f"principal {authid!r:.100} has unknown keys: {', '.join(unknown)}. Use role, and secret or "
                f"public_key{did_you_mean(unknown[0], _KEYS)}"
            )
        made.append(make_principal(authid, **{"role": None, **entry}))
    return made


class Directory:
    """The principals of an app."""

    def __init__(self, principals: t.Iterable[Principal] = ()) -> None:
        self._by_authid: dict[str, Principal] = {}
        self._by_key: dict[str, Principal] = {}
        for principal in principals:
            self.add(principal)

    def __len__(self) -> int:
        return len(self._by_authid)

    def __contains__(self, authid: object) -> bool:
        return authid in self._by_authid

    def add(self, principal: Principal) -> None:
        """Add a principal.

        :raises ValueError: Another principal has the same authid or key.
        """
        if principal.authid in self._by_authid:
            raise ValueError(f"there are two principals with the authid {principal.authid!r:.100}")
        for key in principal.public_keys:
            if key in self._by_key:
                raise ValueError(
                    f"two principals have the public key {key}: {self._by_key[key].authid!r:.100} and "
                    f"{principal.authid!r:.100}"
                )
        self._by_authid[principal.authid] = principal
        self._by_key.update(dict.fromkeys(principal.public_keys, principal))

    def with_secret(self, authid: str | None) -> Principal | None:
        """Return the principal with an authid, or None if there is none or it has no secret."""
        found = self._by_authid.get(authid or "")
        return found if found is not None and found.secret is not None else None

    def with_key(self, key: object) -> Principal | None:
        """Return the principal with a public key, or None if there is none."""
        return self._by_key.get(key.lower()) if isinstance(key, str) else None

    @property
    def some_with_secret(self) -> Principal | None:
        """Any principal with a secret, or None if there is none."""
        return next((each for each in self._by_authid.values() if each.secret), None)

    def table(self) -> dict[str, dict[str, dict[str, t.Any]]]:
        """Return the principals in the form of :mod:`flask_wamp.router.principals`."""
        table: dict[str, dict[str, dict[str, t.Any]]] = {}
        for each in self._by_authid.values():
            if each.secret is not None:
                entry: dict[str, t.Any] = {"secret": each.secret, "role": each.role}
                table.setdefault("wampcra", {})[each.authid] = entry
            else:
                entry = {"authorized_keys": list(each.public_keys), "role": each.role}
                table.setdefault("cryptosign", {})[each.authid] = entry
        return table
