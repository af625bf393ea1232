"""The file of ``flask wamp router --principals``: who may join, and what each role may do."""

from __future__ import annotations

import json
import typing as t

from ...protocol.rights import ACTIONS
from ...protocol.similar import did_you_mean
from ...protocol.uris import MATCHES, is_valid_uri
from .. import Authenticator, Authorizer, Permission, Permissions
from ..authentication import everybody
from ..principals import METHODS, Principals

_KEYS = ("principals", "roles")
_PERMISSION_KEYS = ("uri", "match", "allow")


class Access(t.NamedTuple):
    """Which clients may join, and what each role may do."""

    authenticator: Authenticator = everybody
    authorizer: Authorizer | None = None
    """None means that every client may do everything."""
    is_open: bool = True
    """Whether clients join without credentials. Then only programs on this machine may join."""


def read_access(path: str) -> Access:
    """Read a file of principals.

    The file is JSON: ``{"principals": {...}, "roles": {...}}``. ``principals`` is the argument of
    :class:`~flask_wamp.router.principals.Principals`. ``roles`` says what each role may do::

        {"device": [{"uri": "com.shop.", "match": "prefix", "allow": ["publish", "subscribe"]}]}

    Without ``roles`` every principal may do everything.

    :raises ValueError: The file cannot be read, or its contents are not valid. The message names the file,
        the place in it and what is allowed there.
    """
    try:
        with open(path, "rb") as file:
            content = json.load(file)
    except (OSError, ValueError) as error:
        raise ValueError(f"cannot read {path}: {error}") from error
    try:
        return _access(content)
    except ValueError as error:
        raise ValueError(f"{path} is invalid: {error}") from error


def _access(content: object) -> Access:
    if not isinstance(content, dict):
        raise ValueError("it must be a JSON object with 'principals' and optionally 'roles'")
    _check_keys("", content, _KEYS, required=("principals",))
    authenticator = Principals(content["principals"])
    if content.get("roles") is None:
        return Access(authenticator, is_open=False)
    roles = _permissions(content["roles"])
    _check_roles(content["principals"], roles)
    return Access(authenticator, Permissions(roles), is_open=False)


def _permissions(roles: object) -> dict[str, list[Permission]]:
    if not isinstance(roles, dict):
        raise ValueError(f"roles: must be an object of roles, not {roles!r:.100}")
    made: dict[str, list[Permission]] = {}
    for role, entries in roles.items():
        if not isinstance(entries, list):
            raise ValueError(f"roles.{role}: must be a list, not {entries!r:.100}")
        made[role] = [
            _permission(f"roles.{role}[{number}]", entry) for number, entry in enumerate(entries)
        ]
    return made


def _permission(where: str, entry: object) -> Permission:
    if not isinstance(entry, dict):
        raise ValueError(f"{where}: must be an object, not {entry!r:.100}")
    _check_keys(where, entry, _PERMISSION_KEYS, required=("uri", "allow"))
    uri, match, allow = entry["uri"], entry.get("match", "exact"), entry["allow"]
    _check_word(f"{where}.match", match, MATCHES)
    if not isinstance(uri, str) or not (is_valid_uri(uri, match) or (uri, match) == ("", "prefix")):
        kind = "a URI" if match == "exact" else f"a pattern with match {match}"
        raise ValueError(f"{where}.uri: {uri!r:.100} is not {kind}")
    if not isinstance(allow, list):
        raise ValueError(
            f"{where}.allow: must be a list of {', '.join(ACTIONS)}, not {allow!r:.100}"
        )
    for number, action in enumerate(allow):
        _check_word(f"{where}.allow[{number}]", action, ACTIONS)
    return Permission(uri, match, frozenset(allow))


def _check_roles(principals: t.Mapping[str, t.Any], roles: t.Collection[str]) -> None:
    """Check that each role of a principal exists. Otherwise, the principal could do nothing."""
    for method in METHODS:
        found = principals.get(method, {})
        entries = {"": found} if method == "anonymous" and found else found
        for authid, entry in entries.items():
            where = ".".join(filter(None, ("principals", method, authid, "role")))
            _check_word(where, entry["role"], roles, "the roles in 'roles'")


def _check_keys(
    where: str, entry: t.Mapping[str, object], known: t.Sequence[str], required: t.Sequence[str]
) -> None:
    for key in entry:
        if key not in known:
            place = f"{where}: " if where else ""
            hint = did_you_mean(key, known)
            raise ValueError(f"{place}the key {key!r:.100} is not one of {', '.join(known)}{hint}")
    for key in required:
        if key not in entry:
            raise ValueError(f"{where}: the key {key!r} is missing".removeprefix(": "))


def _check_word(where: str, value: object, known: t.Collection[str], kind: str = "") -> None:
    if isinstance(value, str) and value in known:
        return
    hint = did_you_mean(value, known) if isinstance(value, str) else ""
    what = f"{kind}: " if kind else ""
    raise ValueError(
        f"{where}: {value!r:.100} is not one of {what}{', '.join(known) or 'none'}{hint}"
    )
