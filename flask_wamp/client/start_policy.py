"""When a client connects and serves, and how long it may take to leave."""

from __future__ import annotations

import dataclasses
import typing as t

from ..peer.peer import Peer


@dataclasses.dataclass
class StartPolicy:
    """When a client connects automatically, and when it serves what the app declares."""

    on_first_use: bool = True
    """Whether the first use connects the client."""
    on_first_request: bool = True
    """Whether the first HTTP request makes the client serve, because no server was recognized."""
    serves_on_first_use: t.Callable[[], bool] = lambda: False
    """Whether the first use makes the client serve too, as in tests. Otherwise it only joins."""
    before_serving: t.Callable[[], None] = lambda: None
    """Called before the client serves. Finds and checks what the app declares."""
    on_start: t.Callable[[], None] = lambda: None
    """Called in each process before the client connects. If it raises, the client does not connect."""
    linger: float = 0.0
    """Seconds for which the last callee of a procedure waits for its successor."""
    linger_at_restart: float = 0.0
    """The same, if the server has started successors of this process. The larger value is used."""
    restarting: t.Callable[[], bool] = lambda: False
    """Whether the server says that it has started successors of this process."""
    ending: t.Callable[[], bool] = lambda: False
    """Whether the server is about to end the process, and waits for its requests first."""
    grace: float | None = None
    """Seconds that the server gives the process to end. None means no limit."""
    serves: bool = True
    """Whether this process may serve what the app declares. If not, ``start()`` does nothing."""
    make_peer: t.Callable[..., Peer] = Peer
    """Makes the peer of a process. The arguments are those of :class:`.Peer`."""

    def limits(self, drain: float) -> tuple[float, float]:
        """Return the seconds to linger and the seconds to drain, within the time that the server gives."""
        linger = self.linger
        if self.linger_at_restart > linger and self.restarting():
            linger = self.linger_at_restart
        if self.grace is None:
            return linger, drain
        linger = min(linger, self.grace * 0.3)
        return linger, min(drain, self.grace * 0.9 - linger)
