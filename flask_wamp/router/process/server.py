"""Runs the router's core and all connections on one event loop."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import logging
import resource
import typing as t

from ..._text import get_logger
from ...concurrency.clock import monotonic
from ...exceptions import WAMPError
from ...protocol.serializers import available
from .. import Router
from ..facts import TransportFacts
from ..session import RouterSession
from .client_connection import NO_FRAME, ClientConnection
from .event_loop import watcher_of

logger = get_logger("flask_wamp.router")

#: Seconds between two checks for idle clients.
CHECK_INTERVAL = 5.0


@dataclasses.dataclass(frozen=True)
class ServerSettings:
    """The limits of connections. Those of sessions are in :class:`.RouterSettings`."""

    serializers: tuple[str, ...] = ("msgpack", "json", "cbor")
    compression: bool = True
    """Whether WebSocket clients may use compression."""

    handshake_timeout: float = 10.0
    """Seconds that a new connection may take for TLS and the handshake of its transport."""

    ping_interval: float = 30.0
    """Seconds after which an idle WebSocket gets a ping. 0 turns pings off."""

    ping_timeout: float = 30.0
    """Seconds within which the client must answer a ping."""

    max_connections: int = 20_000
    """The maximum number of connections at a time."""

    max_connections_per_address: int = 5000
    """The maximum number of connections from one address. Clients behind one proxy share its address."""


def allow_many_files() -> None:
    """Raise this process's limit of open files to the maximum, because each connection is one."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


class RouterServer:
    """Runs a router on an event loop. Call all methods in the loop's thread.

    :param router: The core.
    """

    def __init__(self, router: Router, settings: ServerSettings | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.watcher = watcher_of(self.loop)
        self.router = router
        self.settings = settings or ServerSettings()
        self._serializers = tuple(available(self.settings.serializers))
        self.connections: set[ClientConnection] = set()
        self.dirty: list[ClientConnection] = []
        self.last_frame = NO_FRAME
        self._logged_rejected = float("-inf")
        self._addresses: collections.Counter[str] = collections.Counter()
        self._timer: asyncio.TimerHandle | None = None
        self._due: float | None = None
        self._violations = 0
        self._watch = self.loop.call_later(CHECK_INTERVAL, self._check_connections)

    @property
    def serializers(self) -> tuple[str, ...]:
        """The serializers that clients may choose."""
        return self._serializers

    @property
    def compression(self) -> bool:
        """Whether WebSocket clients may use compression."""
        return self.settings.compression

    @property
    def max_message_size(self) -> int:
        """The size of the largest message that a client may send, in bytes."""
        return self.router.settings.max_message_size

    @property
    def goodbye_timeout(self) -> float:
        """The number of seconds that an ended connection waits for the client to close it."""
        return self.router.settings.goodbye_timeout

    # Connections.

    def admits(self, address: str) -> bool:
        """Return whether one more connection from an address is within the limits."""
        settings = self.settings
        if len(self.connections) >= settings.max_connections:
            self.log_rejected("%d connections are open", len(self.connections))
            return False
        if address and self._addresses[address] >= settings.max_connections_per_address:
            self.log_rejected("%d connections from %s are open", self._addresses[address], address)
            return False
        return True

    def add(self, connection: ClientConnection, address: str) -> None:
        """Add a connection, and count it for its address."""
        connection.address = address
        self.connections.add(connection)
        self._addresses[address] += 1

    def forget(self, connection: ClientConnection) -> None:
        """Remove a closed connection."""
        if connection in self.connections:
            self.connections.discard(connection)
            self._addresses[connection.address] -= 1
            if not self._addresses[connection.address]:
                del self._addresses[connection.address]

    def open(
        self,
        connection: ClientConnection,
        facts: TransportFacts,
        serializer: str,
        max_message_size: int,
        headers: t.Mapping[str, str],
    ) -> RouterSession:
        """Open a session for a connection that has agreed on a serializer."""
        facts = dataclasses.replace(
            facts, serializer=serializer, max_message_size=max_message_size, http_headers=headers
        )
        return self.router.open(facts, send=connection.send, close=connection.end)

    def flush(self) -> None:
        """Send the messages of this turn of the loop, and schedule the next deadline."""
        self.last_frame = NO_FRAME
        while self.dirty:
            dirty, self.dirty = self.dirty, []
            for connection in dirty:
                connection.flush()
        self._schedule()

    def defer(self, job: t.Callable[[], object]) -> None:
        """Run a job of the router soon, but not while it handles a message. Then send its messages."""

        def run() -> None:
            job()
            self.flush()

        self.loop.call_soon(run)

    def flush_soon(self) -> None:
        """Flush at the end of this turn. Use it where no other code flushes."""
        self.loop.call_soon(self.flush)

    # Time.

    def _schedule(self) -> None:
        due = self.router.next_deadline
        if due == self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = due
        self._timer = self.loop.call_at(due, self._tick) if due is not None else None

    def _tick(self) -> None:
        self._timer = self._due = None
        self.router.tick()
        self.flush()

    def _check_connections(self) -> None:
        """Send pings to idle clients. Close connections without an answer, or without a handshake in time."""
        self._watch = self.loop.call_later(
            min(CHECK_INTERVAL, self.settings.ping_interval or CHECK_INTERVAL),
            self._check_connections,
        )
        now = monotonic()
        for connection in list(self.connections):
            if connection.has_session:
                self._check_connection(connection, now)
            elif connection.opened + self.settings.handshake_timeout < now:
                connection.close()
        self.flush()

    def _check_connection(self, connection: ClientConnection, now: float) -> None:
        interval, patience = self.settings.ping_interval, self.settings.ping_timeout
        if not (interval and connection.pings):
            return
        # Close no connection without a ping, even if this process was suspended for a long time.
        if connection.pinged > connection.heard:
            if connection.pinged + patience < now:
                connection.close()
        elif connection.heard + interval < now:
            connection.pinged = now
            connection.ping()

    # Logging. Clients cannot cause an unlimited number of warnings.

    def log_violation(self, facts: TransportFacts, error: WAMPError) -> None:
        """Log a connection that broke the rules: the first, second, fourth, eighth and so on as a warning."""
        self._violations += 1
        level = logging.WARNING if self._violations & (self._violations - 1) == 0 else logging.DEBUG
        logger.log(
            level,
            "closed a connection from %s: %s (%d such connections so far)",
            facts.details.get("peer", "?"),
            error,
            self._violations,
        )

    def log_rejected(self, text: str, *args: object) -> None:
        """Log why a connection is not accepted, at most every 10 seconds."""
        now = monotonic()
        if now > self._logged_rejected + 10.0:
            self._logged_rejected = now
            logger.warning(f"refused a connection: {text}", *args)

    # The end.

    async def stop(self, timeout: float) -> None:
        """Send GOODBYE to all clients, and close all connections within ``timeout`` seconds."""
        self._watch.cancel()
        self.router.shut_down()
        self.flush()
        deadline = self.loop.time() + timeout
        while self.connections and self.loop.time() < deadline:
            await asyncio.sleep(0.01)
        for connection in list(self.connections):
            connection.close()
