"""The procedures with which the app's own processes control their embedded router: rights, tickets, logouts.

They are in the ``wamp.`` namespace. Only processes that have connected over the unix socket may call them.
"""

from __future__ import annotations

import os
import typing as t
import weakref

from .._text import get_logger
from ..protocol import error_uris, rights
from ..protocol.identity import BrowserIdentity, Identity
from ..protocol.logins import EndedLogins, Tickets
from ..protocol.messages import Call
from . import Challenge, Decision, JoinRequest, Refusal, Router, RouterSession
from .asking import Asker, Defer
from .authentication import anonymous
from .authorization import ALLOWED, REFUSED
from .codec import Payload, PayloadError
from .later import Later
from .procedures import ADD_TICKET, CONFIGURE, END_LOGIN, SIGN_OUT, STATUS

logger = get_logger("flask_wamp.router")

#: The identity of the app's own processes. The unix socket proves it, because only this user can open it.
BACKEND: t.Final = Identity("backend", "backend", authmethod="unix", authprovider="embedded")

#: What the authorizer has said about action, URI and match, where that does not change.
Answers = dict[tuple[str, str, str], object]

#: The number of answers that are remembered for a session.
MOST_ANSWERS: t.Final = 1000


def is_backend(identity: Identity) -> bool:
    """Return whether this is one of the app's own processes. No client can claim to be one."""
    return identity is BACKEND or identity.authprovider == "memory"


