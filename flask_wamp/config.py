"""The configuration: ``WAMP_*`` keys of ``app.config``, read once in ``init_app``."""

from __future__ import annotations

import copy
import functools
import os
import re
import sys
import types
import typing as t
import warnings

from ._text import get_logger
from .exceptions import TransportError
from .peer.settings import Settings
from .protocol.auth import METHODS, Credentials
from .protocol.checks import is_seconds
from .protocol.payload import Default
from .protocol.serializers import NAMES, available
from .protocol.uris import check_uri
from .transports import (
    FORMS,
    OpenTransport,
    RouterURL,
    TLSSettings,
    open_transport,
    parse_router_url,
    show_url,
)
from .transports.proxy import FORMS as PROXY_FORMS
from .transports.proxy import check_proxy

logger = get_logger("flask_wamp")

T = t.TypeVar("T")


def show_value(value: object) -> str:
    """Return text and numbers as they are, and of any other value only its type."""
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    return f"<{type(value).__name__}>"


def hide(value: object) -> str:
    """Return dots in place of a secret."""
    return "..."


class Key(t.NamedTuple):
    """One configuration key.

    ``read`` takes a value as it is in ``app.config`` and returns it as the library uses it. It raises
    ``ValueError`` for a value that is not allowed.
    """

    name: str
    default: object
    read: t.Callable[[object], object]
    allowed: str
    show: t.Callable[[object], str] = show_value
    """Formats a wrong value for an error message."""
    none_is_a_value: bool = False
    """Whether a key that is set to None differs from a key that is not set."""


# The values that keys accept. ``app.config.from_prefixed_env()`` reads ``483920117`` as a number, and
# ``False`` and ``a,b`` as text. The meaning is clear in each case, so these are accepted too.


def _text(value: object) -> str:
    if type(value) is int:  # a ticket of digits in an environment variable
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError
    return value


def _file(value: object) -> str:
    return _text(os.fspath(value) if isinstance(value, os.PathLike) else value)


def _bool(value: object) -> bool:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ValueError
    return value


def _seconds(value: object) -> float:
    if not is_seconds(value):
        raise ValueError
    return t.cast(float, value)


def _seconds_or_zero(value: object) -> float:
    return 0.0 if value == 0 and not isinstance(value, bool) else _seconds(value)


def _count(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 0:
        raise ValueError
    return value


def _size(value: object) -> int:
    if not 512 <= _count(value) <= 16777216:
        raise ValueError
    return _count(value)


def _choice(*choices: str) -> t.Callable[[object], str | bool]:
    """Accept one of these words, or False."""

    def read(value: object) -> str | bool:
        if value is False or value in choices:
            return t.cast("str | bool", value)
        if isinstance(value, str) and value.lower() == "false":
            return False
        raise ValueError

    return read


def _url(value: object) -> str:
    return parse_router_url(value).url


def _uri(value: object) -> str:
    if not isinstance(value, str) or {"<", ">"}.intersection(value):
        raise ValueError
    return check_uri(value, "URI prefix")


def _listen(value: object) -> str:
    url = parse_router_url(value)
    if url.unix or url.memory:
        raise ValueError
    return url.url


def _endpoint(value: object) -> str:
    path = _text(value)
    if not _ENDPOINT.fullmatch(path):
        raise ValueError
    return path


def _origin(value: object) -> str:
    """Accept an origin as browsers send it. Source: RFC 6454, section 6.2."""
    origin = _text(value).lower()
    if not _ORIGIN.fullmatch(origin):
        raise ValueError
    return origin


def _list_of(
    read: t.Callable[[object], T], *, empty: bool = False
) -> t.Callable[[object], list[T]]:
    def read_all(value: object) -> list[T]:
        if isinstance(value, str) and value:
            value = [item.strip() for item in value.split(",")]
        if not isinstance(value, list | tuple) or not (value or empty):
            raise ValueError
        return [read(item) for item in value]

    return read_all


def _name_of(allowed: t.Iterable[str]) -> t.Callable[[object], str]:
    names = tuple(allowed)

    def read(value: object) -> str:
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return value

    return read


def _or_function(
    read: t.Callable[[object], T],
) -> t.Callable[[object], T | t.Callable[[], object]]:
    """Accept a function too, which is called for every attempt to join."""

    def read_or_keep(value: object) -> T | t.Callable[[], object]:
        return value if callable(value) else read(value)

    return read_or_keep


def _headers(value: object) -> dict[str, str]:
    """HTTP headers. Source: RFC 9110, section 5; RFC 6455, section 4.1, has those of the handshake."""
    headers = t.cast("dict[str, str]", _mapping(value))
    for name, text in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name) and isinstance(text, str)):
            raise ValueError
        if _HANDSHAKE.fullmatch(name) or not _HEADER_VALUE.fullmatch(text):
            raise ValueError
    return headers


