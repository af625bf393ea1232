"""Pending calls: from CALL to the one answer that every call gets.

Source: WAMP Basic Profile, "Remote Procedure Calls"; WAMP Advanced Profile, "Call Canceling", "Call
Timeouts", "Progressive Call Results".
"""

from __future__ import annotations

import typing as t

import msgspec
from msgspec import Raw

from ..exceptions import ProtocolError
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.messages import Details
from ..protocol.uris import is_valid_uri
from .authorization import Decision
from .codec import PayloadError, RawPayload, convert
from .interfaces import RouterInterface
from .options import CANCEL_MODES, InvalidOption, choice, flag, forwarded, passed_on, whole_number
from .registrations import Callee, Registration
from .session import RouterSession
from .timers import Timer


class PendingCall(msgspec.Struct, eq=False):
    """A call that has not been answered yet. It is a struct, because creating one is three times as fast."""

    caller: RouterSession
    call_id: int
    registration: Registration
    callee: Callee | None = None
    """The session that serves it. None if it waits until a session registers the procedure."""
    invocation_id: int = 0
    receives_progress: bool = False
    timeout: float = 0.0
    """The seconds until the first result, and between results. 0 means no limit."""
    timer: Timer | None = None
    held: tuple[m.Call, Decision, RawPayload] | None = None
    """The arguments with which to start it, while it waits for a callee."""


