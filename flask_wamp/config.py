"""The configuration: ``WAMP_*`` keys of ``app.config``, read once in ``init_app``."""

from __future__ import annotations

import os
import typing as t
import warnings

from ._text import get_logger
from .peer.settings import Settings
from .protocol.auth import METHODS, Credentials
from .protocol.checks import is_seconds
from .protocol.payload import Default
from .protocol.serializers import NAMES, available
from .protocol.uris import check_uri
from .transports import TLSSettings, parse_router_url, show_url
from .transports.urls import FORMS

logger = get_logger("flask_wamp")


class Key(t.NamedTuple):
    """One configuration key."""

    name: str
    default: t.Any
    check: t.Callable[[t.Any], bool]
    allowed: str


def _text(value: t.Any) -> bool:
    return isinstance(value, str) and bool(value)


def _texts(value: t.Any) -> bool:
    return isinstance(value, list | tuple) and all(map(_text, value))


def _seconds_or_none_at_all(value: t.Any) -> bool:
    return is_seconds(value) or (value == 0 and not isinstance(value, bool))


def _count(value: t.Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _bool(value: t.Any) -> bool:
    return isinstance(value, bool)


def _url(value: t.Any) -> bool:
    try:
        parse_router_url(value)
    except ValueError:
        return False
    return True


def _uri(value: t.Any) -> bool:
    try:
        check_uri(value, "URI prefix")
    except ValueError:
        return False
    return not {"<", ">"}.intersection(value)


def _names_of(allowed: t.Iterable[str]) -> t.Callable[[t.Any], bool]:
    names = tuple(allowed)

    def check(value: t.Any) -> bool:
        return isinstance(value, list | tuple) and bool(value) and all(v in names for v in value)

    return check


def _size(value: t.Any) -> bool:
    return _count(value) and 512 <= value <= 16777216


def _path(value: t.Any) -> bool:
    return _text(value) and value.startswith("/") and not {"<", ">", "?", "#"} & set(value)


def _origins(value: t.Any) -> bool:
    return _texts(value) and all(
        each == "*" or (each.startswith(("http://", "https://")) and each.count("/") == 2)
        for each in value
    )


def _urls(value: t.Any) -> bool:
    return _texts(value) and all(
        _url(each) and each.partition(":")[0] in ("ws", "wss", "tcp", "tls") for each in value
    )


_SECONDS = "a number of seconds above 0"

#: Every key, in the order of the table in ``docs/configuration.rst``.
KEYS: tuple[Key, ...] = (
    Key("WAMP_ROUTER_URL", "ws://127.0.0.1:8080/ws", _url, FORMS),
    Key("WAMP_REALM", "realm1", _text, "the name of a realm"),
    Key("WAMP_URI_PREFIX", None, _uri, "a URI such as 'com.example'"),
    Key("WAMP_SERIALIZERS", ["msgpack", "json", "cbor"], _names_of(NAMES), f"a list of {NAMES}"),
    Key("WAMP_AUTHMETHODS", None, _names_of(METHODS), f"a list of {tuple(METHODS)}"),
    Key("WAMP_AUTHID", None, _text, "text"),
    Key("WAMP_SECRET", None, _text, "text"),
    Key("WAMP_TICKET", None, _text, "text"),
    Key("WAMP_PRIVATE_KEY", None, _text, "64 hex digits, or the path of a key file"),
    Key("WAMP_AUTHEXTRA", None, lambda value: isinstance(value, dict), "a dictionary"),
    Key("WAMP_TLS_CA", None, _text, "the path of a PEM file"),
    Key("WAMP_TLS_CERT", None, _text, "the path of a PEM file"),
    Key("WAMP_TLS_KEY", None, _text, "the path of a PEM file"),
    Key("WAMP_TLS_VERIFY", True, _bool, "True or False"),
    Key("WAMP_CALL_TIMEOUT", 10.0, is_seconds, _SECONDS),
    Key("WAMP_CONNECT_TIMEOUT", 5.0, is_seconds, _SECONDS),
    Key("WAMP_DRAIN_TIMEOUT", 10.0, _seconds_or_none_at_all, "a number of seconds, or 0"),
    Key("WAMP_RECONNECT_MIN", 0.05, is_seconds, _SECONDS),
    Key("WAMP_RECONNECT_MAX", 1.0, is_seconds, _SECONDS),
    Key("WAMP_LINGER", None, _seconds_or_none_at_all, "a number of seconds, or 0"),
    Key("WAMP_HEARTBEAT", 10.0, is_seconds, _SECONDS),
    Key("WAMP_WORKERS", None, _count, "a whole number above 0"),
    Key("WAMP_MAX_PENDING", 10000, _count, "a whole number above 0"),
    Key("WAMP_EVENT_QUEUE", 10000, _count, "a whole number above 0"),
    Key("WAMP_MAX_MESSAGE_SIZE", 16777216, _size, "bytes, from 512 to 16777216"),
    Key("WAMP_COMPRESSION", False, _bool, "True or False"),
    Key(
        "WAMP_AUTOSTART",
        "auto",
        lambda v: v in ("auto", "lazy") or v is False,
        "'auto', 'lazy', False",
    ),
    Key(
        "WAMP_SCHEDULE",
        "once",
        lambda v: v in ("once", "every") or v is False,
        "'once', 'every', False",
    ),
    Key("WAMP_VALIDATE", True, _bool, "True or False"),
    Key("WAMP_ENDPOINT", "/wamp", _path, "a path such as '/wamp', or None for no endpoint"),
    Key("WAMP_ORIGINS", [], _origins, "a list of origins such as 'https://shop.example', or ['*']"),
    Key("WAMP_ROUTER_LISTEN", [], _urls, "a list of ws://, wss://, tcp:// and tls:// URLs"),
    Key("WAMP_TICKET_MAX_AGE", 30.0, is_seconds, _SECONDS),
    Key("WAMP_DOCS", None, _bool, "True or False"),
    Key("WAMP_TRUSTED_LINKS", None, _texts, "a list of the roles of router-to-router links"),
)

#: Keys for which None is a value, and not the same as no value.
_NONE_COUNTS = ("WAMP_ENDPOINT",)

#: Keys of code written for flask-wamp 0.1.0, and what replaced them.
_FALLBACKS = {"CROSSBAR_URL": "WAMP_ROUTER_URL", "REALM": "WAMP_REALM"}

#: Environment variables of our commands and tests, which ``app.config.from_prefixed_env()`` also reads.
_NOT_OURS = ("WAMP_CROSSBAR", "WAMP_BUILD_CROSSBAR", "WAMP_REQUIRE_")


class Config:
    """The checked configuration of one app, by key: ``config["WAMP_REALM"]``."""

    def __init__(self, values: dict[str, t.Any]) -> None:
        self._values = values

    def __getitem__(self, name: str) -> t.Any:
        return self._values[name]

    def settings(self, agent: str, default: Default | None = None) -> Settings:
        """What the client needs of it.

        :raises ValueError: What one key says does not go with another; names them.
        """
        value = self._values
        credentials = Credentials(
            authmethods=tuple(value["WAMP_AUTHMETHODS"] or ()),
            authid=value["WAMP_AUTHID"],
            secret=value["WAMP_SECRET"],
            ticket=value["WAMP_TICKET"],
            private_key=value["WAMP_PRIVATE_KEY"],
            authextra=value["WAMP_AUTHEXTRA"] or {},
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
            tls.context()  # a file that cannot be read is said now
            if not tls.verify:
                logger.warning("WAMP_TLS_VERIFY is False: anybody may pose as the router")
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
            agent=agent,
            default=default,
        )

    def _serializers(self) -> list[str]:
        names = available(self["WAMP_SERIALIZERS"])
        if not names:
            raise ValueError("WAMP_SERIALIZERS=['cbor'] needs cbor2: pip install cbor2")
        return names


def load_config(config: t.Mapping[str, t.Any]) -> Config:
    """Read and check ``app.config``.

    :raises ValueError: An unknown ``WAMP_*`` key, or a value that is not allowed; names the key, the
        value and what is allowed.
    """
    config = _with_environment(config)
    _check_known(config)
    values: dict[str, t.Any] = {}
    for name, default, check, allowed in KEYS:
        value = config.get(name)
        if value is None:
            value = _fallback(config, name)
        if value is None:
            values[name] = None if name in _NONE_COUNTS and name in config else default
            continue
        if not check(value):
            shown = _shown(name, value)
            raise ValueError(f"{name}={shown} is not allowed; it takes {allowed}")
        values[name] = value
    if values["WAMP_RECONNECT_MIN"] > values["WAMP_RECONNECT_MAX"]:
        raise ValueError(
            f"WAMP_RECONNECT_MIN={values['WAMP_RECONNECT_MIN']!r} must not be above "
            f"WAMP_RECONNECT_MAX={values['WAMP_RECONNECT_MAX']!r}"
        )
    return Config(values)


_SECRET = {"WAMP_SECRET", "WAMP_TICKET", "WAMP_PRIVATE_KEY", "WAMP_AUTHEXTRA"}


#: In a key nobody knows, too: WAMP_PASSWORD, or WAMP_SECRET_KEY.
_MAYBE_SECRET = ("SECRET", "TICKET", "KEY", "PASS", "TOKEN", "AUTH")


def _shown(name: str, value: t.Any) -> str:
    known = any(key.name == name for key in KEYS)
    secret = name in _SECRET or not known and any(part in name for part in _MAYBE_SECRET)
    return "..." if secret else show_url(value)


def _check_known(config: t.Mapping[str, t.Any]) -> None:
    known = {key.name for key in KEYS}
    for name in config:
        if name.startswith("WAMP_") and name not in known and not name.startswith(_NOT_OURS):
            allowed = ", ".join(key.name for key in KEYS)
            shown = _shown(name, config[name])
            raise ValueError(f"unknown configuration key {name}={shown}; there are {allowed}")


def _fallback(config: t.Mapping[str, t.Any], name: str) -> t.Any:
    for old, new in _FALLBACKS.items():
        if new == name and config.get(old) is not None:
            warnings.warn(f"{old} is now called {new}", DeprecationWarning, stacklevel=5)
            return config[old]
    return None


def _with_environment(config: t.Mapping[str, t.Any]) -> t.Mapping[str, t.Any]:
    """``FLASK_WAMP_AUTOSTART`` overrides, for commands and tests that must not connect."""
    override = os.environ.get("FLASK_WAMP_AUTOSTART", "").lower()
    if not override:
        return config
    value = False if override in ("false", "0", "off") else override
    return {**config, "WAMP_AUTOSTART": value}
