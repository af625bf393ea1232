"""The dealer: procedures and their callees.

Source: WAMP Basic Profile, "Remote Procedure Calls"; WAMP Advanced Profile, "Pattern-based
Registrations", "Shared Registration", "Registration Revocation".
"""

from __future__ import annotations

import typing as t

from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.messages import Details
from ..protocol.uris import is_valid_uri
from .authorization import Decision
from .calls import Calls
from .interfaces import Handlers, RouterInterface
from .matching import Index
from .options import MATCHES, POLICIES, InvalidOption, choice, flag, whole_number
from .registrations import Callee, Registration
from .rights import UNDECIDED, authorize
from .session import RouterSession

MetaProcedure = t.Callable[[RouterSession, m.Call], None]

#: Called with a meta event's topic and its positional payload.
Announce = t.Callable[..., None]


def is_reserved(uri: str) -> bool:
    """Return whether a URI belongs to the protocol: "application URIs [...] MUST NOT use wamp as a first
    URI component"."""
    return uri == "wamp" or uri.startswith("wamp.")


class Dealer:
    """The registrations of a realm. All requests come from established sessions.

    :param announce: Publishes a meta event.
    :param new_id: Makes ids in the router scope.
    :param released: Called when a procedure whose last callee has left was not registered again in time.
    """

    def __init__(
        self,
        router: RouterInterface,
        announce: Announce,
        new_id: t.Callable[[], int],
        random_below: t.Callable[[int], int],
        released: t.Callable[[], object],
    ) -> None:
        self._router = router
        self._authorizer = router.authorizer
        self._released = released
        self._announce = announce
        self._new_id = new_id
        self._index: Index[Registration] = Index()
        self.by_id: dict[int, Registration] = {}
        """The registrations that have callees."""
        self.calls = Calls(router, random_below)
        self.meta: dict[str, MetaProcedure] = {}
        """The router's own procedures."""

    @property
    def handlers(self) -> Handlers:
        """The methods that handle the messages of established sessions."""
        return {
            m.Call: (self.on_call, True),
            m.Yield: (self.calls.on_yield, False),
            m.Error: (self.calls.on_error, False),
            m.Cancel: (self.calls.on_cancel, False),
            m.Register: (self.on_register, True),
            m.Unregister: (self.on_unregister, True),
        }

    # Calls.

    def on_call(self, session: RouterSession, message: m.Call) -> None:
        """Handle CALL."""
        if self._authorizer is None:
            self._call(session, message, UNDECIDED)
        else:
            uri, options = message.procedure, message.options
            authorize(self._router.authorizer, session, "call", uri, options, message, self._call)

    def _call(self, session: RouterSession, message: m.Call, decision: Decision) -> None:
        registration = self._index.exact.get(message.procedure)
        if registration is not None:
            self.calls.start(session, message, decision, registration)
        else:
            self._call_other(session, message, decision)

    def _call_other(self, session: RouterSession, message: m.Call, decision: Decision) -> None:
        """Handle a call of a URI that has no registration of exactly that URI."""
        uri = message.procedure
        if is_reserved(uri):
            # A client must not answer for the router with a pattern.
            procedure = self.meta.get(uri)
            if procedure is None:
                session.refuse(message, error_uris.NO_SUCH_PROCEDURE, f"{uri} is not registered")
            else:
                procedure(session, message)
            return
        if not is_valid_uri(uri):
            session.refuse(message, error_uris.INVALID_URI, f"{uri!r:.200} is not a valid URI")
            return
        registration = self._index.best(uri)
        if registration is None:
            session.refuse(message, error_uris.NO_SUCH_PROCEDURE, f"{uri} is not registered")
        else:
            self.calls.start(session, message, decision, registration)

    # Registrations.

    def on_register(self, session: RouterSession, message: m.Register) -> None:
        """Handle REGISTER."""
        uri, options = message.procedure, message.options
        authorize(
            self._router.authorizer, session, "register", uri, options, message, self._register
        )

    def _register(self, session: RouterSession, message: m.Register, decision: Decision) -> None:
        options, uri = message.options, message.procedure
        try:
            match = choice(options, "match", MATCHES)
            invoke = choice(options, "invoke", POLICIES)
            concurrency = whole_number(options, "concurrency", 0) or None
            forwards_timeouts = flag(options, "forward_timeout")
            forces = flag(options, "force_reregister")
        except InvalidOption as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
            return
        if not is_valid_uri(uri, match) or is_reserved(uri):
            text = f"{uri!r:.200} is not a valid URI, or is reserved for the router"
            session.refuse(message, error_uris.INVALID_URI, text)
            return
        if len(session.registrations) >= self._router.settings.max_registrations:
            session.refuse(message, error_uris.UNAVAILABLE, "too many registrations")
            return
        registration = self._index.get(uri, match)
        if registration is not None and forces:
            for callee in list(registration.callees):
                self._revoke(callee, error_uris.UNREGISTERED, lingers=False)
            registration = self._index.get(uri, match)
        if registration is not None and registration.callees:
            reason = _why_not(registration, session, invoke)
            if reason is not None:
                session.refuse(message, *reason)
                return
        registration, is_new = self._prepare(registration, uri, match, invoke)
        callee = Callee(session, registration, concurrency, forwards_timeouts)
        registration.callees.append(callee)
        session.registrations[registration.id] = callee
        session.send(session.encode((65, message.request_id, registration.id)))
        if is_new:
            self._announce("wamp.registration.on_create", session.id, registration.details)
        self._announce("wamp.registration.on_register", session.id, registration.id)
        self.calls.resume(registration)

    def _prepare(
        self, registration: Registration | None, uri: str, match: str, invoke: str
    ) -> tuple[Registration, bool]:
        """Return the registration that gets the callee, and whether it is new."""
        if registration is None:
            created = self._router.timestamp()
            registration = Registration(self._new_id(), uri, match, invoke, created)
            self._index.add(uri, match, registration)
        elif registration.vacancy is not None:
            self._router.timers.cancel(registration.vacancy)
            registration.vacancy = None
            registration.invoke, registration.turn = invoke, 0
        else:
            return registration, False
        self.by_id[registration.id] = registration
        return registration, True

    def on_unregister(self, session: RouterSession, message: m.Unregister) -> None:
        """Handle UNREGISTER. The callee still answers its pending calls."""
        callee: Callee | None = session.registrations.get(message.registration_id)
        if callee is None:
            session.refuse(message, error_uris.NO_SUCH_REGISTRATION)
            return
        session.send(session.encode((67, message.request_id)))
        self._remove(callee, lingers=True)

    def revoke(self, callee: Callee, reason: str | None) -> None:
        """End the registration of a callee."""
        self._revoke(callee, reason, lingers=True)

    def _revoke(self, callee: Callee, reason: str | None, *, lingers: bool) -> None:
        session = callee.session
        # "If the Callee does not support registration_revocation [...] the Dealer MUST NOT send an
        # UNREGISTERED message"
        if session.features.registrations_can_be_revoked:
            details: Details = {"registration": callee.registration.id}
            if reason is not None:
                details["reason"] = reason
            session.send(session.encode((67, 0, details)))
        self._remove(callee, lingers=lingers)

    def _remove(self, callee: Callee, *, lingers: bool) -> None:
        registration, session = callee.registration, callee.session
        registration.remove(callee)
        del session.registrations[registration.id]
        self._announce("wamp.registration.on_unregister", session.id, registration.id)
        if registration.callees:
            return
        del self.by_id[registration.id]
        linger = self._router.settings.linger
        if lingers and linger > 0 and session.is_of_app:
            deadline = self._router.clock() + linger
            registration.vacancy = self._router.timers.add(
                deadline, lambda: self._give_up(registration)
            )
        else:
            self._index.remove(registration.uri, registration.match)
        self._announce("wamp.registration.on_delete", session.id, registration.id)

    def _give_up(self, registration: Registration) -> None:
        """Answer the calls of a procedure that was not registered again in time."""
        self._index.remove(registration.uri, registration.match)
        registration.vacancy = None
        self.calls.give_up(registration)
        self._released()

    def forget(self, session: RouterSession) -> None:
        """Remove the calls and registrations of a session that has ended."""
        self.calls.forget(session)
        for callee in list(session.registrations.values()):
            self._remove(callee, lingers=True)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not self._index.exact and not self._index.has_patterns

    # For the meta API.

    def lookup(self, uri: str, match: str) -> int | None:
        """Return the id of the registration with a URI and ``match``."""
        registration = self._index.get(uri, match)
        return registration.id if registration is not None and registration.callees else None

    def match(self, uri: str) -> int | None:
        """Return the id of the registration that a call would go to."""
        registration = self._index.best(uri)
        return registration.id if registration is not None and registration.callees else None


def _why_not(
    registration: Registration, session: RouterSession, invoke: str
) -> tuple[str, str] | None:
    """Return why a session cannot share a registration: the error URI and a text."""
    # "With 'single', the Dealer MUST fail all subsequent attempts to register a procedure for the
    # URI while the registration remains in existence."
    if registration.invoke == "single":
        return error_uris.PROCEDURE_ALREADY_EXISTS, f"{registration.uri} is registered already"
    # "With the other values, the Dealer MUST fail all subsequent attempts to register a procedure
    # for the URI where the value for this option does not match that of the initial registration."
    if registration.invoke != invoke:
        text = f"{registration.uri} is registered with invoke={registration.invoke}"
        return error_uris.PROCEDURE_EXISTS_WITH_OTHER_POLICY, text
    if registration.callee_of(session) is not None:
        text = f"{registration.uri} is registered by this session already"
        return error_uris.PROCEDURE_ALREADY_EXISTS, text
    return None
