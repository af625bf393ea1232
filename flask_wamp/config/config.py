"""The checked configuration of one app, and the settings of its client."""

from __future__ import annotations

import functools
import typing as t

from .._text import get_logger
from ..exceptions import TransportError
from ..peer.settings import PeerSettings
from ..protocol.auth import Credentials
from ..protocol.payload import Default
from ..protocol.serializers import available
from ..transports import (
    OpenTransport,
    RouterURL,
    TLSSettings,
    open_transport,
    parse_router_url,
)
from .values import read_headers

logger = get_logger("flask_wamp")


class Config:
    """The checked configuration of one app, by key: ``config["WAMP_REALM"]``."""

    def __init__(self, values: dict[str, t.Any], given: t.Collection[str]) -> None:
        self._values = values
        self._given = given

    def __getitem__(self, name: str) -> t.Any:
        return self._values[name]

    def is_default(self, name: str) -> bool:
        """Return whether the app has not set a key."""
        return name not in self._given

    def settings(
        self,
        agent: str,
        default: Default | None = None,
        call: t.Callable[[t.Callable[[], object]], object] = lambda function: function(),
    ) -> PeerSettings:
        """Return the settings of the client.

        :param call: Calls the functions that are configured instead of values.
        :raises ValueError: Two keys contradict each other. The text names them.
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
        return PeerSettings(
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
        """Return a function that connects with headers or a proxy. None if neither is configured."""
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
    """Return a value. If it is a function, return a function that calls it with ``call``."""
    return functools.partial(call, value) if callable(value) else value


def _current_headers(
    call: t.Callable[[t.Callable[[], object]], object], headers: object
) -> dict[str, str]:
    try:
        return read_headers(call(headers) if callable(headers) else headers)
    except Exception as error:
        # Not chained, because the text of the error may contain a token.
        why = type(error).__name__
    raise TransportError(f"the function in WAMP_HEADERS failed or returned no headers: {why}")


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
