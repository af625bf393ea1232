"""What a peer needs to know, as plain values."""

from __future__ import annotations

import dataclasses
import typing as t

from ..protocol.auth import Credentials
from ..transports import OpenTransport, RouterURL, TLSSettings

MIN_WAITING_BYTES = 64 * 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a peer needs to know; the configuration's values, in seconds and bytes."""

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
    """Connects to a router that is no URL alone: one that has to be started, or one in this process."""
    app: str | None = None
    """The application's name, which HELLO has in ``authextra``; None: HELLO does not name it."""
    uri_prefix: str | None = None
    """What relative URIs are below."""
    default: t.Callable[[t.Any], t.Any] | None = None
    """Makes what can be sent of the app's own types."""

    @property
    def max_waiting_bytes(self) -> int:
        """Bytes that the messages of waiting calls may have, and those of each subscription's waiting events.

        What is over it is refused or dropped, as if too many waited.
        """
        return max(MIN_WAITING_BYTES, 4 * self.max_message_size)
