"""Shows who may do what, and which line of the app allows it: ``flask wamp rights``."""

from __future__ import annotations

import itertools
import typing as t

from ..protocol.identity import Identity
from ..protocol.rights import ACTIONS, ANONYMOUS, KNOWN, Policy, Right, roles_of

_HEADER = ("role", "action", "uri", "because of")


def rights_table(policy: Policy, role: str | None = None) -> list[str]:
    """Return a table of all rights, or of those of one role, as lines of text."""
    rows = [_HEADER]
    for right in sorted(policy.rights, key=lambda right: (right.role, right.uri, right.action)):
        if role is None or right.role in roles_of(role):
            rows.append((right.role, right.action, _pattern(right), right.source))
    if len(rows) == 1:
        whom = f"the role {role}" if role is not None else "clients other than the app's processes"
        return [f"No rights are granted to {whom}. Grant some with allow= or wamp.allow()."]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def authorizers_table(guards: t.Sequence[object]) -> list[str]:
    """Return lines about the authorizers, which decide before the table of rights."""
    if not guards:
        return []
    return ["", "These authorizers are asked first:", *(f"    {guard}" for guard in guards)]


def explain(policy: Policy, uri: str, match: str, role: str | None = None) -> list[str]:
    """Return for each role and action whether it is allowed at a URI, and by which line.

    :param uri: A URI, or a pattern by ``match``.
    :param role: The role to show. None means all roles that have a right, and ``anonymous``.
    """
    known = dict.fromkeys([ANONYMOUS, *sorted({right.role for right in policy.rights})])
    return [
        _explain(policy, each, action, uri, match)
        for each in ([role] if role is not None else known)
        for action in ACTIONS
        if match == "exact" or action in ("register", "subscribe")
    ]


def _explain(policy: Policy, role: str, action: str, uri: str, match: str) -> str:
    what = f"{_NAMES.get(role, role)} may %s{_VERBS[action]} {uri}"
    if match != "exact":
        what += f" (match={match!r})"
    # If a right contains {authid}, an authid that allows the request must be a part of the URI.
    for authid in dict.fromkeys(["", *uri.split(".")]):
        right = policy.find(authid, role, action, uri, match)
        if right is not None:
            condition = f", if the authid is {authid!r}" if authid and right.is_template else ""
            return f"{what % ''}{condition}: {right.source}"
    for authid in _several_parts(uri):
        if barred := policy.barred_by_dot(Identity(authid, role), action, uri, match):
            return f"{what % 'not '}: {barred}"
    hint = policy.similar(role, action, uri) or "."
    return f"{what % 'not '}: nothing allows it{hint} Add wamp.allow({role!r}, {action}={uri!r})"


def _several_parts(uri: str) -> t.Iterator[str]:
    """Yield everything in a URI that contains a dot and may be an authid. Begin with no authid."""
    yield ""
    parts = uri.split(".")
    for start, end in itertools.combinations(range(len(parts) + 1), 2):
        if end - start > 1:
            yield ".".join(parts[start:end])


_NAMES: t.Final = {ANONYMOUS: "everybody (anonymous)", KNOWN: "everybody who is authenticated (*)"}
_VERBS: t.Final = {
    "call": "call",
    "register": "register",
    "publish": "publish to",
    "subscribe": "subscribe to",
}


def _pattern(right: Right) -> str:
    return right.uri if right.match == "exact" else f"{right.uri} ({right.match})"
