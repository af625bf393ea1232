"""Rights: what each role may do from outside the app. Everything else is refused.

The same policy is used wherever rights are enforced: by the embedded router in its own process, and by an
app that decides for Crossbar.io.

Source: WAMP Advanced Profile, "Authorization".
"""

from __future__ import annotations

import typing as t

from .identity import Identity
from .similar import did_you_mean
from .uris import MATCHES

Action = t.Literal["call", "register", "publish", "subscribe"]
ACTIONS: t.Final[tuple[Action, ...]] = ("call", "register", "publish", "subscribe")

ANONYMOUS: t.Final = "anonymous"
"""In a right: all clients. In a session: the role of a client that is not authenticated."""

KNOWN: t.Final = "*"
"""In a right: all authenticated clients."""

AUTHID: t.Final = "{authid}"
ROLE: t.Final = "{role}"
"""Parts of a right's URI that stand for the authid or role of the client."""

#: The number of decisions that a policy remembers, and the longest URI of one. Clients choose the URIs, and
#: must not fill the memory.
MOST_REMEMBERED, LONGEST_REMEMBERED = 20_000, 200


class Right(t.NamedTuple):
    """Allows one action of one role at a URI, or at all URIs that a pattern matches."""

    role: str
    action: str
    uri: str
    """A URI or a pattern. Its parts may be ``{authid}`` and ``{role}``."""
    match: str = "exact"
    source: str = ""
    """The place in the app's code that defines the right, for messages to developers."""

    def check(self) -> Right:
        """Check and return this right.

        :raises ValueError: The action, the match policy or a part with braces is unknown.
        """
        if self.action not in ACTIONS:
            raise ValueError(f"{self.action!r} must be one of {', '.join(ACTIONS)}")
        if self.match not in MATCHES:
            raise ValueError(f"match={self.match!r} must be one of {', '.join(MATCHES)}")
        for part in self.uri.split("."):
            if ("{" in part or "}" in part) and part not in (AUTHID, ROLE):
                raise ValueError(
                    f"{self.uri!r} has the part {part!r}. The only parts with braces are {AUTHID} and "
                    f"{ROLE}, and each must be a whole part between two dots"
                )
        return self

    @property
    def is_template(self) -> bool:
        """Whether its URI depends on the client."""
        return AUTHID in self.uri or ROLE in self.uri

    def uri_for(self, authid: str, role: str) -> str | None:
        """Return the URI for a client, or None if the client's authid or role cannot be part of a URI.

        An authid with a dot is refused, because it could form the URI of another client.
        """
        if not self.is_template:
            return self.uri
        parts = []
        for part in self.uri.split("."):
            own = {AUTHID: authid, ROLE: role}.get(part, part)
            if own is not part and (not own or "." in own):
                return None
            parts.append(own)
        return ".".join(parts)


