"""Sessions, registrations and subscriptions, as the router's meta API describes them.

Routers return different values. A missing value is None, and further values are in ``details``.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import typing as t

Details = t.Mapping[str, t.Any]

#: The HTTP headers of a session's WebSocket handshake, which include cookies, and the value of Crossbar's own
#: cookie. With them, it is possible to impersonate the browser.
_SECRETS = ("http_headers_received", "http_headers_sent", "http_cbtid")

#: How deep details may be nested. Deeper values become None, because clients choose ``authextra``.
DEEPEST = 32


def _details() -> Details:
    return dataclasses.field(default_factory=dict, repr=False, compare=False)


@dataclasses.dataclass(frozen=True)
class TransportInfo:
    """How a session is connected to the router."""

    framing: str | None = None
    """``websocket`` or ``rawsocket``."""

    peer: str | None = None
    """The address of the client, as the router writes it: ``tcp4:127.0.0.1:44622``."""

    is_secure: bool | None = None
    """Whether the connection is encrypted."""

    protocol: str | None = None
    """The subprotocol, such as ``wamp.2.msgpack``."""

    details: Details = _details()
    """Everything the router says about the transport, without HTTP headers."""


@dataclasses.dataclass(frozen=True)
class SessionInfo:
    """A session with the router. An attribute that the router does not disclose is None."""

    id: int
    """The session id."""

    authid: str | None = None
    """The identity with which it joined."""

    authrole: str | None = None
    """The role, which determines its rights."""

    authmethod: str | None = None
    """The authentication method, such as ``anonymous`` or ``ticket``."""

    authprovider: str | None = None
    """The kind of authenticator, such as ``static`` or ``dynamic``."""

    transport: TransportInfo | None = None
    """The connection of the session."""

    details: Details = _details()
    """Everything the router says about the session, including ``authextra``, without HTTP headers."""

    http_headers: Details | None = dataclasses.field(default=None, repr=False, compare=False)
    """The headers of its WebSocket handshake, including cookies. None unless you have asked for them."""

    @classmethod
    def parse(
        cls, answer: object, session_id: int | None = None, *, headers: bool = False
    ) -> SessionInfo:
        """Return the session that a router's answer describes.

        :param session_id: The id to use if the answer does not contain it.
        :param headers: Whether to keep HTTP headers, including cookies.
        :raises ValueError: There is no session id.
        """
        details = _mapping(answer)
        number = _int(details.get("session")) or session_id
        if number is None:
            raise ValueError("the router described a session without an id")
        transport = details.get("transport")
        received = _mapping(transport).get("http_headers_received")
        return cls(
            id=number,
            authid=_text(details.get("authid")),
            authrole=_text(details.get("authrole")),
            authmethod=_text(details.get("authmethod")),
            authprovider=_text(details.get("authprovider")),
            transport=_transport(transport) if isinstance(transport, dict) else None,
            details=without_secrets(details),
            http_headers=received if headers and isinstance(received, dict) else None,
        )


def _transport(answer: Details) -> TransportInfo:
    is_secure = answer.get("is_secure")
    return TransportInfo(
        framing=_text(answer.get("channel_framing")),
        peer=_text(answer.get("peer")),
        is_secure=is_secure if isinstance(is_secure, bool) else None,
        protocol=_text(answer.get("websocket_protocol")),
        details=without_secrets(answer),
    )


@dataclasses.dataclass(frozen=True)
class _Observed:
    """The attributes that registrations and subscriptions have in common."""

    id: int
    """The id, which is the same for all sessions that share the registration or subscription."""

    uri: str | None = None
    """The procedure or topic, or the pattern."""

    match: str | None = None
    """``exact``, ``prefix`` or ``wildcard``."""

    created: dt.datetime | None = None
    """When it was created, as an aware datetime."""

    details: Details = _details()
    """Everything the router says about it."""

    @classmethod
    def _facts(cls, answer: object, number: int) -> dict[str, t.Any]:
        details = _mapping(answer)
        return {
            "id": _int(details.get("id")) or number,
            "uri": _text(details.get("uri")),
            "match": _text(details.get("match")),
            "created": _time(details.get("created")),
            "details": details,
        }


@dataclasses.dataclass(frozen=True)
class RegistrationInfo(_Observed):
    """A registration of a procedure or pattern."""

    invoke: str | None = None
    """How calls are distributed among its callees: ``single``, ``roundrobin``..."""

    @classmethod
    def parse(cls, answer: object, registration_id: int) -> RegistrationInfo:
        """Return the registration that a router's answer describes."""
        facts = cls._facts(answer, registration_id)
        return cls(**facts, invoke=_text(facts["details"].get("invoke")))


@dataclasses.dataclass(frozen=True)
class SubscriptionInfo(_Observed):
    """A subscription to a topic or pattern."""

    @classmethod
    def parse(cls, answer: object, subscription_id: int) -> SubscriptionInfo:
        """Return the subscription that a router's answer describes."""
        return cls(**cls._facts(answer, subscription_id))


def without_secrets(value: object, depth: int = DEEPEST) -> t.Any:
    """Return a copy without HTTP headers and cookies at any depth. Proxies put them into ``authextra``."""
    if isinstance(value, (dict, list)) and not depth:
        return None
    if isinstance(value, dict):
        kept = {name: item for name, item in value.items() if name not in _SECRETS}
        return {name: without_secrets(item, depth - 1) for name, item in kept.items()}
    if isinstance(value, list):
        return [without_secrets(item, depth - 1) for item in value]
    return value


def _mapping(value: object) -> dict[str, object]:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _int(value: object) -> int | None:
    return value if type(value) is int else None


def _time(value: object) -> dt.datetime | None:
    """Return an aware time from ISO 8601. A time without a zone is in UTC."""
    if not isinstance(value, str):
        return None
    try:
        time = dt.datetime.fromisoformat(value.replace("Z", "+00:00"))
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=dt.timezone.utc)
