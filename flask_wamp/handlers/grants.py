"""Grants of the app to other sessions: ``allow=`` of handlers, and ``wamp.allow(...)``.

A grant has the URI that the developer has written. In an app, which knows the prefix, it becomes a
:class:`.rights.Right`.
"""

from __future__ import annotations

import typing as t

from ..protocol.patterns import Pattern
from ..protocol.rights import ACTIONS, Right
from ..protocol.uris import is_valid_uri, resolve

Roles = str | t.Sequence[str]
"""One role or several. ``"anonymous"`` means all clients, and ``"*"`` means all authenticated clients."""


class Grant(t.NamedTuple):
    """Gives a role the right to an action at a URI. The URI may be relative."""

    role: str
    action: str
    uri: str
    source: str

    def right(self, prefix: str | None) -> Right:
        """Return the right below a prefix.

        :raises ValueError: The URI is not valid. The text lists the forms.
        """
        uri, match = parse_uri(resolve(self.uri, prefix))
        return Right(self.role, self.action, uri, match, self.source).check()


def grants(roles: Roles, source: str, **actions: str | t.Sequence[str] | None) -> list[Grant]:
    """Return a grant for each role, action and URI.

    :param actions: ``call``, ``publish``, ``subscribe`` and ``register``, each a URI or several.
    :raises ValueError: A role or a URI is not valid.
    :raises TypeError: A value is neither a URI nor a list of URIs.
    """
    names = as_roles(roles)
    made = []
    for action, uris in actions.items():
        if action not in ACTIONS:
            raise TypeError(f"allow has no {action!r}; it takes {', '.join(ACTIONS)}")
        for uri in _as_uris(action, uris):
            if not isinstance(uri, str) or not uri:
                raise ValueError(f"{action}={uri!r} must be a URI, or a list of URIs")
            _check(action, uri)
            made += [Grant(role, action, uri, source) for role in names]
    for grant in made:
        grant.right(None)  # raises before there is an app
    return made


def _as_uris(action: str, uris: object) -> t.Collection[object]:
    if uris is None:
        return ()
    if isinstance(uris, list | tuple | set | frozenset):
        return uris
    if not isinstance(uris, str):
        raise TypeError(
            f"{action}={uris!r:.100} must be a URI such as '.news', or a list of URIs. A URI that ends "
            "with a dot covers all URIs that begin with it"
        )
    return [uris]


def _check(action: str, uri: str) -> None:
    found, match = parse_uri(resolve(uri, "com.example"))
    if not is_valid_uri(found, match):
        raise ValueError(f"{action}={uri!r} is not a URI, because it contains a space, # or NUL")


def as_roles(roles: object) -> tuple[str, ...]:
    """Return roles as a tuple.

    :raises ValueError: It is neither a role nor a list of roles.
    """
    names = (roles,) if isinstance(roles, str) else roles
    if not isinstance(names, list | tuple | set | frozenset):
        raise ValueError(f"{roles!r} is not a role or a list of roles")
    if not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{roles!r} must be a role such as 'member', or a list of roles")
    return tuple(names)


def parse_uri(uri: str) -> tuple[str, str]:
    """Return the URI of a right and its ``match``.

    A URI that ends with a dot is a prefix. A URI with an empty part is a wildcard.
    """
    if "<" in uri:
        pattern = Pattern.parse(uri, None)
        return pattern.uri, pattern.match
    if uri.endswith(".") and ".." not in uri:
        return uri, "prefix"
    return uri, "wildcard" if ".." in uri or uri.endswith(".") else "exact"
