"""Limits and policies of the embedded router."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class KeptEvents:
    """Keep the last events of a topic or pattern, for ``wamp.subscription.get_events``."""

    uri: str
    match: str = "exact"
    limit: int = 1000
    """How many events are kept. The oldest is dropped first."""


@dataclasses.dataclass(frozen=True)
class RouterSettings:
    """Limits and policies. Times are in seconds, sizes in bytes.

    A limit protects all other sessions from one session. A request over the limit is refused, or the session
    that exceeds it ends.
    """

    agent: str = "Flask-WAMP"
    """The name of the router's software in WELCOME."""

    realms: tuple[str, ...] | None = None
    """The realms that exist. If this is None, a realm is created when its first client joins."""

    max_realms: int = 1000
    """The most realms that clients may create."""

    max_message_size: int = 16 * 1024 * 1024
    """The largest message a client may send."""

    max_unsent: int = 64 * 1024 * 1024
    """How many bytes may wait for a session that does not read. A session with more ends."""

    hello_timeout: float = 10.0
    """How long a new connection may take to send HELLO."""

    authentication_timeout: float = 30.0
    """How long authentication may take, from HELLO to WELCOME."""

    goodbye_timeout: float = 5.0
    """How long the router waits for the answer to its GOODBYE before it closes the transport."""

    max_registrations: int = 20_000
    """How many registrations a session may have."""

    max_subscriptions: int = 20_000
    """How many subscriptions a session may have."""

    max_pending_calls: int = 50_000
    """How many pending calls a session may have. Further calls fail with ``wamp.error.unavailable``."""

    max_testaments: int = 1000
    """How many testaments a session may have."""

    max_retained: int = 10_000
    """How many topics of a realm may have retained events. The oldest are dropped first."""

    max_waiting: int = 1000
    """How many messages of a session may wait for an authorizer that answers later."""

    linger: float = 0.0
    """How long calls wait for a procedure whose last callee has left, if it was a process of an app.

    With 0 they fail at once. They also do if the callee was another client, see
    :attr:`.RouterSession.is_of_app`.
    """

    max_lingering_calls: int = 1000
    """How many calls may wait in a realm for procedures whose last callee has left."""

    disclose: bool = True
    """Whether callers and publishers are disclosed, unless the authorizer decides.

    False means only if they ask for it with ``disclose_me``.
    """

    trusted_links: frozenset[str] = frozenset()
    """The roles of links to other routers. Only a ``forward_for`` from these roles is passed on."""

    history: tuple[KeptEvents, ...] = ()
    """The topics whose events are kept."""

    sequential_request_ids: bool = True
    """Whether a gap in a session's request ids ends the session, as the specification requires."""
