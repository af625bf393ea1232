"""Attempts to join: connect once, and decide when to try again."""

from __future__ import annotations

import random
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.pool import Pool
from ..protocol.auth import Authentication
from ..protocol.session import Session
from ..protocol.session_events import Joined
from ..transports import Stream, Transport, open_transport
from .connection import Connection, OnEvents
from .settings import PeerSettings

C = t.TypeVar("C", bound=Connection)

#: The size, in bytes, of the largest message that a router may send. It is Crossbar's own limit, and does not
#: depend on ``WAMP_MAX_MESSAGE_SIZE``. A larger message ends the session. A message over the app's limit is
#: read and then refused, because otherwise any caller could end the session.
RECEIVE_CEILING = 16 * 1024 * 1024


def connect(
    settings: PeerSettings,
    on_events: OnEvents,
    pool: Pool,
    opened: t.Callable[[Stream], None],
    make: t.Callable[..., C],
) -> tuple[C, Joined]:
    """Connect to the router and join the realm, within ``connect_timeout``.

    :param opened: Called with the stream before it is connected. If it raises, the attempt ends.
    :param make: Makes the connection. The arguments are those of :class:`.Connection`.
    :raises WAMPError: The attempt failed.
    """
    deadline = monotonic() + settings.connect_timeout
    transport = (settings.open_transport or open_transport)(
        settings.router_url,
        serializers=settings.serializers,
        max_message_size=RECEIVE_CEILING,
        compression=settings.compression,
        timeout=settings.connect_timeout,
        tls=settings.tls,
        opened=opened,
    )
    try:
        session = make_session(settings, transport)
        connection = make(transport, session, settings.max_message_size, on_events, pool)
        return connection, connection.join(deadline)
    except BaseException:
        transport.close()
        raise


def delay(settings: PeerSettings, attempts: int) -> float:
    """Return the seconds before the next attempt. They double each time up to a limit, and are partly random.

    :param attempts: How many attempts have failed in a row before the last one.
    """
    seconds = settings.reconnect_min * 2.0 ** min(attempts, 30)
    return min(seconds, settings.reconnect_max) * random.uniform(0.5, 1.0)


def make_session(settings: PeerSettings, transport: Transport) -> Session:
    """Return a session that has not joined yet, for a transport that has agreed on a serializer."""
    if settings.default is not None:
        transport.serializer = transport.serializer.with_default(settings.default)
    return Session(
        transport.serializer,
        settings.realm,
        Authentication(settings.credentials, settings.app),
        agent=settings.agent,
        max_message_size=min(settings.max_message_size, transport.max_send_size),
    )
