"""Attempts to join: what a session is made of, and what is logged about attempts that fail."""

from __future__ import annotations

from .._text import get_logger
from ..protocol.auth import Authentication
from ..protocol.session import Session
from ..transports import Transport
from .settings import Settings

logger = get_logger("flask_wamp")

MAX_REASONS = 100
"""Different reasons for not being joined that are remembered, so that each is logged once."""


def make_session(settings: Settings, transport: Transport) -> Session:
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


class FailureLog:
    """Logs why attempts to join have failed: each reason once, until a session is joined."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._reasons: set[str] = set()

    @property
    def where(self) -> str:
        """The realm and the router, for messages."""
        return f"realm {self._settings.realm} at {self._settings.router_url.shown}"

    def add(self, error: Exception) -> None:
        """Log why an attempt has failed."""
        reason = str(error)
        if reason in self._reasons:
            return
        if len(self._reasons) >= MAX_REASONS:  # a router may have a new one each time
            self._reasons.clear()
        self._reasons.add(reason)
        logger.warning(
            "not joined to realm %s at %s, trying again: %s",
            self._settings.realm,
            self._settings.router_url.shown,
            error,
        )

    def clear(self) -> None:
        """Begin anew: a session was joined."""
        self._reasons.clear()
