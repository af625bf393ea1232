"""A warning about procedures that two different applications share.

Processes of one application register the same procedures, and the router distributes the calls among them. If
another application registers one of these URIs, it gets its part of the calls too, and no peer sees an
error. So each process looks at its registrations after it has joined. HELLO names the application
(:func:`.identity.app_extra`), and ``wamp.session.get`` returns that name, if the router shows it.

The number of questions is bounded, nothing waits for the answers, and a refusal ends the questions of the
process.

Source: WAMP Advanced Profile, "Registration Meta API" and "Session Meta API".
"""

from __future__ import annotations

import contextlib
import functools
import random
import threading
import typing as t

from .._text import get_logger, safe_text
from ..exceptions import InvalidPayload, WAMPError
from ..peer.connection import Connection
from ..peer.declarations import Registration, Served
from ..peer.listeners import PeerInterface
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.identity import app_of
from ..protocol.session import Session
from ..protocol.uris import GET_SESSION, LIST_CALLEES
from .lease import CallbackTicket

logger = get_logger("flask_wamp")

#: How many registrations are looked at after each join, how many sessions, and how many applications a
#: process warns about. Each join takes other registrations and sessions, so that many processes see more.
MAX_REGISTRATIONS, MAX_SESSIONS, MAX_WARNINGS = 20, 20, 20

#: Errors that say nothing about the next question.
_GONE = (error_uris.NO_SUCH_REGISTRATION, error_uris.NO_SUCH_SESSION)

Next = t.Callable[[object], None]


class OtherApps:
    """Looks for other applications that share the procedures of this one.

    :param served: Returns what the process serves; only shared procedures count.
    """

    has_to_leave = False

    def __init__(self, served: Served, peer: PeerInterface) -> None:
        self._served = served
        self._peer = peer
        self._own = peer.settings.app
        self._permitted = True
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        """The sessions that were asked about in the present session."""
        self._warned: set[str] = set()

    def joined(self, connection: Connection) -> None:
        """Ask for the callees of some registrations. Does not wait."""
        if not (self._permitted and connection.session.features.has_callee_meta_api):
            return
        own = self._peer.session_id
        with self._lock:
            self._seen = set() if own is None else {own}
        shared = [d for d in self._served() if isinstance(d, Registration) and d.is_shared]
        for registration in random.sample(shared, min(len(shared), MAX_REGISTRATIONS)):
            found = functools.partial(self._found_callees, connection, registration.uri)
            self._ask(connection, LIST_CALLEES, registration.id, found)

    extended = joined

    def lost(self) -> None:
        """Do nothing: answers that have not come do not matter."""

    def leave(self, deadline: float) -> None:
        """Do nothing."""

    def _ask(self, connection: Connection, procedure: str, number: object, found: Next) -> None:
        def answered(message: object) -> None:
            # The reader calls this. Others choose how large their details are, so a worker decodes them.
            self._peer.pool.submit(functools.partial(self._answered, message, found))

        with contextlib.suppress(WAMPError):  # the session has ended; the next one looks again
            connection.put(Session.call, procedure, [number], {}, {}, CallbackTicket(answered))

    def _answered(self, message: object, found: Next) -> None:
        if isinstance(message, m.Error) and message.error not in _GONE:
            self._permitted = False
        elif isinstance(message, m.Result):
            with contextlib.suppress(InvalidPayload):
                found(message.args[0] if message.args else None)

    def _found_callees(self, connection: Connection, uri: str, callees: object) -> None:
        if not isinstance(callees, list):  # a router may answer anything
            return
        others = [each for each in callees if type(each) is int]
        random.shuffle(others)
        with self._lock:
            new = [each for each in others if each not in self._seen]
            new = new[: max(0, MAX_SESSIONS + 1 - len(self._seen))]
            self._seen.update(new)
        for session_id in new:
            found = functools.partial(self._found_session, uri)
            self._ask(connection, GET_SESSION, session_id, found)

    def _found_session(self, uri: str, details: object) -> None:
        other = app_of(details.get("authextra")) if isinstance(details, dict) else None
        if other is None or other == self._own:
            return
        with self._lock:
            if other in self._warned or len(self._warned) >= MAX_WARNINGS:
                return
            self._warned.add(other)
        logger.warning(
            "the application %r registers %s too, which this application, %r, serves: the router sends each "
            "call to one of the two. Set another WAMP_URI_PREFIX in one of them, if that is not intended",
            safe_text(other),
            uri,
            self._own,
        )
