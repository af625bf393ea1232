"""Peers for tests with threads. They start half as many threads as other peers.

Sending to the router in this process never blocks. So each thread sends its own messages, and there is no
writer thread. One thread reads, and workers run the handlers.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.leader_followers import read_in_turn
from ..concurrency.pool import Pool
from ..exceptions import WAMPError
from ..peer.connection import Connection, ReadAll, ServedEvent
from ..peer.peer import Peer
from ..protocol.session import Session
from ..protocol.session_events import Joined
from ..router.memory import MemoryTransport

T = t.TypeVar("T")
P = t.ParamSpec("P")


class LightConnection(Connection):
    """A connection to the router in this process."""

    def put(
        self, request: t.Callable[t.Concatenate[Session, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """Do the same as :meth:`.Sender.put`, and send the message at once."""
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
        """Send unsent bytes."""
        self._send_rest()

    def _read(self) -> list[ServedEvent] | None:
        events = super()._read()
        self._send_rest()
        return events

    def read_what_is_there(self) -> None:
        """Handle the messages that have arrived, without waiting."""
        transport = t.cast(MemoryTransport, self.transport)
        while self._early or transport.ready():
            events = self._read()
            if events is None:
                break
            self._on_events(self, events)
        self.reading = None

    def _start_writer(self) -> threading.Thread | None:
        return None


class LightPeer(Peer):
    """The peer of a tested app or of its test client."""

    make_connection = LightConnection

    def _make_pool(self) -> Pool:
        pool = super()._make_pool()
        # Reserve no helpers. Listeners may leave one after another, because no other process takes over.
        pool.reserve = lambda count: 0  # type: ignore[method-assign]
        return pool

    _first: tuple[Connection, Joined] | None = None

    def _begin(self) -> None:
        """Join in this thread, then start the reader. Switching threads would take longer than joining."""
        found = self._connect()  # if it is None, the reader tries again
        follow_up = None if found is None else self._enter(*found)
        if found is not None and follow_up is not None:
            self._first = connection, _ = found
            with contextlib.suppress(WAMPError):  # the reader will meet the same error
                self._restore(connection, follow_up)
                t.cast(LightConnection, connection).read_what_is_there()
        super()._begin()

    def _join_and_serve(self) -> float:
        first, self._first = self._first, None
        if first is None:
            return super()._join_and_serve()
        since = monotonic()
        self._serve(*first)
        return monotonic() - since

    def _read_all(self) -> ReadAll:
        return functools.partial(read_in_turn, self.pool)