class Policy:
    """The rights of all roles.

    :param reserved: Prefixes of the URIs that the router and the app's processes use among themselves. Each
        ends with a dot. A right covers such URIs only if its own URI begins with the prefix.
    """

    def __init__(
        self, rights: t.Iterable[Right] = (), reserved: t.Iterable[str] = ("wamp.",)
    ) -> None:
        self.rights = tuple(right.check() for right in rights)
        self.reserved = tuple(reserved)
        self._by_role: dict[tuple[str, str], list[Right]] = {}
        for right in self.rights:
            self._by_role.setdefault((right.role, right.action), []).append(right)
        self._depends_on_authid = any(AUTHID in right.uri for right in self.rights)
        self._remembered: dict[tuple[str, str, str, str, str], Right | None] = {}

    def find(
        self, authid: str, role: str, action: str, uri: str, match: str = "exact"
    ) -> Right | None:
        """Return the right that allows a request, or None if no right allows it.

        :param match: The match policy of ``register`` and ``subscribe``. A right must cover all URIs that
            the pattern matches.
        """
        key = (authid if self._depends_on_authid else "", role, action, uri, match)
        try:
            return self._remembered[key]
        except KeyError:
            pass
        found = self._find(authid, role, action, uri, match)
        if len(uri) <= LONGEST_REMEMBERED:
            if len(self._remembered) >= MOST_REMEMBERED:
                self._remembered.clear()
            self._remembered[key] = found
        return found

    def allows(
        self, identity: Identity, action: str, uri: str, match: str, answer: bool | None = None
    ) -> bool:
        """Return whether a request is allowed.

        :param answer: The decision of the app's authorizer. If it is None, the rights decide. If it is True
            for reserved URIs, the rights decide as well.
        """
        if answer is None or (answer and self.is_reserved(uri, match)):
            return self.find(identity.authid, identity.authrole, action, uri, match) is not None
        return answer

    def similar(self, role: str, action: str, uri: str) -> str:
        """Return a hint such as ``"; did you mean x?"`` if a role may do this at a similar URI, or ``""``."""
        rights = (right for right in self.rights if right.action == action)
        return did_you_mean(uri, [right.uri for right in rights if right.role in roles_of(role)])

    def barred_by_dot(self, identity: Identity, action: str, uri: str, match: str = "exact") -> str:
        """Return why a right with ``{authid}`` or ``{role}`` does not allow a request, for developers.

        :returns: ``""`` if no right would allow it if the client's authid and role contained no dot.
        """
        own = {AUTHID: identity.authid, ROLE: identity.authrole}
        for right in self.rights:
            if right.action != action or right.role not in roles_of(identity.authrole):
                continue
            dotted = [part for part in right.uri.split(".") if "." in own.get(part, "")]
            whole = ".".join(own.get(part, part) for part in right.uri.split("."))
            if dotted and self._reaches(whole, right.match, uri, match):
                kind, remedy = _DOTTED[dotted[0]]
                return (
                    f"the right for {right.uri!r} ({right.source}) does not apply to the {kind} "
                    f"{own[dotted[0]]!r}, because it contains a dot. {remedy}"
                )
        return ""

    def roles_that_may(self, action: str, uri: str, match: str) -> list[str]:
        """Return the roles that have a right to do this at a URI, in alphabetical order."""
        rights = (right for right in self.rights if right.action == action)
        return sorted({r.role for r in rights if self._reaches(r.uri, r.match, uri, match)})

    def _find(self, authid: str, role: str, action: str, uri: str, match: str) -> Right | None:
        for each in dict.fromkeys(roles_of(role)):
            for right in self._by_role.get((each, action), ()):
                own = right.uri_for(authid, role)
                if own is not None and self._reaches(own, right.match, uri, match):
                    return right
        return None

    def is_reserved(self, uri: str, match: str = "exact") -> bool:
        """Return whether a URI or pattern matches reserved URIs."""
        return any(overlaps(uri, match, reserved) for reserved in self.reserved)

    def is_closed(self, identity: Identity, action: str, uri: str, match: str) -> bool:
        """Return whether the URIs are reserved and no right allows them. Authorizers cannot open them."""
        return self.is_reserved(uri, match) and not self.allows(identity, action, uri, match)

    def _reaches(self, own: str, own_match: str, uri: str, match: str) -> bool:
        """Return whether a right's URI covers a request.

        It must begin with each reserved prefix that the request overlaps.
        """
        return covers(own, own_match, uri, match) and all(
            own.startswith(reserved) for reserved in self.reserved if overlaps(uri, match, reserved)
        )


def roles_of(role: str) -> tuple[str, ...]:
    """Return the roles whose rights a session with this role has."""
    return (role,) if role == ANONYMOUS else (role, KNOWN, ANONYMOUS)


#: What ``{authid}`` and ``{role}`` are called, and what to do if one contains a dot.
_DOTTED = {
    AUTHID: ("authid", "Use an authid without dots, such as str(user.id)"),
    ROLE: ("role", "Use a role without dots"),
}


