"""URIs: checks, relative URIs, and URIs made from class names.

Crossbar ends the whole session because of a CALL, REGISTER or PUBLISH with an invalid URI, so every URI is
checked before it is sent. A URI must not contain NUL, because text that begins with NUL means bytes in JSON.
And it must not contain lone surrogates, because they cannot be encoded.
"""

from __future__ import annotations

import functools
import re

from ..exceptions import InvalidURI

#: Procedures of the router that return the registration of a URI, the number of its callees, and the callees.
#: Source: WAMP Advanced Profile, "Registration Meta API".
LOOKUP = "wamp.registration.lookup"
COUNT_CALLEES = "wamp.registration.count_callees"
LIST_CALLEES = "wamp.registration.list_callees"

#: The procedure that returns a session's details. Source: WAMP Advanced Profile, "Session Meta API".
GET_SESSION = "wamp.session.get"

#: Characters that a part of a URI must not contain.
_NOT = r"\s.#\0\ud800-\udfff"

_STRICT = re.compile(rf"([^{_NOT}]+\.)*[^{_NOT}]+")

#: Valid URIs by ``match``. A wildcard may have empty parts, and a prefix may end with a dot. Source: WAMP
#: Basic Profile, "URIs", and Advanced Profile, "Pattern-based Registrations".
_PATTERNS = {
    "exact": _STRICT,
    "prefix": re.compile(rf"([^{_NOT}]+\.)*[^{_NOT}]*"),
    "wildcard": re.compile(rf"(([^{_NOT}]+\.)|\.)*[^{_NOT}]*"),
}

MATCHES = tuple(_PATTERNS)
"""The three values of ``match=``."""


MAX_CACHED = 256
"""The length of the longest URI whose check is cached, so that 8,192 cached URIs do not take much memory."""


def _is_valid(uri: str, match: str) -> bool:
    return bool(uri) and _PATTERNS[match].fullmatch(uri) is not None


_is_valid_cached = functools.lru_cache(maxsize=8192)(_is_valid)


def is_valid_uri(uri: str, match: str = "exact") -> bool:
    """Return whether a URI or pattern is valid, so that it may be sent."""
    return _is_valid_cached(uri, match) if len(uri) <= MAX_CACHED else _is_valid(uri, match)


def check_uri(uri: object, what: str, match: str = "exact") -> str:
    """Return the URI if it is valid.

    :param what: ``procedure``, ``topic`` or ``error URI``, for the error text.
    :raises InvalidURI: It is not a string, or the router would refuse it.
    """
    if isinstance(uri, str):
        is_valid = _is_valid_cached if len(uri) <= MAX_CACHED else _is_valid
        if is_valid(uri, match):
            return uri
    raise InvalidURI(uri, what)


def matches(pattern: str, match: str, uri: str) -> bool:
    """Return whether a URI matches a pattern."""
    if match == "exact":
        return pattern == uri
    if match == "prefix":
        return uri.startswith(pattern)
    ours, theirs = pattern.split("."), uri.split(".")
    return len(ours) == len(theirs) and all(
        part in ("", other) for part, other in zip(ours, theirs, strict=True)
    )


def resolve(uri: str, prefix: str | None) -> str:
    """Return a relative URI, such as ``.add``, as an absolute one below the prefix.

    Return others unchanged.
    """
    if not uri.startswith("."):
        return uri
    return f"{prefix}{uri}" if prefix else uri[1:]


def snake_case(name: str) -> str:
    """Convert a name to snake case: ``OutOfStock`` to ``out_of_stock``, ``Not Found`` to ``not_found``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+", " ", name)
    return "_".join(words.lower().split())


OWN = ".flask_wamp."
"""What the URIs contain that the processes of an app use among themselves."""


def own_prefix(prefix: str | None, app_name: str) -> str:
    """Return the prefix of the URIs that the processes of an app use among themselves.

    :param prefix: ``WAMP_URI_PREFIX``. Without it, the name of the app is used.
    """
    return f"{prefix or snake_case(app_name) or 'app'}{OWN[:-1]}"


def as_parts(uri: str) -> str:
    """Convert a pattern so that a URI can end with it. Its empty parts become ``_``."""
    parts = (part if part.strip("_") else part + "_" for part in uri.split("."))
    return ".".join(parts)
