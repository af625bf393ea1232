"""Peers of tests with threads: they start half of the threads that others have.

Sending to the router in this process never waits. So whoever has something to send sends it, without a
writer's thread, and one thread reads while workers run the handlers.
"""

from __future__ import annotations

import functools
import threading
import typing as t

from ..concurrency.leader_followers import read_in_turn
from ..peer.connection import Connection, Event, ReadAll
from ..peer.peer import Peer
from ..protocol.session import Session

T = t.TypeVar("T")
P = t.ParamSpec("P")


class LightConnection(Connection):
    """A connection to the router in this process."""

    def put(
        self, request: t.Callable[t.Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do as :meth:`.Sender.put`, and send it at once."""
        result = super().put(request, *args, **kwargs)
        self._send_rest()
        return result

    def answer(
        self,
        request: t.Callable[t.Concatenate[Session, P], bool],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> bool:
        """Send an answer at once."""
        return self.ask(request, *args, **kwargs)

    def send_soon(self) -> None:
        """Send what is unsent."""
        self._send_rest()

    def _read(self) -> list[Event] | None:
        events = super()._read()
        self._send_rest()
        return events

    def _start_writer(self) -> threading.Thread | None:
        return None


class LightPeer(Peer):
    """A peer of an app that is tested, or of its test client."""

    make_connection = LightConnection

    def _read_all(self) -> ReadAll:
        return functools.partial(read_in_turn, self.pool)
