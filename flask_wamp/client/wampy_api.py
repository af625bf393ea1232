"""Attributes of wampy's ``Client``, for code that was written for wampy.

If wampy is installed, this is a ``wampy.peers.clients.Client``.
"""

from __future__ import annotations

import collections.abc as c
import copy
import os
import typing as t

from .._wampy import bases
from ..peer.declarations import Declaration, Registration, Subscription
from ..peer.settings import PeerSettings
from ..protocol import messages as m
from ..protocol.options import check_options
from ..protocol.session_events import ROLES
from ..protocol.uris import check_uri

if t.TYPE_CHECKING:
    from typing_extensions import Never as NoReturn
    from typing_extensions import Self

    _WampyClient = object
else:
    _WampyClient = bases.client


class WampyAPI(_WampyClient):
    """The attributes of wampy's ``Client``."""

    @property
    def settings(self) -> PeerSettings:
        """The configuration."""
        raise NotImplementedError

    @property
    def declarations(self) -> list[Declaration]:
        """All declarations."""
        raise NotImplementedError

    @property
    def session_id(self) -> int | None:
        """The id of the session. None while there is none."""
        raise NotImplementedError

    def start(self) -> Self:
        """Begin to connect."""
        raise NotImplementedError

    def stop(self) -> None:
        """Leave the realm."""
        raise NotImplementedError

    def wait_until_joined(self, timeout: float | None = None) -> object:
        """Wait until there is a session."""
        raise NotImplementedError

    def use(self) -> None:
        """Begin to connect if this client starts automatically and has never been started."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        raise NotImplementedError

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    @property
    def realm(self) -> str:
        """The realm, ``WAMP_REALM``."""
        return self.settings.realm

    @property
    def url(self) -> str:
        """The router's URL, ``WAMP_ROUTER_URL``."""
        return self.settings.router_url.url

    @property
    def call_timeout(self) -> float:
        """The timeout of calls in seconds, ``WAMP_CALL_TIMEOUT``."""
        return self.settings.call_timeout

    @property
    def cert_path(self) -> str | None:
        """The file with the certificate authorities, ``WAMP_TLS_CA``."""
        ca = self.settings.tls.ca
        return None if ca is None else os.fspath(ca)

    @property
    def roles(self) -> dict[str, object]:
        """The roles and features that this client announces, and its authentication methods."""
        return {
            "roles": copy.deepcopy(ROLES),
            "authmethods": list(self.settings.credentials.offered),
        }

    @property
    def is_pinging(self) -> bool:
        """Whether the router is pinged. This is always so while there is a session (``WAMP_HEARTBEAT``)."""
        return self.session_id is not None

    @property
    def session(self) -> SessionView | None:
        """The session. None while there is none. Reading this attribute counts as a use of the client."""
        self.use()
        return SessionView(self) if self.session_id is not None else None

    @property
    def _session(self) -> SessionView:
        self.use()
        return SessionView(self)

    @property
    def registration_map(self) -> dict[str, int]:
        """Registration ids by procedure. (wampy has procedures by registration id.)"""
        self.use()
        return self._ids(Registration)

    @property
    def subscription_map(self) -> dict[str, int]:
        """Subscription ids by topic. (wampy has topics and handlers by subscription id.)"""
        self.use()
        return self._ids(Subscription)

    @property
    def request_ids(self) -> dict[int, object]:
        """Always empty. (wampy has registrations by request id.)"""
        return {}

    def _ids(self, kind: type) -> dict[str, int]:
        return {d.uri: d.id for d in self.declarations if type(d) is kind and d.id is not None}

    # Attributes that only wampy's own implementation has.

    def recv_message(self, source_request_id: int | None = None) -> NoReturn:
        """Raise an error, because only the call that waits for an answer can receive it."""
        raise NotImplementedError(
            "recv_message is not available; use call(), submit(), stream() or events()"
        )

    @property
    def message_handler(self) -> NoReturn:
        """Raise an error, because there is no message handler to replace."""
        raise NotImplementedError(
            "message_handler is not available; use hooks and middlewares, such as wamp.before_dispatch"
        )

    @property
    def ipv(self) -> NoReturn:
        """Raise an error, because this depends on the address of the router."""
        raise NotImplementedError(
            "ipv is not available; the addresses of the host in WAMP_ROUTER_URL decide between IPv4 and IPv6"
        )

    def _make_rpc(self, message: object) -> NoReturn:
        raise NotImplementedError("_make_rpc is not available; use call()")

    def _register_roles(self) -> NoReturn:
        raise NotImplementedError(
            "_register_roles is not available; declare procedures and topics with wamp.callee and "
            "wamp.subscriber, and marked methods of an object with wamp.include(obj)"
        )


class SessionView:
    """A session with the attributes of wampy's."""

    def __init__(self, client: WampyAPI) -> None:
        self._client = client

    @property
    def id(self) -> int | None:
        """The session id."""
        return self._client.session_id

    session_id = id

    @property
    def realm(self) -> str:
        """The realm."""
        return self._client.realm

    @property
    def connection(self) -> ConnectionView:
        """The connection that carries the session."""
        return ConnectionView(self._client)

    @property
    def registration_map(self) -> dict[str, int]:
        """Registration ids by procedure."""
        return self._client.registration_map

    @property
    def subscription_map(self) -> dict[str, int]:
        """Subscription ids by topic."""
        return self._client.subscription_map


class ConnectionView:
    """A connection with the attributes of wampy's."""

    def __init__(self, client: WampyAPI) -> None:
        self._client = client

    @property
    def url(self) -> str:
        """The router's URL."""
        return self._client.url

    @property
    def connected(self) -> bool:
        """Whether there is a session."""
        return self._client.session_id is not None

    @property
    def is_pinging(self) -> bool:
        """Whether the router is pinged."""
        return self._client.is_pinging


class _WampyMessage(t.Protocol):
    """A message object of wampy's."""

    @property
    def message(self) -> c.Iterable[object]:
        """The elements of the message."""


def sendable(message: object) -> m.Call | m.Publish:
    """Convert a message object of wampy and check it, because a router may end the session for a bad message.

    :raises TypeError: It is neither a call nor a publication, or an option is not allowed.
    :raises InvalidURI: Its URI is not valid.
    """
    typed = m.from_elements(list(t.cast(_WampyMessage, message).message))
    if not isinstance(typed, m.Call | m.Publish):
        kind = type(typed).__name__
        raise TypeError(
            f"cannot send {kind}; use register(), subscribe() and the other methods instead"
        )
    check_options(typed.options)
    if isinstance(typed, m.Call):
        check_uri(typed.procedure, "procedure")
    else:
        check_uri(typed.topic, "topic")
    return typed
