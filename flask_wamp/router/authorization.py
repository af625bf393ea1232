"""Who may do what: the authorizer's interface, and permissions from a table.

Source: WAMP Advanced Profile, "Authorization".
"""

from __future__ import annotations

import dataclasses
import typing as t

from ..protocol.identity import Identity
from .later import Later

Action = t.Literal["call", "register", "publish", "subscribe"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What an authorizer decided."""

    allow: bool
    disclose: bool | None = None
    """Whether the caller or publisher is disclosed. None: as the settings and ``disclose_me`` say."""

    message: str = ""
    """Why not, for the client."""


ALLOWED = Decision(True)
REFUSED = Decision(False)

Answer = bool | Decision


class Authorizer(t.Protocol):
    """Decides whether a session may do something."""

    def __call__(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Answer | Later[Answer]:
        """Decide; an exception refuses with ``wamp.error.authorization_failed``.

        :param action: ``call``, ``register``, ``publish`` or ``subscribe``.
        :param uri: The procedure, the topic, or the pattern. It may be one that is not valid.
        :param options: The options of the request, as the client sent them, not yet checked:
            ``options.get("match")`` decides how far a pattern reaches.
        :returns: ``True``, ``False`` or a :class:`Decision`, or :class:`~.later.Later` for one to come.
        """


def as_decision(answer: object) -> Decision:
    """Return an authorizer's answer as a decision.

    :raises TypeError: It is none: an authorizer that forgets to return must not allow anything.
    """
    if isinstance(answer, Decision):
        return answer
    if isinstance(answer, bool):
        return ALLOWED if answer else REFUSED
    raise TypeError(f"an authorizer returns True, False or a Decision, not {answer!r}")


@dataclasses.dataclass(frozen=True)
class Permission:
    """What a role may do at a URI.

    :param uri: A URI, or a pattern by ``match``.
    :param actions: Of ``call``, ``register``, ``publish``, ``subscribe``.
    """

    uri: str
    match: str = "exact"
    actions: frozenset[str] = frozenset()
    disclose: bool | None = None

    def covers(self, uri: str, match: object) -> bool:
        """Whether the permission is for all that a URI or pattern may reach.

        Permission for one topic does not allow to subscribe to it as a prefix, which would reach what is
        below it; permission for a prefix allows a wildcard only where its beginning is in the prefix.
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
    # An empty part of theirs stands for anything: only an empty part of ours covers that.
    return all(
        not own or (own == part and bool(part)) for own, part in zip(ours, theirs, strict=True)
    )


class Permissions:
    """An authorizer by role, from a table. The first permission that covers the request decides.

    :param roles: The permissions of every role. A role that is not there may do nothing.
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
