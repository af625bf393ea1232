"""Transports: open a connection to a router and carry whole messages over it.

A transport has four verbs: ``open_transport`` makes one, then ``receive``, ``send``, ``close``. One
thread receives, one at a time sends, any may close.
"""

from __future__ import annotations

import time
import typing as t

from .base import Transport
from .rawsocket import RawSocketTransport
from .streams import Stream, open_stream
from .tls_settings import TLSSettings
from .urls import FORMS, Address, RouterURL, parse_router_url, show_url

__all__ = [
    "FORMS",
    "Address",
    "OpenTransport",
    "RouterURL",
    "Stream",
    "TLSSettings",
    "Transport",
    "open_transport",
    "parse_router_url",
    "show_url",
]


class OpenTransport(t.Protocol):
    """What connects to a router: :func:`open_transport`, or something in its place."""

    def __call__(
        self,
        url: RouterURL,
        *,
        serializers: t.Sequence[str],
        max_message_size: int,
        timeout: float,
        tls: TLSSettings,
        compression: bool = False,
        opened: t.Callable[[Stream], None] = lambda stream: None,
    ) -> Transport:
        """See :func:`open_transport`."""


def open_transport(
    url: RouterURL,
    *,
    serializers: t.Sequence[str],
    max_message_size: int,
    timeout: float,
    tls: TLSSettings,
    compression: bool = False,
    opened: t.Callable[[Stream], None] = lambda stream: None,
    headers: t.Callable[[], t.Mapping[str, str]] | None = None,
    proxy: str | None = None,
) -> Transport:
    """Connect to a router and agree on a serializer.

    :param serializers: Names in order of preference.
    :param max_message_size: Bytes this side takes.
    :param timeout: Seconds for all of it.
    :param compression: Offer a WebSocket router to compress; goes on without where it declines.
    :param opened: Called with every stream it opens; closing the stream ends the attempt.
    :param headers: Returns HTTP headers for the WebSocket handshake.
    :param proxy: The URL of a proxy to connect through.
    :raises TransportError: The router cannot be reached, or is none.
    """
    deadline = time.monotonic() + timeout
    if url.websocket:
        from .websocket import WebSocketTransport

        more = headers() if headers is not None else {}
        stream = open_stream(url, tls, deadline, opened, proxy)
        return WebSocketTransport.open(
            stream, url, serializers, max_message_size, deadline, compression, more
        )
    return RawSocketTransport.open(
        lambda: open_stream(url, tls, deadline, opened, proxy),
        serializers,
        max_message_size,
        deadline,
    )