class Calls:
    """The calls of a realm."""

    def __init__(self, router: RouterInterface, random_below: t.Callable[[int], int]) -> None:
        self._router = router
        self._random_below = random_below
        self._timers = router.timers
        self._disclose = router.settings.disclose
        self._max_pending = router.settings.max_pending_calls
        self.held = 0
        """How many calls wait for a callee."""

    def start(
        self,
        session: RouterSession,
        message: m.Call,
        decision: Decision,
        registration: Registration,
    ) -> None:
        """Send INVOCATION for a CALL, or answer it with ERROR."""
        payload = session.codec.payload(message)
        if len(session.calls) >= self._max_pending:
            session.refuse(message, error_uris.UNAVAILABLE, "too many pending calls")
            return
        pending = PendingCall(session, message.request_id, registration)
        options = message.options
        try:
            if options:
                self._read_options(pending, options)
            if registration.vacancy is not None:
                self._hold(pending, message, decision, payload)
            else:
                self._invoke(pending, message, decision, payload)
        except InvalidOption as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))

    def _read_options(self, pending: PendingCall, options: Details) -> None:
        pending.receives_progress = flag(options, "receive_progress")
        # "CALL.Options.timeout|integer in milliseconds. Automatic call timeouts are deactivated if
        # there is no timeout option, or if its value is 0."
        pending.timeout = (whole_number(options, "timeout", 0) or 0) / 1000
        if flag(options, "progress"):
            raise InvalidOption("progress: progressive call invocations are not supported")

    def _invoke(
        self, pending: PendingCall, message: m.Call, decision: Decision, payload: RawPayload
    ) -> None:
        registration, caller = pending.registration, pending.caller
        callee = registration.choose(self._random_below)
        if callee is None:
            caller.refuse(message, error_uris.UNAVAILABLE, "all callees are busy")
            return
        target = callee.session
        codec = target.codec
        if message.options or registration.match != "exact":
            details: Details | Raw = self._details(pending, message, decision, callee)
        elif self._disclose if decision.disclose is None else decision.disclose:
            details = caller.disclosed(codec, "caller")
        else:
            details = {}
        if codec is not caller.codec:
            try:
                payload = convert(payload, caller.codec, codec)
            except PayloadError as error:
                caller.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
                return
        invocation_id = target.last_invocation_id + 1
        data = target.encode((68, invocation_id, registration.id, details, *payload))
        if len(data) > target.max_send_size:
            # "A message could not be delivered due to transport payload size limits."
            caller.refuse(
                message,
                error_uris.PAYLOAD_SIZE_EXCEEDED,
                "the message is larger than the callee can receive",
            )
            return
        pending.callee = callee
        pending.invocation_id = target.last_invocation_id = invocation_id
        callee.running += 1
        target.invocations[invocation_id] = caller.calls[pending.call_id] = pending
        if pending.timeout and not (callee.forwards_timeouts and target.features.takes_timeouts):
            self._start_timer(pending)
        target.send(data)

    def _details(
        self, pending: PendingCall, message: m.Call, decision: Decision, callee: Callee
    ) -> Details:
        options, caller, target = message.options, pending.caller, callee.session
        disclose = decision.disclose
        if disclose is None:
            disclose = self._disclose or flag(options, "disclose_me")
        details = caller.identification("caller") if disclose else {}
        if pending.registration.match != "exact":
            # "a Dealer MUST supply the original CALL.Procedure as provided by the Caller in
            # INVOCATION.Details.procedure"
            details["procedure"] = message.procedure
        if pending.receives_progress:
            # Not done: "If a Callee supports Progressive Call Results, but not Call Canceling, then
            # the Dealer disregards the Callee's Progressive Call Results feature." autobahn-js 22.11
            # announces no canceling, wampy.js 8.0 neither of the two, and both send progressive
            # results, through Crossbar.io too. A callee that does not know the detail ignores it.
            details["receive_progress"] = True
        if pending.timeout and target.features.takes_timeouts:
            # "If the Callee supports Call Timeouts, the Dealer MAY propagate the
            # CALL.Options.timeout|integer option"
            details["timeout"] = options["timeout"]
        passed_on(options, details)
        # Identity cannot be forged: entries about other sessions are dropped, unless a trusted link
        # sends them. Then the session of that link is the last entry.
        if (
            "forward_for" in options
            and caller.identity.authrole in self._router.settings.trusted_links
        ):
            details["forward_for"] = forwarded(options, link_of(caller))
        return details

    # Answers.

    def on_yield(self, session: RouterSession, message: m.Yield) -> None:
        """Handle YIELD, which becomes RESULT."""
        pending: PendingCall | None = session.invocations.get(message.request_id)
        payload = self._payload(session, message)
        if pending is None or payload is None:
            _check_was_invoked(session, message.request_id)
            return
        if message.options and message.options.get("progress") is True:
            self._send_progress(pending, payload)
            return
        self._finish(pending)
        self._send_answer(pending, payload, (50, pending.call_id, {}))

    def _payload(self, session: RouterSession, message: m.Yield | m.Error) -> RawPayload | None:
        """Return the payload of an answer. If it cannot be passed on, end the call and return None."""
        try:
            return session.codec.payload(message)
        except PayloadError as error:
            pending: PendingCall | None = session.invocations.get(message.request_id)
            if pending is not None:
                if isinstance(message, m.Yield) and message.options.get("progress") is True:
                    self._interrupt(pending, "killnowait")
                self._finish(pending)
                self._fail(pending, error_uris.INVALID_ARGUMENT, str(error))
            return None

    def _send_progress(self, pending: PendingCall, payload: RawPayload) -> None:
        if not pending.receives_progress:
            return  # the caller did not ask for it
        if pending.timer is not None:
            # "the time between received YIELD messages thereafter". The timer checks this when it is due.
            pending.timer.postponed_to = self._router.clock() + pending.timeout
        if not self._send_answer(pending, payload, (50, pending.call_id, {"progress": True})):
            self._interrupt(pending, "killnowait")
            self._finish(pending)

    def on_error(self, session: RouterSession, message: m.Error) -> None:
        """Handle ERROR of an INVOCATION, which becomes ERROR of the CALL."""
        if message.request_type != 68:
            # Basic Profile, "Protocol Errors": "Receiving ERROR message with invalid REQUEST.Type."
            raise ProtocolError(f"ERROR for a request of type {message.request_type}")
        payload = self._payload(session, message)
        pending: PendingCall | None = session.invocations.get(message.request_id)
        if pending is None or payload is None:
            _check_was_invoked(session, message.request_id)
            return
        self._finish(pending)
        uri = message.error if is_valid_uri(message.error) else error_uris.INVALID_URI
        self._send_answer(pending, payload, (8, 48, pending.call_id, {}, uri))

    def _send_answer(
        self, pending: PendingCall, payload: RawPayload, head: tuple[object, ...]
    ) -> bool:
        """Send RESULT or ERROR with a payload. If it cannot be sent, send another ERROR and return False."""
        caller, callee = pending.caller, pending.callee
        assert callee is not None
        if caller.codec is not callee.session.codec:
            try:
                payload = convert(payload, callee.session.codec, caller.codec)
            except PayloadError as error:
                self._fail(pending, error_uris.INVALID_ARGUMENT, str(error))
                return False
        data = caller.encode((*head, *payload))
        if len(data) > caller.max_send_size:
            self._fail(
                pending,
                error_uris.PAYLOAD_SIZE_EXCEEDED,
                "the message is larger than the caller can receive",
            )
            return False
        caller.send(data)
        return True

    def _fail(self, pending: PendingCall, uri: str, *args: str) -> None:
        caller = pending.caller
        caller.send(caller.encode((8, 48, pending.call_id, {}, uri, *([args] if args else ()))))

    def _finish(self, pending: PendingCall) -> None:
        """Forget a call that was answered, or whose caller has left."""
        del pending.caller.calls[pending.call_id]
        callee = pending.callee
        if callee is None:
            pending.registration.held.remove(pending)
            self.held -= 1
        else:
            del callee.session.invocations[pending.invocation_id]
            callee.running -= 1
        if pending.timer is not None:
            self._timers.cancel(pending.timer)
            pending.timer = None

    # Ending a call before its answer.

    def on_cancel(self, session: RouterSession, message: m.Cancel) -> None:
        """Handle CANCEL according to its mode."""
        pending: PendingCall | None = session.calls.get(message.request_id)
        if pending is None:
            return  # the answer and CANCEL have crossed
        try:
            mode = choice(message.options, "mode", ("killnowait", *CANCEL_MODES))
        except InvalidOption as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
            return
        # "kill: INTERRUPT is sent to the callee, but ERROR is not returned to the caller until
        # after the callee has responded". "If the callee does not support call canceling, then
        # behavior is skip."
        if mode == "kill" and self._interrupt(pending, mode):
            return
        if mode == "killnowait":
            self._interrupt(pending, mode)
        self._finish(pending)
        self._fail(pending, error_uris.CANCELED)

    def _interrupt(self, pending: PendingCall, mode: str) -> bool:
        """Send INTERRUPT if the callee supports it. Return whether it was sent."""
        callee = pending.callee
        if callee is None or not callee.session.features.can_be_interrupted:
            return False
        session = callee.session
        session.send(session.encode((69, pending.invocation_id, {"mode": mode})))
        return True

    def _start_timer(self, pending: PendingCall) -> None:
        if pending.timer is not None:  # it has run since the call began to wait for a callee
            return
        deadline = self._router.clock() + pending.timeout
        pending.timer = self._timers.add(deadline, lambda: self._time_out(pending))

    def _time_out(self, pending: PendingCall) -> None:
        pending.timer = None
        # "The cancellation mode is implicitly killnowait if the Callee supports call cancellation,
        # otherwise [...] skip. The error message that is returned to the Caller MUST use
        # wamp.error.timeout as the reason URI."
        self._interrupt(pending, "killnowait")
        self._finish(pending)
        self._fail(pending, error_uris.TIMEOUT, f"no result within {pending.timeout:g} s")

    def forget(self, session: RouterSession) -> None:
        """End the calls of a session that has ended, and the calls that it should have answered."""
        for pending in list(session.calls.values()):
            # Basic Profile, "Caller Leaving During an RPC Invocation": "That INTERRUPT message MUST
            # have Options.mode set to killnowait".
            if pending.callee is None or pending.callee.session is not session:
                self._interrupt(pending, "killnowait")
            self._finish(pending)
        for pending in list(session.invocations.values()):
            # "SHALL return an ERROR message back to the Caller with a wamp.error.canceled URI"
            self._finish(pending)
            self._fail(pending, error_uris.CANCELED, "the callee has left")

    # Waiting for a callee.

    def _hold(
        self, pending: PendingCall, message: m.Call, decision: Decision, payload: RawPayload
    ) -> None:
        if self.held >= self._router.settings.max_lingering_calls:
            pending.caller.refuse(
                message, error_uris.UNAVAILABLE, "too many calls are waiting for a callee"
            )
            return
        pending.held = message, decision, payload
        pending.registration.held.append(pending)
        pending.caller.calls[pending.call_id] = pending
        self.held += 1
        if pending.timeout:
            self._start_timer(pending)

    def resume(self, registration: Registration) -> None:
        """Start the calls that have waited, because there is a callee now."""
        for pending in list(registration.held):
            assert pending.held is not None
            message, decision, payload = pending.held
            timer, pending.timer = pending.timer, None  # the time that it has waited counts
            self._finish(pending)
            pending.held = None
            pending.timer = timer
            try:
                self._invoke(pending, message, decision, payload)
            except InvalidOption as error:
                pending.caller.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
            if pending.callee is None and timer is not None:
                self._timers.cancel(timer)

    def give_up(self, registration: Registration) -> None:
        """Answer the calls that have waited, because there will be no callee."""
        for pending in list(registration.held):
            assert pending.held is not None
            uri = pending.held[0].procedure
            self._finish(pending)
            text = f"no procedure {uri}: its last process has left, and none has followed in time"
            self._fail(pending, error_uris.NO_SUCH_PROCEDURE, text)


def link_of(session: RouterSession) -> Details:
    """Return a session's entry in ``forward_for``."""
    identity = session.identity
    return {"session": session.id, "authid": identity.authid, "authrole": identity.authrole}


def _check_was_invoked(session: RouterSession, request_id: int) -> None:
    """Check that an answer is only late.

    Basic Profile, "Protocol Errors": "Receiving YIELD message with invalid INVOCATION.Request". An
    id that was invoked is not invalid: the answer may cross with INTERRUPT, and after
    ``killnowait`` and ``skip`` it is discarded.
    """
    if not 0 < request_id <= session.last_invocation_id:
        raise ProtocolError(f"an answer to invocation {request_id}, which was never sent")
