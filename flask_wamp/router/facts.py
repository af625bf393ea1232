"""What the router knows about a connection."""

from __future__ import annotations

import dataclasses
import typing as t

from ..protocol.identity import Identity


@dataclasses.dataclass(frozen=True)
class TransportFacts:
    """A connection, as the router sees it."""

    serializer: str = "msgpack"
    """The serializer that was agreed on: ``msgpack``, ``json`` or ``cbor``."""

    max_message_size: int = 2**24
    """The size in bytes of the largest message that the client accepts. Larger ones are not sent to it."""

    details: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    """The ``transport`` of the session meta API: ``channel_framing``, ``peer``, ``is_secure`` and
    ``websocket_protocol``. It contains no headers, because they would let others impersonate the browser."""

    http_headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """The headers of a WebSocket handshake, by lower-case names. Only the authenticator sees them."""

    app_identity: Identity | None = None
    """The identity that an app has sent with a handover. The authenticator decides about it."""

    app: str = ""
    """The app at whose endpoint or port the client has connected, by the prefix of its own URIs. Empty if it
    is unknown."""

    identity: Identity | None = None
    """The identity that the transport proves, such as a unix socket that only the app's user can open. The
    session joins with this identity, and needs no further authentication."""
