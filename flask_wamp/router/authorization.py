"""Who may do what: the authorizer's interface, and permissions from a table.

Source: WAMP Advanced Profile, "Authorization".
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..protocol.identity import Identity
from .later import Later


@dataclasses.dataclass(frozen=True)
class Decision:
    """The decision of an authorizer."""

    allow: bool
    disclose: bool | None = None
    """Whether the caller or publisher is disclosed. If None, the settings and ``disclose_me`` decide."""

    message: str = ""
    """The reason of a refusal, for the client."""


ALLOWED = Decision(True)
REFUSED = Decision(False)

Answer = bool | Decision


class Authorizer(t.Protocol):
    """Decides whether a session may do something."""

    def __call__(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Answer | Later[Answer]:
        """Decide. An exception refuses with ``wamp.error.authorization_failed``.

        :param action: ``call``, ``register``, ``publish`` or ``subscribe``.
        :param uri: The procedure, the topic, or the pattern. It may be invalid.
        :param options: The options of the request, as the client sent them, unchecked.
            ``options.get("match")`` decides how far a pattern reaches.
        :returns: ``True``, ``False`` or a :class:`Decision`, or a :class:`~.later.Later` that becomes one.
        """


def as_decision(answer: object) -> Decision:
    """Return an authorizer's answer as a decision.

    :raises TypeError: It is neither a boolean nor a decision. An authorizer that returns nothing, by
        mistake, must not allow anything.
    """
    if isinstance(answer, Decision):
        return answer
    if isinstance(answer, bool):
        return ALLOWED if answer else REFUSED
    raise TypeError(f"an authorizer returns True, False or a Decision, not {answer!r}")


@dataclasses.dataclass(frozen=True)
class Permission:
    """What a role may do at a URI.

    :param uri: A URI, or a pattern if ``match`` is ``prefix`` or ``wildcard``.
    :param actions: Some of ``call``, ``register``, ``publish``, ``subscribe``.
    """

    uri: str
    match: str = "exact"
    actions: frozenset[str] = frozenset()
    disclose: bool | None = None

    def covers(self, uri: str, match: object) -> bool:
        """Return whether the permission covers everything that a URI or pattern may reach.

        A permission for one topic does not allow a subscription to it as a prefix, which would reach the
        topics below it. A permission for a prefix allows a wildcard only if its beginning is in the prefix.
        """
        if self.match == "exact":
            return match in (None, "exact") and uri == self.uri
        if self.match == "prefix":
            if match == "wildcard":
                beginning = uri.partition("..")[0] if not uri.startswith(".") else ""
                return (beginning + "." if ".." in uri else uri).startswith(self.uri)
            return uri.startswith(self.uri)
        return match in (None, "exact", "wildcard") and _fits(self.uri, uri, match == "wildcard")


def _fits(pattern: str, uri: str, is_pattern: bool) -> bool:
    ours, theirs = pattern.split("."), uri.split(".")
    if len(ours) != len(theirs):
        return False
    # An empty part of the other pattern stands for anything. Only an empty part of this one covers that.
    return all(
        not own or (own == part and bool(part)) for own, part in zip(ours, theirs, strict=True)
    )


class Permissions:
    """An authorizer by role, from a table. The first permission that covers the request decides.

    :param roles: The permissions of each role. A role that is missing may do nothing.
    """

    def __init__(self, roles: t.Mapping[str, t.Sequence[Permission]]) -> None:
        self._roles = {role: tuple(permissions) for role, permissions in roles.items()}

    def __call__(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Decision:
        match = options.get("match") if action in ("register", "subscribe") else None
        for permission in self._roles.get(identity.authrole, ()):
            if permission.covers(uri, match) and action in permission.actions:
                return Decision(True, permission.disclose)
        return Decision(False, message=f"{identity.authrole!r} may not {action} {uri!r}")
