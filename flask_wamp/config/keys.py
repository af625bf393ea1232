"""The configuration keys."""

from __future__ import annotations

import typing as t

from ..protocol.auth import METHODS
from ..protocol.principals import FORMS as PRINCIPALS
from ..protocol.serializers import NAMES
from ..transports import FORMS, show_url
from ..transports.proxy import FORMS as PROXY_FORMS
from ..transports.proxy import check_proxy
from .values import (
    choice,
    list_of,
    name_of,
    or_function,
    read_bool,
    read_count,
    read_endpoint,
    read_file,
    read_headers,
    read_listen,
    read_mapping,
    read_origin,
    read_principals,
    read_seconds,
    read_seconds_or_zero,
    read_size,
    read_text,
    read_ticket_age,
    read_uri,
    read_url,
)


def show_value(value: object) -> str:
    """Return the ``repr`` of text and numbers. For any other value, return only its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return f"<{type(value).__name__}>"


def hide(value: object) -> str:
    """Return dots instead of a secret."""
    return "..."


class Key(t.NamedTuple):
    """One configuration key.

    ``read`` converts a value of ``app.config`` to the form that the library uses. It raises ``ValueError`` if
    the value is not allowed.
    """

    name: str
    default: object
    read: t.Callable[[object], object]
    allowed: str
    show: t.Callable[[object], str] = show_value
    """Formats a wrong value for an error message."""
    none_is_a_value: bool = False
    """Whether a key that is set to None differs from a key that is not set."""


_SECONDS = "a number of seconds above 0"
_PEM = "the path of a PEM file"
_YES_OR_NO = "True or False"
_WHOLE = "a whole number above 0"

#: Every key, in the order of the table in ``docs/configuration.rst``.
KEYS: tuple[Key, ...] = (
    Key("WAMP_ROUTER_URL", "embedded:", read_url, FORMS, show=show_url),
    Key("WAMP_REALM", "realm1", read_text, "the name of a realm"),
    Key("WAMP_URI_PREFIX", None, read_uri, "a URI such as 'com.example'"),
    Key(
        "WAMP_SERIALIZERS",
        ["msgpack", "json", "cbor"],
        list_of(name_of(NAMES)),
        f"a list of {NAMES}",
    ),
    Key("WAMP_AUTHMETHODS", None, list_of(name_of(METHODS)), f"a list of {tuple(METHODS)}"),
    Key("WAMP_AUTHID", None, read_text, "text"),
    Key("WAMP_SECRET", None, or_function(read_text), "text, or a function", show=hide),
    Key("WAMP_TICKET", None, or_function(read_text), "text, or a function", show=hide),
    Key("WAMP_PRIVATE_KEY", None, read_file, "64 hex digits, or the path of a key file", show=hide),
    Key(
        "WAMP_AUTHEXTRA", None, or_function(read_mapping), "a dictionary, or a function", show=hide
    ),
    Key("WAMP_TLS_CA", None, read_file, _PEM),
    Key("WAMP_TLS_CERT", None, read_file, _PEM),
    Key("WAMP_TLS_KEY", None, read_file, _PEM),
    Key("WAMP_TLS_VERIFY", True, read_bool, _YES_OR_NO),
    Key("WAMP_CALL_TIMEOUT", 10.0, read_seconds, _SECONDS),
    Key("WAMP_CONNECT_TIMEOUT", 5.0, read_seconds, _SECONDS),
    Key("WAMP_DRAIN_TIMEOUT", 10.0, read_seconds_or_zero, "a number of seconds, or 0"),
    Key("WAMP_RECONNECT_MIN", 0.05, read_seconds, _SECONDS),
    Key("WAMP_RECONNECT_MAX", 1.0, read_seconds, _SECONDS),
    Key("WAMP_LINGER", None, read_seconds_or_zero, "a number of seconds, or 0"),
    Key("WAMP_HEARTBEAT", 10.0, read_seconds, _SECONDS),
    Key("WAMP_WORKERS", None, read_count, _WHOLE),
    Key("WAMP_MAX_PENDING", 10000, read_count, _WHOLE),
    Key("WAMP_EVENT_QUEUE", 10000, read_count, _WHOLE),
    Key("WAMP_MAX_MESSAGE_SIZE", 16777216, read_size, "bytes, from 512 to 16777216"),
    Key("WAMP_COMPRESSION", False, read_bool, _YES_OR_NO),
    Key("WAMP_AUTOSTART", "auto", choice("auto", "lazy"), "'auto', 'lazy', False"),
    Key("WAMP_SCHEDULE", "once", choice("once", "every"), "'once', 'every', False"),
    Key("WAMP_VALIDATE", True, read_bool, _YES_OR_NO),
    Key(
        "WAMP_ENDPOINT",
        "/wamp",
        read_endpoint,
        "a path such as '/wamp', or None for no endpoint",
        none_is_a_value=True,
    ),
    Key(
        "WAMP_ORIGINS",
        [],
        list_of(read_origin, empty=True),
        "a list of origins such as 'https://shop.example', or ['*']",
        show=show_url,
    ),
    Key(
        "WAMP_ROUTER_LISTEN",
        [],
        list_of(read_listen, empty=True),
        "a list of ws://, wss://, tcp:// and tls:// URLs",
        show=show_url,
    ),
    Key("WAMP_TICKET_MAX_AGE", 30.0, read_ticket_age, f"{_SECONDS}, at most 3600"),
    Key("WAMP_PRINCIPALS", {}, read_principals, PRINCIPALS, show=hide),
    Key("WAMP_AUTHENTICATOR_URI", None, read_uri, "a URI such as 'com.example.authenticate'"),
    Key("WAMP_AUTHORIZER_URI", None, read_uri, "a URI such as 'com.example.authorize'"),
    Key("WAMP_DOCS", None, read_bool, _YES_OR_NO),
    Key("WAMP_DATES", None, choice("iso", "http"), "'iso', 'http', False"),
    Key(
        "WAMP_TRUSTED_LINKS",
        [],
        list_of(read_text, empty=True),
        "a list of the roles of router-to-router links",
    ),
    Key(
        "WAMP_HEADERS",
        None,
        or_function(read_headers),
        "a dictionary of HTTP headers, or a function; not those of the WebSocket handshake itself",
        show=hide,
    ),
    Key("WAMP_PROXY", None, check_proxy, PROXY_FORMS, show=show_url),
)

BY_NAME = {key.name: key for key in KEYS}