def why_refused(policy: Policy, identity: Identity, action: str, uri: str, match: str) -> str:
    """Return an error message that says what to change in the app or in the client, for developers."""
    role = identity.authrole
    to = " to" if action in ("publish", "subscribe") else ""
    pattern = "" if match == "exact" else f" (match={match!r})"
    refused = f"the role {role!r} may not {action}{to} {uri!r}{pattern}"
    if match == "exact" and uri.startswith("."):
        return f"{refused}: a client has no prefix. It has to send the whole URI, such as 'com.example{uri}'"
    if match == "prefix" and not uri.endswith("."):
        return (
            f"{refused}, because this prefix also matches other names, such as '{uri}x'. Put a dot at its "
            f"end: {action}{to} {uri + '.'!r}, and add wamp.allow({role!r}, {action}={uri + '.'!r})"
        )
    if barred := policy.barred_by_dot(identity, action, uri, match):
        return f"{refused}: {barred}"
    hint = policy.similar(role, action, uri) if match == "exact" else ""
    decorator = _DECORATORS.get(action, "")
    others = " and ".join(map(repr, policy.roles_that_may(action, uri, match)))
    allowed = f"only {others} may" if others else "nothing allows it"
    return (
        f"{refused}: {allowed}{hint or '.'} {'Otherwise, add' if hint else 'Add'} "
        f"wamp.allow({role!r}, {action}={uri!r}){decorator}"
    )


#: The decorators whose ``allow=`` gives a right.
_DECORATORS = {
    "call": ", or allow= to @wamp.callee",
    "publish": ", or allow= to @wamp.subscriber",
}


def match_of(action: str, options: t.Mapping[str, t.Any]) -> str | None:
    """Return the match policy of a request, or None if it is unknown."""
    if action == "call" or action == "publish":
        return "exact"
    match = options.get("match", "exact")
    return match if match in MATCHES else None


def covers(own: str, own_match: str, uri: str, match: str) -> bool:
    """Return whether a URI or pattern covers all URIs that another one matches.

    An exact URI does not cover the same URI as a prefix, because the prefix also matches longer URIs.
    """
    if own_match == "exact":
        return match == "exact" and uri == own
    if own_match == "prefix":
        return (uri if match != "wildcard" else _beginning(uri)).startswith(own)
    if match == "prefix":
        return False
    ours, theirs = own.split("."), uri.split(".")
    # An empty part of theirs matches any text, and only an empty part of ours covers that.
    return len(ours) == len(theirs) and all(
        not part or part == other for part, other in zip(ours, theirs, strict=True)
    )


def overlaps(uri: str, match: str, beginning: str) -> bool:
    """Return whether a URI or pattern matches URIs with a prefix.

    :param beginning: The prefix. It ends with a dot.
    """
    if match == "exact":
        return uri.startswith(beginning)
    if match == "prefix":
        return uri.startswith(beginning) or beginning.startswith(uri)
    parts, begin = uri.split("."), beginning.split(".")[:-1]
    return len(parts) > len(begin) and all(
        not part or part == other for part, other in zip(parts, begin, strict=False)
    )


Place = t.Literal["within", "overlaps", "outside"]


def place_of(uri: str, match: str, prefix: str) -> Place:
    """Return whether all, some or none of the URIs that a URI or pattern matches are below a prefix.

    :param prefix: Without a dot at the end. An empty part stands for any part.
    :returns: ``"within"`` for all, ``"overlaps"`` for some, ``"outside"`` for none.
    """
    asked, parts = uri.split("."), prefix.split(".")
    # The last part of a prefix may be incomplete.
    whole = asked[:-1] if match == "prefix" else asked
    pairs = list(zip(whole, parts, strict=False))
    if any(part and part != each and (each or match != "wildcard") for each, part in pairs):
        return "outside"
    if len(whole) >= len(parts):
        # An empty part of theirs matches any text, and only an empty part of ours covers that.
        return "within" if all(not part or part == each for each, part in pairs) else "overlaps"
    if match != "prefix":
        return "outside"
    rest = parts[len(whole)]
    return "overlaps" if not rest or rest.startswith(asked[-1]) else "outside"


def _beginning(pattern: str) -> str:
    """Return the longest common prefix of the URIs that a wildcard pattern matches."""
    parts = pattern.split(".")
    return "".join(f"{part}." for part in parts[: parts.index("")]) if "" in parts else pattern


def as_json(policy: Policy) -> list[list[str]]:
    """Return a policy as JSON data, for :func:`from_json`."""
    return [list(policy.reserved), *(list(right) for right in policy.rights)]


def from_json(data: t.Any) -> Policy:
    """Create a policy from the data of :func:`as_json`.

    :raises ValueError: The data is not a policy.
    """
    try:
        reserved, *rights = data
        return Policy([Right(*map(str, right)) for right in rights], map(str, reserved))
    except (TypeError, ValueError) as error:
        raise ValueError(f"this is not a policy: {error}") from error