def _mapping(value: object) -> dict[str, object]:
    if not isinstance(value, dict):
        raise ValueError
    return value


_ENDPOINT = re.compile(r"/|(/[A-Za-z0-9_.~-]+)+")
_ORIGIN = re.compile(r"\*|https?://([a-z0-9_.-]+|\[[0-9a-f:.]+\])(:[0-9]{1,5})?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_HEADER_VALUE = re.compile(r"[\x20-\x7e\t]*")
_HANDSHAKE = re.compile(r"host|connection|upgrade|sec-websocket-.*", re.IGNORECASE)
_SECONDS = "a number of seconds above 0"
_PEM = "the path of a PEM file"
_YES_OR_NO = "True or False"
_WHOLE = "a whole number above 0"

#: Every key, in the order of the table in ``docs/configuration.rst``.
KEYS: tuple[Key, ...] = (
    Key("WAMP_ROUTER_URL", "ws://127.0.0.1:8080/ws", _url, FORMS, show=show_url),
    Key("WAMP_REALM", "realm1", _text, "the name of a realm"),
    Key("WAMP_URI_PREFIX", None, _uri, "a URI such as 'com.example'"),
    Key(
        "WAMP_SERIALIZERS",
        ["msgpack", "json", "cbor"],
        _list_of(_name_of(NAMES)),
        f"a list of {NAMES}",
    ),
    Key("WAMP_AUTHMETHODS", None, _list_of(_name_of(METHODS)), f"a list of {tuple(METHODS)}"),
    Key("WAMP_AUTHID", None, _text, "text"),
    Key("WAMP_SECRET", None, _or_function(_text), "text, or a function", show=hide),
    Key("WAMP_TICKET", None, _or_function(_text), "text, or a function", show=hide),
    Key("WAMP_PRIVATE_KEY", None, _file, "64 hex digits, or the path of a key file", show=hide),
    Key("WAMP_AUTHEXTRA", None, _or_function(_mapping), "a dictionary, or a function", show=hide),
    Key("WAMP_TLS_CA", None, _file, _PEM),
    Key("WAMP_TLS_CERT", None, _file, _PEM),
    Key("WAMP_TLS_KEY", None, _file, _PEM),
    Key("WAMP_TLS_VERIFY", True, _bool, _YES_OR_NO),
    Key("WAMP_CALL_TIMEOUT", 10.0, _seconds, _SECONDS),
    Key("WAMP_CONNECT_TIMEOUT", 5.0, _seconds, _SECONDS),
    Key("WAMP_DRAIN_TIMEOUT", 10.0, _seconds_or_zero, "a number of seconds, or 0"),
    Key("WAMP_RECONNECT_MIN", 0.05, _seconds, _SECONDS),
    Key("WAMP_RECONNECT_MAX", 1.0, _seconds, _SECONDS),
    Key("WAMP_LINGER", None, _seconds_or_zero, "a number of seconds, or 0"),
    Key("WAMP_HEARTBEAT", 10.0, _seconds, _SECONDS),
    Key("WAMP_WORKERS", None, _count, _WHOLE),
    Key("WAMP_MAX_PENDING", 10000, _count, _WHOLE),
    Key("WAMP_EVENT_QUEUE", 10000, _count, _WHOLE),
    Key("WAMP_MAX_MESSAGE_SIZE", 16777216, _size, "bytes, from 512 to 16777216"),
    Key("WAMP_COMPRESSION", False, _bool, _YES_OR_NO),
    Key("WAMP_AUTOSTART", "auto", _choice("auto", "lazy"), "'auto', 'lazy', False"),
    Key("WAMP_SCHEDULE", "once", _choice("once", "every"), "'once', 'every', False"),
    Key("WAMP_VALIDATE", True, _bool, _YES_OR_NO),
    Key(
        "WAMP_ENDPOINT",
        "/wamp",
        _endpoint,
        "a path such as '/wamp', or None for no endpoint",
        none_is_a_value=True,
    ),
    Key(
        "WAMP_ORIGINS",
        [],
        _list_of(_origin, empty=True),
        "a list of origins such as 'https://shop.example', or ['*']",
        show=show_url,
    ),
    Key(
        "WAMP_ROUTER_LISTEN",
        [],
        _list_of(_listen, empty=True),
        "a list of ws://, wss://, tcp:// and tls:// URLs",
        show=show_url,
    ),
    Key("WAMP_TICKET_MAX_AGE", 30.0, _seconds, _SECONDS),
    Key("WAMP_DOCS", None, _bool, _YES_OR_NO),
    Key("WAMP_DATES", None, _choice("iso", "http"), "'iso', 'http', False"),
    Key(
        "WAMP_TRUSTED_LINKS",
        [],
        _list_of(_text, empty=True),
        "a list of the roles of router-to-router links",
    ),
    Key(
        "WAMP_HEADERS",
        None,
        _or_function(_headers),
        "a dictionary of HTTP headers, or a function; not those of the WebSocket handshake itself",
        show=hide,
    ),
    Key("WAMP_PROXY", None, check_proxy, PROXY_FORMS, show=show_url),
)

_BY_NAME = {key.name: key for key in KEYS}

#: Keys of flask-wamp 0.1.0, and the keys that replace them.
_FALLBACKS = {"CROSSBAR_URL": "WAMP_ROUTER_URL", "REALM": "WAMP_REALM"}

#: Prefixes of keys that are not configuration: environment variables of our commands and tests, which
#: ``app.config.from_prefixed_env()`` also reads.
_NOT_OURS = ("WAMP_CROSSBAR", "WAMP_BUILD_CROSSBAR", "WAMP_REQUIRE_")


class Config:
    """The checked configuration of one app, by key: ``config["WAMP_REALM"]``."""

    def __init__(self, values: dict[str, t.Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> t.Any:
        return self._values[name]

    def settings(
        self,
        agent: str,
        default: Default | None = None,
        call: t.Callable[[t.Callable[[], object]], object] = lambda function: function(),
    ) -> Settings:
        """Return the settings of the client.

        :param call: Calls the functions that the configuration has in place of values.

        :raises ValueError: Two keys contradict each other. The message names them.
        """
        value = self._values
        credentials = Credentials(
            authmethods=tuple(value["WAMP_AUTHMETHODS"] or ()),
            authid=value["WAMP_AUTHID"],
            secret=_calling(call, value["WAMP_SECRET"]),
            ticket=_calling(call, value["WAMP_TICKET"]),
            private_key=value["WAMP_PRIVATE_KEY"],
            authextra=_calling(call, value["WAMP_AUTHEXTRA"]) or {},
        )
        credentials.check()
        url = parse_router_url(value["WAMP_ROUTER_URL"])
        tls = TLSSettings(
            ca=value["WAMP_TLS_CA"],
            cert=value["WAMP_TLS_CERT"],
            key=value["WAMP_TLS_KEY"],
            verify=value["WAMP_TLS_VERIFY"],
        )
        if value["WAMP_COMPRESSION"] and not url.websocket:
            raise ValueError("WAMP_COMPRESSION=True needs ws:// or wss:// in WAMP_ROUTER_URL")
        if url.secure:
            tls.context()  # raises now if a file cannot be read
        _warn_of_weak(url, tls, credentials)
        return Settings(
            router_url=url,
            realm=value["WAMP_REALM"],
            serializers=self._serializers(),
            credentials=credentials,
            tls=tls,
            call_timeout=float(value["WAMP_CALL_TIMEOUT"]),
            connect_timeout=float(value["WAMP_CONNECT_TIMEOUT"]),
            drain_timeout=float(value["WAMP_DRAIN_TIMEOUT"]),
            reconnect_min=float(value["WAMP_RECONNECT_MIN"]),
            reconnect_max=float(value["WAMP_RECONNECT_MAX"]),
            heartbeat=float(value["WAMP_HEARTBEAT"]),
            workers=value["WAMP_WORKERS"],
            max_pending=value["WAMP_MAX_PENDING"],
            event_queue=value["WAMP_EVENT_QUEUE"],
            max_message_size=value["WAMP_MAX_MESSAGE_SIZE"],
            compression=value["WAMP_COMPRESSION"],
            uri_prefix=value["WAMP_URI_PREFIX"],
            agent=agent,
            default=default,
            open_transport=self._open_transport(url, call),
        )

    def _open_transport(
        self, url: RouterURL, call: t.Callable[[t.Callable[[], object]], object]
    ) -> OpenTransport | None:
        """Return what connects, if it needs to know more than the URL and the TLS settings."""
        headers, proxy = self["WAMP_HEADERS"], self["WAMP_PROXY"]
        if headers is None and proxy is None:
            return None
        if headers is not None and not url.websocket:
            raise ValueError("WAMP_HEADERS needs ws:// or wss:// in WAMP_ROUTER_URL")
        if proxy is not None and (url.unix or url.memory):
            raise ValueError("WAMP_PROXY needs ws://, wss://, tcp:// or tls:// in WAMP_ROUTER_URL")
        current: t.Callable[[], t.Mapping[str, str]] | None = None
        if headers is not None:
            current = functools.partial(_current_headers, call, headers)
        return functools.partial(open_transport, headers=current, proxy=proxy)

    def _serializers(self) -> list[str]:
        names = available(self["WAMP_SERIALIZERS"])
        if not names:
            raise ValueError("WAMP_SERIALIZERS=['cbor'] needs cbor2: pip install cbor2")
        return names


def _calling(call: t.Callable[[t.Callable[[], object]], object], value: t.Any) -> t.Any:
    """Return a value, or a function that calls the function in its place."""
    return functools.partial(call, value) if callable(value) else value


def _current_headers(
    call: t.Callable[[t.Callable[[], object]], object], headers: object
) -> dict[str, str]:
    try:
        return _headers(call(headers) if callable(headers) else headers)
    except Exception as error:
        # Not chained: a ValueError says nothing more, and another may show a token.
        why = type(error).__name__
    raise TransportError(f"WAMP_HEADERS is a function, and it failed or returned no headers: {why}")


def _warn_of_weak(url: RouterURL, tls: TLSSettings, credentials: Credentials) -> None:
    """Warn if others can read secrets on their way, or if TLS settings have no effect."""
    if url.secure:
        if not tls.verify:
            logger.warning("WAMP_TLS_VERIFY is False, so anyone can pose as the router")
        return
    if url.scheme not in ("ws", "tcp"):
        return
    if tls != TLSSettings():
        logger.warning(
            "WAMP_TLS_* has no effect, because %s is not encrypted. Use wss:// or tls://", url.shown
        )
    if url.local:
        return
    can_be_read = {
        "WAMP_TICKET": "ticket" in credentials.offered,
        "the password in WAMP_ROUTER_URL": url.has_password,
    }
    for what in (what for what, is_sent in can_be_read.items() if is_sent):
        logger.warning(
            "others can read %s on its way to %s, which is not encrypted. Use wss:// or tls://",
            what,
            url.shown,
        )


def load_config(config: t.Mapping[str, t.Any]) -> Config:
    """Read and check ``app.config``.

    :raises ValueError: A ``WAMP_*`` key is unknown, or a value is not allowed. The message names the
        key, the value, and what is allowed.
    """
    config = _with_environment(config)
    _check_known(config)
    values = {}
    for key in KEYS:
        values[key.name] = _read(key, config)
    least, most = values["WAMP_RECONNECT_MIN"], values["WAMP_RECONNECT_MAX"]
    if t.cast(float, least) > t.cast(float, most):
        raise ValueError(
            f"WAMP_RECONNECT_MIN={least!r} must not be more than WAMP_RECONNECT_MAX={most!r}"
        )
    return Config(values)


def snapshot(config: t.Mapping[str, object]) -> dict[str, object]:
    """Return what a configuration has for this library now, to compare later."""
    ours = {name: value for name, value in config.items() if name.startswith("WAMP_")}
    ours.update({name: config[name] for name in ("CROSSBAR_URL", "REALM") if name in config})
    return {name: copy.copy(value) for name, value in ours.items()}


def check_unchanged(before: t.Mapping[str, object], config: t.Mapping[str, object]) -> None:
    """Look whether a configuration was changed after it was read.

    :param before: What :func:`snapshot` returned.
    :raises RuntimeError: It was, and the change has no effect.
    """
    now = snapshot(config)
    changed = sorted(
        name for name in {*before, *now} if before.get(name, config) != now.get(name, config)
    )
    if changed:
        raise RuntimeError(
            f"{', '.join(changed)} in app.config was changed after FlaskWAMP had read it, and that has no "
            "effect: change it before FlaskWAMP(app), or wamp.init_app(app)"
        )


def _read(key: Key, config: t.Mapping[str, object]) -> t.Any:
    value = config.get(key.name)
    if value is None:
        if key.none_is_a_value and key.name in config:
            return None
        value = _fallback(config, key.name)
    if value is None:
        return key.default
    try:
        return key.read(value)
    except ValueError:  # not chained, because its text may contain the secret
        shown = _shown(key.name, value)
    hint = _QUOTE if key.allowed.startswith("text") and isinstance(value, bool | float) else ""
    raise ValueError(f"{key.name}={shown} is not allowed; it takes {key.allowed}{hint}")


_QUOTE = """ (in an environment variable put it in double quotes: '"1e5"')"""


#: The value of an unknown key is hidden if its name contains one of these, as in WAMP_PASSWORD.
_MAYBE_SECRET = (
    "SECRET",
    "TICKET",
    "KEY",
    "PASS",
    "TOKEN",
    "AUTH",
    "HEADER",
    "COOKIE",
    "CREDENTIAL",
)


def _shown(name: str, value: object) -> str:
    """Format a value for an error message, without anything that may be a secret."""
    key = _BY_NAME.get(name)
    show = key.show if key is not None else show_url
    if key is None and any(part in name.upper() for part in _MAYBE_SECRET):
        show = hide
    if isinstance(value, list | tuple) and show is not hide:
        shown = ", ".join(_shown(name, item) for item in value)
        return f"[{shown}]" if isinstance(value, list) else f"({shown})"
    return show(value)


def _check_known(config: t.Mapping[str, object]) -> None:
    for name in config:
        if name.startswith("WAMP_") and name not in _BY_NAME and not name.startswith(_NOT_OURS):
            shown = _shown(name, config[name])
            raise ValueError(
                f"unknown configuration key {name}={shown}; the keys are {', '.join(_BY_NAME)}"
            )


def _stacklevel() -> int:
    """The ``stacklevel`` of a warning about the code that called this package."""
    package, level = os.path.dirname(__file__), 1
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    return level


def _fallback(config: t.Mapping[str, t.Any], name: str) -> t.Any:
    for old, new in _FALLBACKS.items():
        if new == name and config.get(old) is not None:
            warnings.warn(f"{old} is now called {new}", DeprecationWarning, _stacklevel())
            return config[old]
    return None


def _with_environment(config: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """Let ``FLASK_WAMP_AUTOSTART`` override the key, for commands and tests that must not connect."""
    override = os.environ.get("FLASK_WAMP_AUTOSTART", "").lower()
    if not override:
        return config
    value = False if override in ("false", "0", "off") else override
    return {**config, "WAMP_AUTOSTART": value}
