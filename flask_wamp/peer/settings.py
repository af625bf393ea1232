"""The settings of a peer, as plain values."""

from __future__ import annotations

import dataclasses
import typing as t

from ..protocol.auth import Credentials
from ..transports import OpenTransport, RouterURL, TLSSettings

MIN_WAITING_BYTES = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class PeerSettings:
    """The settings of a peer: values of the configuration, in seconds and bytes."""

    router_url: RouterURL
    realm: str
    serializers: t.Sequence[str]
    credentials: Credentials
    tls: TLSSettings
    call_timeout: float
    connect_timeout: float
    drain_timeout: float
    reconnect_min: float
    reconnect_max: float
    heartbeat: float
    workers: int | None
    max_pending: int
    event_queue: int
    max_message_size: int
    agent: str
    compression: bool = False
    open_transport: OpenTransport | None = None
    """Connects to a router, if a URL is not enough. The router may have to be started, or be in this process.
    """
    app: str | None = None
    """The application's name for ``authextra`` in HELLO. None if HELLO does not name it."""
    meets_others: bool = False
    """Whether other applications can join the router."""
    uri_prefix: str | None = None
    """The prefix of relative URIs."""
    default: t.Callable[[t.Any], t.Any] | None = None
    """Encodes the app's own types."""

    max_waiting_bytes: int = dataclasses.field(init=False)
    """The maximum size, in bytes, of all waiting calls, and of the waiting events of each subscription.

    Above this limit, calls are refused and events are dropped, as if too many were waiting.
    """

    def __post_init__(self) -> None:
        waiting = max(MIN_WAITING_BYTES, 4 * self.max_message_size)
        vars(self).update(max_waiting_bytes=waiting)  # because the class is frozen
