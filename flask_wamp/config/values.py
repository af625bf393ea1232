"""Functions that read and check the values of configuration keys.

Each function converts a value of ``app.config`` to the form that the library uses. It raises ``ValueError``
if the value is not allowed.
"""

from __future__ import annotations

import os
import re
import typing as t

from ..protocol import principals
from ..protocol.checks import is_seconds
from ..protocol.logins import MAX_TICKET_AGE
from ..protocol.principals import Directory, Principal
from ..protocol.uris import check_uri
from ..transports import parse_router_url
from ..transports.urls import InvalidRouterURL

T = t.TypeVar("T")

# The values that keys accept. ``app.config.from_prefixed_env()`` reads ``483920117`` as a number, and
# ``False`` and ``a,b`` as text. The meaning is clear in each case, so these are accepted too.


def read_text(value: object) -> str:
    """Accept text that is not empty, and a whole number, which becomes text."""
    if type(value) is int:  # a ticket of digits in an environment variable
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def read_file(value: object) -> str:
    """Accept a path as text or as an ``os.PathLike``."""
    return read_text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def read_bool(value: object) -> bool:
    """Accept True and False, and their names in any case."""
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError
    return value


def read_seconds(value: object) -> float:
    """Accept a positive number of seconds."""
    if not is_seconds(value):
        raise ValueError
    return t.cast(float, value)


def read_ticket_age(value: object) -> float:
    """Accept a positive number of seconds, at most an hour."""
    seconds = read_seconds(value)
    if seconds > MAX_TICKET_AGE:
        raise ValueError
    return seconds


def read_seconds_or_zero(value: object) -> float:
    """Accept a number of seconds that may be 0."""
    return 0.0 if value == 0 and not isinstance(value, bool) else read_seconds(value)


def read_count(value: object) -> int:
    """Accept a positive whole number."""
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError
    return value


def read_size(value: object) -> int:
    """Accept a message size in bytes: 512 to 16 MiB, the range of RawSocket."""
    size = read_count(value)
    if not 512 <= size <= 16777216:
        raise ValueError
    return size


def choice(*choices: str) -> t.Callable[[object], str | bool]:
    """Accept one of these words, or False."""

    def read(value: object) -> str | bool:
        if value is False or value in choices:
            return t.cast("str | bool", value)
        if isinstance(value, str) and value.lower() == "false":
            return False
        raise ValueError

    return read


class Explained(ValueError):
    """An error about a value that is not allowed.

    Its text is for the user, and does not contain the value.
    """


def read_url(value: object) -> str:
    """Accept the URL of a router.

    :raises Explained: It is not a router URL, or it is the URL of an embedded router on another host, which
        the app cannot start.
    """
    if isinstance(value, str) and _ELSEWHERE.match(value):
        raise Explained(
            "The router that the application starts is for the processes of one host. For several hosts, run "
            "Crossbar.io or `flask wamp router --principals`, and set WAMP_ROUTER_URL to its URL, such as "
            "wss://router.example/ws"
        )
    try:
        return parse_router_url(value).url
    except InvalidRouterURL as error:
        raise Explained(error.why[0].upper() + error.why[1:]) from None


def read_uri(value: object) -> str:
    """Accept a URI, or the prefix of URIs, without named parts such as ``<name>``."""
    if not isinstance(value, str) or {"<", ">"}.intersection(value):
        raise ValueError
    return check_uri(value, "URI prefix")


def read_listen(value: object) -> str:
    """Accept the URL of a router that has a host and a port."""
    url = parse_router_url(value)
    if url.unix or url.memory:
        raise ValueError
    return url.url


def read_endpoint(value: object) -> str:
    """Accept the path of a URL, without a slash at the end."""
    path = read_text(value)
    if not _ENDPOINT.fullmatch(path):
        raise ValueError
    return path


def read_origin(value: object) -> str:
    """Accept an origin as browsers send it. Source: RFC 6454, section 6.2."""
    origin = read_text(value).lower()
    if not _ORIGIN.fullmatch(origin):
        raise ValueError
    return origin


def list_of(read: t.Callable[[object], T], *, empty: bool = False) -> t.Callable[[object], list[T]]:
    """Accept a list of values that ``read`` accepts, or text with commas between such values."""

    def read_all(value: object) -> list[T]:
        if isinstance(value, str) and value:
            value = [item.strip() for item in value.split(",")]
        if not isinstance(value, list | tuple) or not (value or empty):
            raise ValueError
        return [read(item) for item in value]

    return read_all


def name_of(allowed: t.Iterable[str]) -> t.Callable[[object], str]:
    """Accept one of these names."""
    names = tuple(allowed)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return read


def or_function(
    read: t.Callable[[object], T],
) -> t.Callable[[object], T | t.Callable[[], object]]:
    """Accept a function too, which is called for every attempt to join."""

    def read_or_keep(value: object) -> T | t.Callable[[], object]:
        return value if callable(value) else read(value)

    return read_or_keep


def read_headers(value: object) -> dict[str, str]:
    """Accept HTTP headers, except for those of the WebSocket handshake.

    Source: RFC 9110, section 5; RFC 6455, section 4.1.
    """
    headers = t.cast("dict[str, str]", read_mapping(value))
    for name, text in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and isinstance(text, str)):
            raise ValueError
        if _HANDSHAKE.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError
    return headers


def read_mapping(value: object) -> dict[str, object]:
    """Accept a dictionary."""
    if not isinstance(value, dict):
        raise ValueError
    return value


#: ``embedded://host/path``, and ``embedded:ws://host/path``.
_ELSEWHERE = re.compile(r"embedded:(//[^/]|[^/]*://)", re.IGNORECASE)
_ENDPOINT = re.compile(r"/|(/[A-Za-z0-9_.~-]+)+")
_ORIGIN = re.compile(r"\*|https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_HANDSHAKE = re.compile(r"host|connection|upgrade|sec-websocket-.*", re.IGNORECASE)


def read_principals(value: object) -> list[Principal]:
    """Accept a dictionary of principals, by authid."""
    try:
        Directory(made := principals.read_principals(value))
    except ValueError as error:
        raise Explained(str(error)) from None
    return made
