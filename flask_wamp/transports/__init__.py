"""Transports: open a connection to a router and carry whole messages over it.

:func:`open_transport` returns a transport, which has the methods ``receive``, ``send`` and ``close``. One
thread receives. One thread at a time sends. Any thread may close it.
"""

from __future__ import annotations

import functools
import typing as t

from ..concurrency.clock import monotonic
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
    """The type of :func:`open_transport`, and of functions that replace it."""

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
    :param max_message_size: The size, in bytes, of the largest message that this side accepts.
    :param timeout: Seconds for the whole attempt.
    :param compression: Offer compression to a WebSocket router. It may decline.
    :param opened: Called with every stream that is opened. Close the stream to end the attempt.
    :param headers: Returns HTTP headers for the WebSocket handshake.
    :param proxy: The URL of a proxy to connect through.
    :raises TransportError: The router cannot be reached, or declines.
    :raises ProtocolError: The server that answers is not a router.
    """
    deadline = monotonic() + timeout
    if url.websocket:
        from .websocket import WebSocketTransport

        more = headers() if headers is not None else {}
        stream = open_stream(url, tls, deadline, opened, proxy)
        return WebSocketTransport.open(
            stream, url, serializers, max_message_size, deadline, compression, more
        )
    return RawSocketTransport.open(
        functools.partial(open_stream, url, tls, deadline, opened, proxy),
        serializers,
        max_message_size,
        deadline,
    )
