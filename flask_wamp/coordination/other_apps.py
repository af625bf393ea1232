"""A warning if two different applications register the same procedure.

The processes of one application register the same procedures, and the router distributes the calls among
them. If another application registers one of these URIs too, it gets some of the calls, and there is no
error. So each process checks its registrations after it has joined. HELLO contains the name of the
application (:func:`.identity.app_extra`), and some routers return it from ``wamp.session.get``.

The number of calls is limited, and no thread waits for the answers. If the router does not permit a call, the
process makes no more.

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

#: The most registrations and sessions that a process checks after a join, and the most applications that it
#: warns about. The registrations and sessions are chosen at random, so several processes check more of them.
MAX_REGISTRATIONS, MAX_SESSIONS, MAX_WARNINGS = 20, 20, 20

#: Errors after which the process makes further calls.
_GONE = (error_uris.NO_SUCH_REGISTRATION, error_uris.NO_SUCH_SESSION)

Next = t.Callable[[object], None]


class OtherApps:
    """Looks for other applications that register the same procedures as this one.

    :param served: Returns the declarations of the process. Only shared procedures matter.
    """

    has_to_leave = False

    def __init__(self, served: Served, peer: PeerInterface) -> None:
        self._served = served
        self._peer = peer
        self._own = peer.settings.app
        self._permitted = True
        self._lock = threading.Lock()
        self._seen: set[int] = set()
        """The ids of the sessions that were checked since the last join."""
        self._warned: set[str] = set()

    def joined(self, connection: Connection) -> None:
        """Ask the router for the callees of some registrations. Does not wait."""
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
        """Do nothing. Pending calls need no cleanup."""

    def leave(self, deadline: float) -> None:
        """Do nothing."""

    def _ask(self, connection: Connection, procedure: str, number: object, found: Next) -> None:
        def answered(message: object) -> None:
            # The reader calls this. The details of other sessions may be large, so a worker decodes them.
            self._peer.pool.submit(functools.partial(self._answered, message, found))

        with contextlib.suppress(WAMPError):  # the session has ended, and the next one checks again
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
            "%s is registered by this application (%r) and also by another one (%r), so each of them gets "
            "some of the calls. If that is not intended, set a different WAMP_URI_PREFIX in one of them",
            uri,
            self._own,
            safe_text(other),
        )
