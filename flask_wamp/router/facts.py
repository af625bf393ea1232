"""What a transport tells the router about a connection."""

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
    """Bytes of the largest message the client takes. Larger ones are not sent to it."""

    details: t.Mapping[str, t.Any] = dataclasses.field(default_factory=dict)
    """What the session meta API tells as ``transport``: ``channel_framing``, ``peer``, ``is_secure``,
    ``websocket_protocol``. No headers: whoever may read them could be that browser."""

    http_headers: t.Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)
    """The headers of a WebSocket handshake, by lower-case names. Only the authenticator sees them."""

    app_identity: Identity | None = None
    """Who the client is, by an app that has handed over the connection. The authenticator decides."""

    identity: Identity | None = None
    """Who the client is, where the transport has proven that already, such as a unix socket that only the
    app's own user can open. The session joins as this without further authentication."""
