"""Limits and policies of the embedded router."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class KeptEvents:
    """Keep the last events of a topic or pattern, for ``wamp.subscription.get_events``."""

    uri: str
    match: str = "exact"
    limit: int = 1000
    """How many events are kept; the oldest is dropped first."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """Limits and policies. Times are in seconds, sizes in bytes.

    A limit protects everybody else from one session: the request over the limit is refused, or the
    offending session ends.
    """

    agent: str = "Flask-WAMP"
    """What WELCOME names as the router's software."""

    realms: tuple[str, ...] | None = None
    """The realms that exist. None: a realm exists as soon as a client asks for it."""

    max_realms: int = 1000
    """The most realms that clients may create."""

    max_message_size: int = 16 * 1024 * 1024
    """The largest message a client may send."""

    max_unsent: int = 64 * 1024 * 1024
    """How much may wait for a session that does not read. More ends the session."""

    hello_timeout: float = 10.0
    """How long a new connection may take to say HELLO."""

    authentication_timeout: float = 30.0
    """How long authentication may take, from HELLO to WELCOME."""

    goodbye_timeout: float = 5.0
    """How long the router waits for the answer to its GOODBYE before it closes the transport."""

    max_registrations: int = 20_000
    """Registrations a session may hold."""

    max_subscriptions: int = 20_000
    """Subscriptions a session may hold."""

    max_pending_calls: int = 50_000
    """Calls a session may have in flight. More are answered with ``wamp.error.unavailable``."""

    max_testaments: int = 1000
    """Testaments a session may hold."""

    max_retained: int = 10_000
    """Retained events a realm keeps. The topic retained longest ago is dropped first."""

    max_waiting: int = 1000
    """Messages a session may have waiting for an authorizer that answers later."""

    linger: float = 0.0
    """How long calls wait for a procedure whose last callee has gone; 0: they fail at once."""

    max_lingering_calls: int = 1000
    """Calls that may wait in a realm for procedures whose last callee has gone."""

    disclose: bool = True
    """Whether callers and publishers are disclosed, unless the authorizer decides.

    False: only where they ask for it with ``disclose_me``.
    """

    trusted_links: frozenset[str] = frozenset()
    """Roles of links to other routers, whose ``forward_for`` is passed on. From everybody else it
    is dropped."""

    history: tuple[KeptEvents, ...] = ()
    """The topics whose events are kept."""

    sequential_request_ids: bool = True
    """Whether a gap in a session's request ids ends the session, as the specification demands."""
