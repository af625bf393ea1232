"""The last callee lingers. A process does not leave until another process serves its procedures.

A server that restarts its workers may end the old ones before the new ones are ready. HTTP requests then wait
in the listen backlog. WAMP has no backlog, so callers would get ``wamp.error.no_such_procedure``.

Processes leave one at a time. A process that wants to leave first registers a procedure that only one session
can have. It unregisters this procedure last. Otherwise, two processes could leave at once, because each
relies on the other to stay.
"""

from __future__ import annotations

import contextlib
import random
import threading
import typing as t

from .._text import get_logger
from ..concurrency.clock import monotonic
from ..concurrency.threads import Waiter
from ..exceptions import ApplicationError, NotJoined, ProtocolError, WAMPError
from ..peer.calls import CallTicket
from ..peer.connection import Connection
from ..peer.declarations import Declaration, Failure, Registration
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.uris import COUNT_CALLEES, as_parts

logger = get_logger("flask_wamp")

#: Seconds between two checks.
PAUSE = 0.05


class Linger:
    """Delays the end of a process until others serve its procedures.

    It waits only for answers, and never for the router to read a message.

    :param declarations: The declarations of the process. Only shared procedures matter.
    """

    def __init__(self, connection: Connection, declarations: t.Iterable[Declaration]) -> None:
        self._connection = connection
        self._shared = sorted(
            (d for d in declarations if isinstance(d, Registration) and d.is_shared),
            key=lambda registration: (registration.uri, registration.match),
        )
        self._turn: int | None = None
        self._pause = threading.Event()

    def wait(self, seconds: float) -> None:
        """Wait until others serve the same procedures, at most ``seconds``.

        Call :meth:`release` afterwards.
        """
        deadline = monotonic() + seconds
        alone = self._shared if self._can_wait() else []
        # On an error, there is no router or no permission, so there is nothing to wait for.
        with contextlib.suppress(WAMPError):
            while alone and monotonic() < deadline:
                if self._turn is not None or self._take_turn(deadline):
                    alone = self._without_successor(alone, deadline)
                if alone:
                    self._pause.wait(random.uniform(0.5, 1.0) * PAUSE)

    def _can_wait(self) -> bool:
        """Return whether this process can find out that others serve the same procedures."""
        features = self._connection.session.features
        if not (self._shared and features.can_share):
            return False  # a successor can register the procedures only after this process has left
        if not features.has_registration_meta_api:
            logger.warning(
                "the router does not announce 'registration_meta_api', so this process leaves without "
                "waiting for others that serve its procedures (WAMP_LINGER)"
            )
        return features.has_registration_meta_api

    def release(self) -> None:
        """Let the next process leave."""
        if self._turn is not None:
            with contextlib.suppress(NotJoined):
                self._connection.put(Session.unregister, self._turn, None)
            self._turn = None

    def _take_turn(self, deadline: float) -> bool:
        """Try to become the process that may leave next. Return whether this process is.

        :raises ApplicationError: The router does not permit it.
        """
        uri = f"{as_parts(self._shared[0].uri)}.leaving"
        answer = Waiter()
        target = Registration(uri, lambda work: Failure(error_uris.NOT_AUTHORIZED))
        self._connection.put(Session.register, uri, {}, target, answer)
        answer.wait(min(1.0, deadline - monotonic()))
        if isinstance(answer.value, m.Error):
            if answer.value.error == error_uris.PROCEDURE_ALREADY_EXISTS:
                return False
            raise ApplicationError(answer.value.error)
        self._turn = answer.value.registration_id if answer.value is not None else None
        return self._turn is not None

    def _without_successor(
        self, registrations: list[Registration], deadline: float
    ) -> list[Registration]:
        """Return the registrations that no other session has, or for which the router did not answer in time.

        :raises ApplicationError: The router does not permit the question.
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
            if not count.wait(deadline - monotonic()) or _is_alone(count.result())
        ]


def _is_alone(count: object) -> bool:
    """Return whether there is only one callee.

    :raises ProtocolError: The router's answer is not a number.
    """
    if not isinstance(count, int):
        raise ProtocolError(f"{COUNT_CALLEES} did not return a number")
    return count < 2
