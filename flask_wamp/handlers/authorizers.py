"""``wamp.authorizer``: functions of the app that decide before the table of rights."""

from __future__ import annotations

import typing as t

from flask import Flask

from ..protocol.identity import Identity
from ..protocol.patterns import Pattern
from ..protocol.rights import Place, match_of, place_of
from .groups import DeclaredAuthorizer
from .registry import full_name, location


class Guard(t.NamedTuple):
    """An authorizer, and where it is asked."""

    authorizer: DeclaredAuthorizer
    prefix: str | None
    """The prefix of its blueprint. None: it is asked everywhere."""

    def __str__(self) -> str:
        where = f"below {self.prefix}" if self.prefix else "everywhere"
        function = self.authorizer.function
        return f"{where}: {full_name(function)}, {location(function)}"

    def place(self, uri: str, match: str) -> Place:
        """Return where a URI or pattern is, as seen from the prefix."""
        if self.prefix is None:
            return "within"
        return place_of(uri, match, Pattern.parse(self.prefix, None).uri)


class Verdict(t.NamedTuple):
    """What the authorizers say about a request."""

    allow: bool | None
    """None: the table of rights decides."""

    cache: bool
    """Whether they say the same whenever the session asks for the same again."""

    def for_router(self) -> object:
        """Return it as the embedded router wants to know it."""
        return {"allow": self.allow, "cache": True} if self.cache else self.allow


def ask_guards(
    app: Flask,
    guards: t.Iterable[Guard],
    about: list[t.Any],
    action: str,
    uri: str,
    options: dict[str, t.Any],
) -> Verdict:
    """Return the first answer of an app's authorizers that is not None.

    The authorizer of a blueprint is asked about all that reaches below its prefix. To allow what reaches
    further is not up to it.

    :param about: The authid, the role and ``authextra`` of the session that asks.
    :raises TypeError: One of them answered neither a bool nor None.
    """
    match = match_of(action, options) or "exact"  # a router has refused others
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
                f"the authorizer {full_name(function)} returned {answer!r:.100}; it has to return True, "
                "False, or None for what the table of rights decides"
            )
        if answer is False or (answer and place == "within"):
            return Verdict(answer, cache)
    return Verdict(None, cache)
