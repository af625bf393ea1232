"""What joins and leaves with the sessions of a process."""

from __future__ import annotations

import typing as t


class SessionListener(t.Protocol):
    """What comes and goes with the sessions of one process. Lives as long as its peer does."""

    def joined(self, connection: t.Any) -> None:
        """There is a session, and everything is registered. Must not wait."""

    def lost(self) -> None:
        """There is none any more. Must not wait."""

    def leave(self, deadline: float) -> None:
        """The process is about to leave, and takes no more afterwards.

        :param deadline: The ``time.monotonic()`` at which it does.
        """


MakeListener = t.Callable[[t.Any], SessionListener]
"""Called with the peer, in every process that starts one."""
