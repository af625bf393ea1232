"""``wamp.authorizer``: functions of the app that decide about requests before the table of rights does."""

from __future__ import annotations

import typing as t

from flask import Flask

from ..protocol.identity import Identity
from ..protocol.patterns import Pattern
from ..protocol.rights import Place, match_of, place_of
from .groups import DeclaredAuthorizer
from .registry import full_name, location


class Guard(t.NamedTuple):
    """An authorizer, and the prefix of the URIs that it decides about."""

    authorizer: DeclaredAuthorizer
    prefix: str | None
    """The prefix of its blueprint. None for an authorizer of the extension, which decides about all URIs."""

    def __str__(self) -> str:
        where = f"below {self.prefix}" if self.prefix else "everywhere"
        function = self.authorizer.function
        return f"{where}: {full_name(function)}, {location(function)}"

    def place(self, uri: str, match: str) -> Place:
        """Return whether a URI or pattern is within, overlaps or is outside the prefix."""
        if self.prefix is None:
            return "within"
        return place_of(uri, match, Pattern.parse(self.prefix, None).uri)


class Verdict(t.NamedTuple):
    """The decision of the authorizers about a request."""

    allow: bool | None
    """Whether they allow the request. None if the table of rights decides."""

    cache: bool
    """Whether the decision also holds for later requests of the session that are the same."""

    def for_router(self) -> object:
        """Return the decision in the form that the embedded router expects."""
        return {"allow": self.allow, "cache": True} if self.cache else self.allow


def ask_guards(
    app: Flask,
    guards: t.Iterable[Guard],
    about: list[t.Any],
    action: str,
    uri: str,
    options: dict[str, t.Any],
) -> Verdict:
    """Return the first decision of an app's authorizers that is not None.

    The authorizer of a blueprint decides about each URI or pattern that can match URIs below its prefix. It
    cannot allow patterns that also match other URIs.

    :param about: The authid, the role and ``authextra`` of the requesting session.
    :raises TypeError: An authorizer returned neither a bool nor None.
    """
    match = match_of(action, options) or "exact"  # the router has already refused an unknown policy
    cache = True
    for guard in guards:
        place = guard.place(uri, match)
        if place == "outside":
            continue
        function = guard.authorizer.function
        answer = app.ensure_sync(function)(Identity(*about), action, uri, options)
        cache = cache and guard.authorizer.cache
        if answer is not None and not isinstance(answer, bool):
            raise TypeError(
                f"the authorizer {full_name(function)} returned {answer!r:.100}; return True, False, or None "
                "to let the table of rights decide"
            )
        if answer is False or (answer and place == "within"):
            return Verdict(answer, cache)
    return Verdict(None, cache)
