"""URIs: what may be sent, relative ones, and names made from class names.

Crossbar closes the whole session for a CALL, REGISTER or PUBLISH with an invalid URI, so nothing
leaves this process unchecked. JSON takes text that begins with NUL for bytes, so there is no NUL in a
URI either, and no lone surrogate, which has no encoding.
"""

from __future__ import annotations

import functools
import re

from ..exceptions import InvalidURI

#: Procedures of the router's own: which registration a URI has, how many callees that has, and which.
#: Source: WAMP Advanced Profile, "Registration Meta API".
LOOKUP = "wamp.registration.lookup"
COUNT_CALLEES = "wamp.registration.count_callees"
LIST_CALLEES = "wamp.registration.list_callees"

#: A session's details. Source: WAMP Advanced Profile, "Session Meta API".
GET_SESSION = "wamp.session.get"

#: What no part of a URI may contain.
_NOT = r"\s.#\0\ud800-\udfff"

_STRICT = re.compile(rf"([^{_NOT}]+\.)*[^{_NOT}]+")

#: What a URI may look like by ``match``. Source: WAMP Basic Profile, "URIs", and Advanced Profile,
#: "Pattern-based Registrations": a wildcard has empty parts, a prefix may end in a dot.
_PATTERNS = {
    "exact": _STRICT,
    "prefix": re.compile(rf"([^{_NOT}]+\.)*[^{_NOT}]*"),
    "wildcard": re.compile(rf"(([^{_NOT}]+\.)|\.)*[^{_NOT}]*"),
}

MATCHES = tuple(_PATTERNS)
"""The three values of ``match=``."""


MAX_CACHED = 256
"""Characters of a URI whose check is remembered: 8,192 of them fill no memory."""


def _is_valid(uri: str, match: str) -> bool:
    return bool(uri) and _PATTERNS[match].fullmatch(uri) is not None


_is_valid_cached = functools.lru_cache(maxsize=8192)(_is_valid)


def is_valid_uri(uri: str, match: str = "exact") -> bool:
    """Whether a URI, or a pattern by ``match``, may be sent."""
    return _is_valid_cached(uri, match) if len(uri) <= MAX_CACHED else _is_valid(uri, match)


def check_uri(uri: object, what: str, match: str = "exact") -> str:
    """Return the URI if it may be sent.

    :param what: ``procedure``, ``topic`` or ``error URI``, for the message.
    :raises InvalidURI: It is not a string, or the router would refuse it.
    """
    if isinstance(uri, str):
        is_valid = _is_valid_cached if len(uri) <= MAX_CACHED else _is_valid
        if is_valid(uri, match):
            return uri
    raise InvalidURI(uri, what)


def resolve(uri: str, prefix: str | None) -> str:
    """Make a relative URI absolute: ``.add`` below the prefix; others stay as they are."""
    if not uri.startswith("."):
        return uri
    return f"{prefix}{uri}" if prefix else uri[1:]


def snake_case(name: str) -> str:
    """``OutOfStock`` and ``Not Found`` become ``out_of_stock`` and ``not_found``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|[\W_]+", " ", name)
    return "_".join(words.lower().split())


def own_prefix(prefix: str | None, app_name: str) -> str:
    """Return the prefix of the URIs that the processes of an app use among themselves.

    :param prefix: ``WAMP_URI_PREFIX``; without one the app's name takes its place.
    """
    return f"{prefix or snake_case(app_name) or 'app'}.flask_wamp"


def as_parts(uri: str) -> str:
    """Make a pattern the end of a URI: its empty parts, which no exact URI has, become ``_``."""
    parts = (part if part.strip("_") else part + "_" for part in uri.split("."))
    return ".".join(parts)
