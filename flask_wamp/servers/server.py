"""What the client needs to know about a server that was recognized."""

from __future__ import annotations

import typing as t


class Start(t.Protocol):
    """Starts the client, and serves."""

    def __call__(
        self,
        *,
        unattended: bool = False,
        grace: float | None = None,
        restarting: t.Callable[[], bool] | None = None,
        ending: t.Callable[[], bool] | None = None,
    ) -> object:
        """Start. See :func:`.lifecycle.start`."""


class Server(t.NamedTuple):
    """A server that was recognized."""

    arrange: t.Callable[[Start], object]
    """Arranges that the client starts at the right time in every process that serves."""

    restarts_workers: bool = False
    """Whether the server replaces processes one by one while others serve."""

    is_loaded: t.Callable[[], bool] | None = None
    """Returns whether the application has been loaded. Set if a separate thread waits for that to start.

    The first HTTP request may arrive before that thread has checked.
    """

    announces: bool = False
    """Whether to print a line when the session has joined, as in development servers."""

    forbids: t.Callable[[], str | None] = lambda: None
    """Returns why this process must not connect, or None if it may."""

    ends_by_signal: bool = False
    """Whether SIGTERM ends the server for good if the app cannot be served."""


class _AtExit:
    """What to call at the end of a process that does not run Python's ``atexit``."""

    stop: t.Callable[[], None] = staticmethod(lambda: None)
    """Set by :mod:`.lifecycle`."""


at_exit = _AtExit()
