"""The last callee lingers: nobody leaves before another serves what it served.

A server that restarts its workers ends old ones before new ones are up. HTTP hides that in the listen
backlog; WAMP has none, and callers would be told that there is no such procedure.

Leaving is one at a time: who wants to leave registers a procedure that only one can have, and lets go of
it when its own are unregistered. So two workers never take each other for the one that stays.
"""

from __future__ import annotations

import contextlib
import random
import threading
import time
import typing as t

from ..concurrency.threads import Waiter
from ..exceptions import ApplicationError, NotJoined, ProtocolError, WAMPError
from ..peer.calls import CallTicket
from ..peer.connection import Connection
from ..peer.declarations import Declaration, Failure, Registration
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.uris import COUNT_CALLEES, as_parts

#: Seconds between two looks.
PAUSE = 0.05


class Linger:
    """One process's way out.

    Puts its messages in line and never waits for the router to read them.

    :param declarations: What it serves; only shared procedures are waited for.
    """

    def __init__(self, connection: Connection, declarations: t.Iterable[Declaration]) -> None:
        self._connection = connection
        self._shared = sorted(
            (d for d in declarations if isinstance(d, Registration) and _is_shared(d)),
            key=lambda registration: (registration.uri, registration.match),
        )
        self._turn: int | None = None
        self._pause = threading.Event()

    def wait(self, seconds: float) -> None:
        """Serve on until others serve the same, at most so long. Then leave, and :meth:`release`."""
        deadline = time.monotonic() + seconds
        alone = self._shared
        with contextlib.suppress(WAMPError):  # not permitted, or no router: nothing to wait for
            while alone and time.monotonic() < deadline:
                if self._turn is not None or self._take_turn(deadline):
                    alone = self._without_successor(alone, deadline)
                if alone:
                    self._pause.wait(random.uniform(0.5, 1.0) * PAUSE)

    def release(self) -> None:
        """Let the next one leave."""
        if self._turn is not None:
            with contextlib.suppress(NotJoined):
                self._connection.put(Session.unregister, self._turn, None)
            self._turn = None

    def _take_turn(self, deadline: float) -> bool:
        """Try to become the one that may leave.

        :raises ApplicationError: Not permitted.
        """
        uri = f"{as_parts(self._shared[0].uri)}.leaving"
        answer = Waiter()
        target = Registration(uri, lambda work: Failure(error_uris.NOT_AUTHORIZED))
        self._connection.put(Session.register, uri, {}, target, answer)
        answer.wait(min(1.0, deadline - time.monotonic()))
        if isinstance(answer.value, m.Error):
            if answer.value.error == error_uris.PROCEDURE_ALREADY_EXISTS:
                return False
            raise ApplicationError(answer.value.error)
        self._turn = answer.value.registration_id if answer.value is not None else None
        return self._turn is not None

    def _without_successor(
        self, registrations: list[Registration], deadline: float
    ) -> list[Registration]:
        """Those that nobody else serves yet, as far as is known in time.

        :raises ApplicationError: Not permitted to know.
        """
        asked = []
        for registration in registrations:
            if registration.id is not None:
                count = CallTicket()
                args = [registration.id]
                self._connection.put(Session.call, COUNT_CALLEES, args, {}, {}, count)
                asked.append((registration, count))
        return [
            registration
            for registration, count in asked
            if not count.wait(deadline - time.monotonic()) or _is_alone(count.result())
        ]


def _is_alone(count: object) -> bool:
    """Whether there is one callee; a router may answer anything.

    :raises ProtocolError: It is no number: then there is no telling, and nothing to wait for.
    """
    if not isinstance(count, int):
        raise ProtocolError(f"{COUNT_CALLEES} did not return a number")
    return count < 2


def _is_shared(registration: Registration) -> bool:
    policy = registration.options.get("invoke", "single")
    return policy != "single" and registration.id is not None
