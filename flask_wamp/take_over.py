"""``force_reregister``: taking a procedure away from who has it, where the router can do that.

Crossbar 26.10 takes a procedure away from one callee. Where several share it, it throws out every other
one, and never answers. So the router is asked first how many there are; from several, nothing is taken. Where
it may not be asked, what it answers to a plain REGISTER tells: a procedure that exists and is not shared has
one callee.
"""

from __future__ import annotations

import logging
import typing as t

from . import messages as m
from .exceptions import NotJoined
from .handlers import Registration
from .session import Session

if t.TYPE_CHECKING:
    from .connection import Connection
    from .serving import Acknowledgement

logger = logging.getLogger("flask_wamp")

LOOKUP = "wamp.registration.lookup"
COUNT_CALLEES = "wamp.registration.count_callees"
NO_SUCH_REGISTRATION = "wamp.error.no_such_registration"
ALREADY_EXISTS = "wamp.error.procedure_already_exists"

Next = t.Callable[["Connection", t.Any], t.Any]


class TakeOver:
    """The ticket of one request after the other, until the one that counts.

    :param acknowledgement: The ticket of that one.
    """

    def __init__(self, registration: Registration, acknowledgement: Acknowledgement) -> None:
        self.acknowledgement = acknowledgement
        self._registration = registration
        self._next: Next = self._looked_up

    def begin(self, session: Session) -> None:
        """Ask who has it."""
        options = {"match": self._registration.match}
        session.call(LOOKUP, [self._registration.uri, options], {}, {}, self)

    def next(self, connection: Connection, answer: t.Any) -> t.Any:
        """Go on after an answer; the reader calls it. Return what the acknowledgement is told, or None."""
        registration = self._registration
        asked = registration.asked
        is_current = asked is not None and asked[1] is self.acknowledgement
        if not is_current or registration.id is not None:  # withdrawn, or too late
            if isinstance(answer, m.Registered):
                connection.put(Session.unregister, answer.registration_id, None)
            return None
        return self._next(connection, answer)

    def fail(self, error: BaseException) -> None:
        """The session ended."""
        self.acknowledgement.fail(error)

    # The steps.

    def _looked_up(self, connection: Connection, answer: t.Any) -> t.Any:
        if isinstance(answer, m.Error):
            return self._register_unseen(connection, answer)
        if answer.args[:1] in ([], [None]):
            return self._register(connection, force=False)
        self._next = self._counted
        connection.put(Session.call, COUNT_CALLEES, [answer.args[0]], {}, {}, self)
        return None

    def _counted(self, connection: Connection, answer: t.Any) -> t.Any:
        if isinstance(answer, m.Error):
            if answer.error == NO_SUCH_REGISTRATION:  # gone since
                return self._register(connection, force=False)
            return self._register_unseen(connection, answer)
        count = answer.args[0] if answer.args else 0
        if count > 1:
            return _refusal(f"{count} callees share it; it can be taken away from one only")
        return self._register(connection, force=True)

    def _register_unseen(self, connection: Connection, answer: m.Error) -> t.Any:
        registration = self._registration
        if registration.options.get("invoke", "single") != "single":
            logger.warning(
                "%s is registered beside who has it already, if anybody: %s may not be called: %s",
                registration.uri,
                LOOKUP,
                answer.error,
            )
        self._next = self._answered_unforced
        return self._register(connection, force=False, ticket=self)

    def _answered_unforced(self, connection: Connection, answer: t.Any) -> t.Any:
        if isinstance(answer, m.Error) and answer.error == ALREADY_EXISTS:
            return self._register(connection, force=True)
        return answer

    def _register(self, connection: Connection, *, force: bool, ticket: t.Any = None) -> t.Any:
        registration = self._registration
        options = dict(registration.options)
        if not force:
            del options["force_reregister"]
        ticket = ticket or self.acknowledgement
        try:
            connection.put(Session.register, registration.uri, options, registration, ticket)
        except NotJoined as error:
            self.acknowledgement.fail(error)


def _refusal(text: str) -> m.Error:
    return m.Error(m.code(m.Register), 0, {}, ALREADY_EXISTS, [text])