class AppAPI:
    """Decides who may join an app's embedded router and what they may do, by the rules of the app.

    :param clock: Returns the seconds of a monotonic clock.
    :param now: Returns the seconds since 1970.
    """

    def __init__(self, clock: t.Callable[[], float], now: t.Callable[[], float]) -> None:
        self._ended = EndedLogins(now)
        self._policy = rights.Policy()
        self._explains = False
        self._tickets = Tickets(clock)
        self._router: Router
        self._asker: Asker
        self._authorizer = ""
        self._answers: weakref.WeakKeyDictionary[Identity, Answers] = weakref.WeakKeyDictionary()

    def serve(self, router: Router, realm: str, defer: Defer) -> None:
        """Offer the procedures in a realm.

        :param defer: See :class:`.Asker`.
        """
        self._router = router
        self._asker = Asker(router, realm, BACKEND, defer)
        found = router.find_realm(realm)
        assert found is not None
        procedures: dict[str, t.Callable[..., t.Any]] = {
            CONFIGURE: self.configure,
            ADD_TICKET: self.add_ticket,
            SIGN_OUT: self.sign_out,
            END_LOGIN: self.end_login,
            STATUS: self.status,
        }
        for uri, procedure in procedures.items():
            found.dealer.meta[uri] = _for_backends_only(procedure)

    # Deciding.

    def authenticate(self, request: JoinRequest) -> Identity | Challenge | Refusal:
        """Let in users whom the app has identified, and clients with a ticket. Others are anonymous."""
        if isinstance(request.facts.app_identity, BrowserIdentity):
            return self._admit(request.facts.app_identity)
        if "ticket" in request.authmethods:
            return Challenge("ticket", {}, lambda ticket, extra: self.redeem(ticket))
        if "anonymous" in request.authmethods:
            return anonymous(request)
        return Refusal(
            error_uris.NO_MATCHING_AUTH_METHOD, "offer ticket, or anonymous if you have no ticket"
        )

    def authorize(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Decision | Later[bool | Decision]:
        """Let the app's own processes do everything, and others what the app allows."""
        if is_backend(identity):
            return ALLOWED
        match = rights.match_of(action, options)
        if match is None:
            return REFUSED
        if not self._authorizer and self._policy.find(
            identity.authid, identity.authrole, action, uri, match
        ):
            return ALLOWED  # in a hurry: this is asked about each message
        if not self._authorizer or self._policy.is_closed(identity, action, uri, match):
            return self._decide(identity, action, uri, match)
        answers, request = self._answers, (action, uri, match)
        remembered = answers.get(identity)
        if remembered is not None and request in remembered:
            return self._decide(identity, action, uri, match, remembered[request])
        later: Later[bool | Decision] = Later()

        def answered(answer: object) -> None:
            if isinstance(answer, dict):
                answer = answer.get("allow")
                _remember(answers.setdefault(identity, {}), request, answer)
            later.resolve(self._decide(identity, action, uri, match, answer))

        about = [identity.authid, identity.authrole, dict(identity.authextra)]
        self._asker.ask(self._authorizer, about, action, uri, dict(options)).then(answered)
        return later

    def _decide(
        self, identity: Identity, action: str, uri: str, match: str, answer: object = None
    ) -> Decision:
        """Decide by the answer of the app's authorizer, or by the table if that is None."""
        if answer is not None and not isinstance(answer, bool):
            logger.error("the app's authorizer did not decide about %s %s: %s", action, uri, answer)
            return REFUSED
        if self._policy.allows(identity, action, uri, match, answer):
            return ALLOWED
        if answer is False or not self._explains:
            return REFUSED
        # The missing line is named while the app is debugged; otherwise outsiders learn nothing.
        return Decision(False, message=rights.missing_line(identity.authrole, action, uri, match))

    def redeem(self, ticket: str) -> Identity | Refusal:
        """Return the identity that a ticket was made for. The ticket is valid once."""
        identity = self._tickets.take(ticket)
        if identity is None:
            return Refusal(
                error_uris.AUTHENTICATION_FAILED, "the ticket is used, expired or unknown"
            )
        return self._admit(identity)

    def _admit(self, identity: BrowserIdentity) -> Identity | Refusal:
        """Return the identity, unless its login has ended since the app identified it."""
        if identity.ended or self._ended.has_ended(identity):
            return Refusal(error_uris.AUTHENTICATION_DENIED, "you have signed out")
        return identity

    # What the app's processes call.

    def configure(self, policy: t.Any, explains: t.Any = False, authorizer: t.Any = "") -> None:
        """Replace the rights by those of a process of the app.

        :param policy: See :func:`~flask_wamp.protocol.rights.as_json`.
        :param explains: Whether refusals name the line that is missing.
        :param authorizer: The procedure that is the app's authorizer. It is empty if there is none.
        """
        self._authorizer = str(authorizer or "")
        self._answers = weakref.WeakKeyDictionary()  # answers under way go into the old one
        self._policy = rights.from_json(policy)
        self._explains = explains is True

    def add_ticket(self, identity: t.Any, max_age: t.Any) -> str:
        """Return a ticket that lets a client join once with an identity, within so many seconds."""
        if not isinstance(max_age, int | float) or not 0 < max_age <= 3600:
            raise ValueError(f"a ticket cannot be valid for {max_age!r} seconds")
        found = BrowserIdentity(**{**identity, "authmethod": "ticket", "authprovider": "dynamic"})
        return self._tickets.add(found, max_age)

    def sign_out(self, authid: t.Any) -> int:
        """End the sessions, tickets and logins of a user. Return how many sessions there were."""
        if not isinstance(authid, str) or not authid:
            raise ValueError(f"an authid is text, not {authid!r:.100}")
        self._ended.end_user(authid)
        return self._end(lambda identity: identity.authid == authid)

    def end_login(self, browser: t.Any, authid: t.Any = "") -> int:
        """End the sessions and tickets of a browser session. Return how many sessions there were.

        :param authid: The user whose sessions end too if their browser session is unknown.
        """
        if not isinstance(browser, str) or not browser:
            raise ValueError("the id of a browser session is text")
        self._ended.end_browser(browser)

        def is_of_login(identity: Identity) -> bool:
            if not isinstance(identity, BrowserIdentity):
                return False
            return identity.browser == browser or (
                not identity.browser and identity.authid == authid
            )

        return self._end(is_of_login)

    def _end(self, matches: t.Callable[[Identity], bool]) -> int:
        self._tickets.drop(matches)
        count = 0
        for session in list(self._router.sessions):
            identity = session.identity
            if matches(identity) and not is_backend(identity) and session.id:
                session.disconnect(error_uris.CLOSE_LOGOUT, "you have signed out")
                count += 1
        return count

    def status(self) -> dict[str, t.Any]:
        """Return numbers for ``flask wamp status``."""
        return {
            "pid": os.getpid(),
            "sessions": len(self._router.sessions),
            "tickets": len(self._tickets),
            "rights": len(self._policy.rights),
            "counters": dict(self._router.counters),
        }


def _remember(answers: Answers, request: tuple[str, str, str], answer: object) -> None:
    """Remember what the authorizer says about a request of a session, within bounds."""
    if len(request[1]) <= rights.LONGEST_REMEMBERED:
        if len(answers) >= MOST_ANSWERS:
            answers.clear()
        answers[request] = answer


def _for_backends_only(
    procedure: t.Callable[..., t.Any],
) -> t.Callable[[RouterSession, Call], None]:
    def serve(session: RouterSession, message: Call) -> None:
        if not is_backend(session.identity):
            session.refuse(message, error_uris.NOT_AUTHORIZED, "not authorized")
            return
        try:
            args, _ = Payload(session.codec, session.codec.payload(message)).values()
            result = procedure(*args)
        except (PayloadError, TypeError, ValueError) as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
        else:
            session.send(session.encode((50, message.request_id, {}, session.codec.dump([result]))))

    return serve
