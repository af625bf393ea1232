"""``force_reregister``: take a procedure over from the callee that has it, if the router can do that.

Crossbar 26.10 can take a procedure away from one callee. If several callees share it, Crossbar removes every
other one, and never answers. So the first REGISTER is sent without ``force_reregister``, and the answer
decides. If the procedure exists and is not shared, one callee has it, and it is taken over. If it is shared
with another policy, the callees are counted. It is taken over from one callee, but never from several.
"""

from __future__ import annotations

import typing as t

from ..exceptions import WAMPError
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.session import Session
from ..protocol.uris import COUNT_CALLEES, LOOKUP
from .calls import Ticket
from .declarations import Registration

if t.TYPE_CHECKING:
    from .connection import Connection


Step = t.Callable[["Connection", m.Message], "m.Message | None"]
"""Handles an answer. Returns the outcome, or None if another answer will arrive."""

P = t.ParamSpec("P")


class ForceReregister:
    """The ticket of several requests, one after another. The last answer is the outcome.

    :param acknowledgement: The ticket that gets the last answer.
    """

    def __init__(self, registration: Registration, acknowledgement: Ticket) -> None:
        self.acknowledgement = acknowledgement
        self._registration = registration
        self._next: Step = self._answered
        self._refusal: m.Error

    def begin(self, session: Session) -> None:
        """Try to register without taking the procedure away."""
        registration = self._registration
        session.register(registration.uri, self._options(force=False), registration, self)

    def next(self, connection: Connection, answer: m.Message) -> m.Message | None:
        """Continue after an answer. Return the answer if it is the last one. The reader calls this."""
        registration = self._registration
        asked = registration.asked
        is_current = asked is not None and asked[1] is self.acknowledgement
        if not is_current or registration.id is not None:  # withdrawn, or too late
            if isinstance(answer, m.Registered):
                connection.put(Session.unregister, answer.registration_id, None)
            return None
        return self._next(connection, answer)

    def fail(self, error: BaseException) -> None:
        """Give up, because the session has ended."""
        self.acknowledgement.fail(error)

    # The steps.

    def _answered(self, connection: Connection, answer: m.Message) -> m.Message | None:
        if not isinstance(answer, m.Error):
            return answer
        if answer.error == error_uris.PROCEDURE_ALREADY_EXISTS:
            return self._register(connection, force=True)
        if answer.error != error_uris.PROCEDURE_EXISTS_WITH_OTHER_POLICY:
            return answer
        self._refusal, self._next = answer, self._looked_up
        if not connection.session.features.has_registration_meta_api:
            return self._refused("the router does not announce 'registration_meta_api'")
        registration = self._registration
        self._call(connection, LOOKUP, registration.uri, {"match": registration.match})
        return None

    def _looked_up(self, connection: Connection, answer: m.Message) -> m.Message | None:
        if isinstance(answer, m.Error):
            return self._refused(f"{LOOKUP} says {answer.error}")
        found = _single_value(answer)
        if found is None:  # it has ended by now
            return self._register(connection, force=False)
        self._next = self._counted
        self._call(connection, COUNT_CALLEES, found)
        return None

    def _counted(self, connection: Connection, answer: m.Message) -> m.Message | None:
        if isinstance(answer, m.Error):
            if answer.error == error_uris.NO_SUCH_REGISTRATION:
                return self._register(connection, force=False)
            return self._refused(f"{COUNT_CALLEES} says {answer.error}")
        count = _single_value(answer)
        if count != 1:
            number = count if isinstance(count, int) else "an unknown number of"
            return self._refused(f"{number} callees share it")
        return self._register(connection, force=True)

    # Helpers of the steps.

    def _call(self, connection: Connection, procedure: str, *args: object) -> None:
        self._put(connection, Session.call, procedure, list(args), {}, {}, self)

    def _register(self, connection: Connection, *, force: bool) -> m.Message | None:
        """Send REGISTER once more. The acknowledgement gets the answer."""
        uri, options = self._registration.uri, self._options(force=force)
        ticket = self.acknowledgement
        self._put(connection, Session.register, uri, options, self._registration, ticket)
        return None

    def _put(
        self,
        connection: Connection,
        request: t.Callable[t.Concatenate[Session, P], int],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        try:
            connection.put(request, *args, **kwargs)
        except WAMPError as error:
            self.acknowledgement.fail(error)

    def _options(self, *, force: bool) -> m.Details:
        options = dict(self._registration.options)
        if not force:
            del options["force_reregister"]
        return options

    def _refused(self, why: str) -> m.Error:
        """Return the router's first refusal, with the reason why the procedure was not taken over."""
        error = self._refusal
        args = [*error.readable_args, f"it is taken away from one callee only, and {why}"]
        return m.Error(error.request_type, error.request_id, error.details, error.error, args)


def _single_value(answer: m.Message) -> object:
    """Return the first value of a RESULT. None if there is none, because a router may answer anything."""
    args = answer.readable_args if isinstance(answer, m.Result) else ()
    return args[0] if args else None
