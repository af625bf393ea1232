"""The state of a client as plain data."""

from __future__ import annotations

import datetime as dt
import typing as t

from ..peer.declarations import Declaration, Registration, Subscription
from ..peer.peer import Peer
from .client import Client
from .event_hub import EventHub


def health(client: Client) -> dict[str, t.Any]:
    """Return the state of a client. It has JSON types only, and contains no secrets.

    ============== ===================================================================================
    joined         whether there is a session
    joined_since   ISO 8601, UTC. None while not joined
    session_id     None while not joined
    realm
    router_url     without user and password
    transport      ``websocket`` or ``rawsocket``. None while not joined
    serializer     None while not joined
    failure        why the last attempt to join failed. None while joined
    reconnects     how many times the session was lost since the client was started
    procedures     ``registered``: their number. ``refused``: the reasons, by URI
    topics         ``subscribed``: their number. ``refused``: the reasons, by URI. ``dropped``: the
                   number of events, by URI
    streams        the number of open event streams, by topic
    publications   best-effort events: how many are ``waiting`` for a session, how many were ``dropped``
    in_hand        ``running``: the number of running handlers. ``waiting``: the number of queued calls
                   and events
    ============== ===================================================================================
    """
    settings, peer = client.settings, client.peer
    connection = peer.connection if peer is not None else None
    hub = EventHub.of(peer) if peer is not None else None
    ended = peer is not None and peer.started and not peer.is_alive
    since = peer.joined_at if peer is not None else None
    return {
        "joined": connection is not None and not ended,
        "joined_since": _iso(since) if connection is not None else None,
        "session_id": connection.session.session_id if connection is not None else None,
        "realm": settings.realm,
        "router_url": settings.router_url.shown,
        "transport": settings.router_url.transport if connection is not None else None,
        "serializer": connection.transport.serializer.name if connection is not None else None,
        "failure": _failure(peer),
        "reconnects": peer.lost if peer is not None else 0,
        "procedures": {
            "registered": sum(d.id is not None for d in _of(client, Registration)),
            "refused": _refused(client, Registration),
        },
        "topics": {
            "subscribed": sum(d.id is not None for d in _of(client, Subscription)),
            "refused": _refused(client, Subscription),
            "dropped": {
                topic.uri: dropped
                for topic in (d.subject for d in _of(client, Subscription))
                if (dropped := sum(each.dropped for each in topic.members))
            },
        },
        "streams": hub.open_streams if hub is not None else {},
        "publications": client.publications,
        "in_hand": {
            "running": peer.pool.running if peer is not None else 0,
            "waiting": peer.waiting if peer is not None else 0,
        },
    }


def _failure(peer: Peer | None) -> str | None:
    if peer is None:
        return None
    if peer.started and not peer.is_alive:
        return "a thread of this client has ended unexpectedly. Restart the process"
    return str(peer.failure) if peer.failure is not None else None


def _refused(client: Client, kind: type[Declaration]) -> dict[str, str]:
    return {d.subject.uri: str(d.refused) for d in _of(client, kind) if d.refused is not None}


def _of(client: Client, kind: type[Declaration]) -> list[Declaration]:
    """Return the declarations of a kind.

    Topics with ``delivery="one"`` are returned as subscriptions, although a registration serves them.
    """
    return [d for d in client.declarations if isinstance(d.subject, kind)]


def _iso(timestamp: float | None) -> str | None:
    if timestamp is None:
        return None
    return dt.datetime.fromtimestamp(timestamp, dt.timezone.utc).isoformat(timespec="seconds")
