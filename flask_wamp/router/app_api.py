"""The procedures with which the apps' own processes control their embedded router: rights, tickets, logouts.

They are in the ``wamp.`` namespace. Only processes that have connected over the unix socket may call them.

Several apps may share a router. Each app has its own rules for the clients that join at its endpoint or with
its tickets: its table of rights, its authorizer and its logouts. The same authid or role may mean different
things in two apps. The name of an app is the prefix of the URIs that it uses itself.
"""

from __future__ import annotations

import dataclasses
import os
import typing as t
import weakref

from .._text import get_logger
from ..protocol import error_uris, rights
from ..protocol.identity import BrowserIdentity, Identity
from ..protocol.logins import MAX_TICKET_AGE, NO_TICKET, SIGNED_OUT, EndedLogins, Tickets
from ..protocol.messages import Call
from . import Challenge, Decision, JoinRequest, Refusal, Router, RouterSession
from .asking import Asker, Defer
from .authentication import Verdict, anonymous
from .authorization import ALLOWED, REFUSED
from .codec import Payload, PayloadError
from .later import Later
from .principals import Principals, of_app, prove
from .procedures import ADD_TICKET, CONFIGURE, END_LOGIN, SIGN_OUT, STATUS

logger = get_logger("flask_wamp.router")

#: Seconds for which requests wait until a process of the app has sent the app's rules.
PATIENCE: t.Final = 10.0

#: The identity of the apps' own processes. The unix socket proves it, because only this user can open it.
BACKEND: t.Final = Identity("backend", "backend", authmethod="unix", authprovider="embedded")

#: The cached answers of an authorizer, by action, URI and match policy.
Answers = dict[tuple[str, str, str], object]

#: The number of answers that are cached for a session.
MOST_ANSWERS: t.Final = 1000


def is_backend(identity: Identity) -> bool:
    """Return whether an identity is that of the app's own processes. No other client can get it."""
    return identity is BACKEND or identity.authprovider == "memory"


class PortError(ValueError):
    """A port of an app cannot be opened."""


class Listen(t.Protocol):
    """Opens a port for the clients of an app, if it is not already open."""

    def __call__(self, app: str, url: str, origins: t.Sequence[str | None] | None) -> None:
        """Open the port.

        :param origins: The origins whose pages may connect, see :class:`.WebSocketConnection`.
        :raises PortError: The port cannot be opened, or is open for another app.
        """


class Rules(t.NamedTuple):
    """The rules of an app for its clients."""

    policy: rights.Policy
    explains: bool
    """Whether a refusal names the line that would allow the request."""
    authorizer: str
    """The URI of the app's authorizer procedure. Empty if there is none."""
    answers: weakref.WeakKeyDictionary[Identity, Answers]
    """The cached answers of the authorizer, by session."""
    principals: Principals | None = None
    """The clients that authenticate with a secret or a key."""


class AppAPI:
    """Decides by the rules of the apps who may join an embedded router, and what each client may do.

    :param clock: Returns the seconds of a monotonic clock.
    :param now: Returns the seconds since 1970.
    :param app: The app whose rules apply to clients of no other app.
    """

    def __init__(
        self, clock: t.Callable[[], float], now: t.Callable[[], float], app: str = ""
    ) -> None:
        self._clock = clock
        self._now = now
        self._app = app
        self._rules: dict[str, Rules] = {}
        self._awaited: dict[str, list[t.Callable[[], None]]] = {}
        self._ended: dict[str, EndedLogins] = {}
        self._tickets = Tickets(clock)
        self._router: Router
        self._asker: Asker
        self._defer: Defer
        self._listen: Listen | None = None
        self._salts = os.urandom(32)

    def serve(self, router: Router, realm: str, defer: Defer, listen: Listen | None = None) -> None:
        """Register the procedures in a realm.

        :param defer: See :class:`.Asker`.
        :param listen: Opens ports for browsers. None if this router cannot open any.
        """
        self._listen = listen
        self._router = router
        self._defer = defer
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

    # Decisions.

    def authenticate(self, request: JoinRequest) -> Verdict | Challenge:
        """Authenticate users whom the app has identified, clients with a ticket, and principals.

        Other clients become anonymous if they offer that.
        """
        app = request.facts.app or self._app
        if isinstance(request.facts.app_identity, BrowserIdentity):
            return self._admit(dataclasses.replace(request.facts.app_identity, app=app))
        if "ticket" in request.authmethods:
            return Challenge("ticket", {}, lambda ticket, extra: self.redeem(ticket))
        rules = self._rules.get(app)
        principals = rules.principals if rules is not None else None
        for method in request.authmethods:
            if method == "anonymous":
                return of_app(anonymous(request), app)
            if principals is not None and principals.has(method):
                return prove(principals(request), app)
        return Refusal(
            error_uris.NO_MATCHING_AUTH_METHOD, "offer ticket, or anonymous if you have no ticket"
        )

    def authorize(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Decision | Later[bool | Decision]:
        """Allow everything to the apps' own processes, and to other clients what their app allows."""
        if is_backend(identity):
            return ALLOWED
        match = rights.match_of(action, options) or "exact"  # an unknown one is already refused
        rules = self._rules.get(self._app_of(identity))
        if rules is None:
            return self._authorize_later(identity, action, uri, options)
        if not rules.authorizer and rules.policy.find(
            identity.authid, identity.authrole, action, uri, match
        ):
            return ALLOWED  # the fast path, because every message needs a decision
        if not rules.authorizer or rules.policy.is_closed(identity, action, uri, match):
            return self._decide(rules, identity, action, uri, match)
        request = (action, uri, match)
        remembered = rules.answers.get(identity)
        if remembered is not None and request in remembered:
            return self._decide(rules, identity, action, uri, match, remembered[request])
        later: Later[bool | Decision] = Later()

        def answered(answer: object) -> None:
            if isinstance(answer, dict):
                answer = answer.get("allow")
                _remember(rules.answers.setdefault(identity, {}), request, answer)
            later.resolve(self._decide(rules, identity, action, uri, match, answer))

        about = [identity.authid, identity.authrole, dict(identity.authextra)]
        self._asker.ask(rules.authorizer, about, action, uri, dict(options)).then(answered)
        return later

    def _app_of(self, identity: Identity) -> str:
        """Return the app whose rules apply to a session."""
        return (identity.app if isinstance(identity, BrowserIdentity) else "") or self._app

    def _authorize_later(
        self, identity: Identity, action: str, uri: str, options: t.Mapping[str, t.Any]
    ) -> Later[bool | Decision]:
        """Decide when a process of the app has joined and sent its rules.

        After a crash of the router, a browser may join again before the processes of its app do.
        """
        later: Later[bool | Decision] = Later()
        timers, waiting = self._router.timers, self._awaited.setdefault(self._app_of(identity), [])

        def late() -> None:
            if told in waiting:
                waiting.remove(told)
                message = "no process of the application is joined"
                later.resolve(Decision(False, message=message))

        timer = timers.add(self._clock() + PATIENCE, late)

        def told() -> None:
            timers.cancel(timer)
            answer = self.authorize(identity, action, uri, options)
            if isinstance(answer, Later):
                answer.then(later.resolve)
            else:
                later.resolve(answer)

        waiting.append(told)
        return later

    def _decide(
        self,
        rules: Rules,
        identity: Identity,
        action: str,
        uri: str,
        match: str,
        answer: object = None,
    ) -> Decision:
        """Decide by the answer of the app's authorizer, or by the table of rights if the answer is None."""
        if answer is not None and not isinstance(answer, bool):
            logger.error("the app's authorizer did not decide about %s %s: %s", action, uri, answer)
            return REFUSED
        if rules.policy.allows(identity, action, uri, match, answer):
            return ALLOWED
        if answer is False or not rules.explains:
            return REFUSED
        # Only in debug mode and in tests: otherwise clients could find out the names of roles and URIs.
        line = rights.why_refused(rules.policy, identity, action, uri, match)
        if len(self._rules) > 1:
            name = self._app_of(identity).rpartition(".")[0]
            line = (
                f"{line}. The session has joined through the application {name}, whose rights apply"
            )
        return Decision(False, message=line)

    def redeem(self, ticket: str) -> Identity | Refusal:
        """Return the identity of a ticket, and invalidate the ticket."""
        identity = self._tickets.take(ticket)
        if identity is None:
            return Refusal(error_uris.AUTHENTICATION_FAILED, NO_TICKET)
        return self._admit(identity)

    def _admit(self, identity: BrowserIdentity) -> Identity | Refusal:
        """Return the identity, or a refusal if its login has ended since the app identified it."""
        ended = self._ended.get(identity.app)
        if identity.ended or (ended is not None and ended.has_ended(identity)):
            return Refusal(error_uris.AUTHENTICATION_DENIED, SIGNED_OUT)
        return identity

    # Procedures for the apps' processes.

    def configure(
        self,
        app: t.Any,
        policy: t.Any,
        explains: t.Any = False,
        authorizer: t.Any = "",
        listen: t.Any = (),
        origins: t.Any = (),
        principals: t.Any = None,
    ) -> None:
        """Replace an app's rules, and open its ports. Each process of the app calls this when it joins.

        :param app: The prefix of the app's own URIs.
        :param policy: See :func:`~flask_wamp.protocol.rights.as_json`.
        :param explains: Whether a refusal names the line that would allow the request.
        :param authorizer: The URI of the app's authorizer procedure. Empty if there is none.
        :param listen: URLs of ports for the app's browsers.
        :param origins: The origins whose pages may join at these ports. None for all.
        :param principals: The clients that authenticate with a secret or a key, see :class:`.Principals`.
            Empty if there are none.
        :raises ValueError: An argument is invalid.
        :raises PortError: A port cannot be opened.
        """
        self._rules[_text(app)] = Rules(
            rights.from_json(policy),
            explains is True,
            str(authorizer or ""),
            weakref.WeakKeyDictionary(),  # pending answers go into the old dictionary
            Principals(principals, self._salts) if principals else None,
        )
        # No app may allow the URIs that the processes of another app use among themselves.
        reserved = {each: None for rules in self._rules.values() for each in rules.policy.reserved}
        for name, rules in self._rules.items():
            if {*rules.policy.reserved} != {*reserved}:
                policy = rights.Policy(rules.policy.rights, reserved)
                self._rules[name] = rules._replace(policy=policy)
        waiting = self._awaited.get(app, [])
        while waiting:
            self._defer(waiting.pop())
        if self._listen is not None:
            for url in listen:
                self._listen(app, url, origins)

    def add_ticket(self, app: t.Any, identity: t.Any, max_age: t.Any) -> str:
        """Return a ticket that lets a client join once, within ``max_age`` seconds. The limit is 3,600."""
        if not isinstance(max_age, int | float) or not 0 < max_age <= MAX_TICKET_AGE:
            raise ValueError(f"a ticket cannot be valid for {max_age!r} seconds")
        of_ticket = {"authmethod": "ticket", "authprovider": "dynamic", "app": _text(app)}
        return self._tickets.add(BrowserIdentity(**{**identity, **of_ticket}), max_age)

    def sign_out(self, app: t.Any, authid: t.Any) -> int:
        """End the sessions, tickets and logins of a user. Return the number of sessions."""
        if not isinstance(authid, str) or not authid:
            raise ValueError(f"an authid must be a non-empty string, not {authid!r:.100}")
        self._ended_of(app).end_user(authid)
        return self._end(app, lambda identity: identity.authid == authid)

    def end_login(self, app: t.Any, browser: t.Any, authid: t.Any = "") -> int:
        """End the sessions and tickets of a browser session. Return the number of sessions.

        :param authid: The user. Sessions of this user whose browser session is unknown also end.
        """
        if not isinstance(browser, str) or not browser:
            raise ValueError("the id of a browser session must be a non-empty string")
        self._ended_of(app).end_browser(browser)

        def is_of_login(identity: Identity) -> bool:
            if not isinstance(identity, BrowserIdentity):
                return False
            return identity.browser == browser or (
                not identity.browser and identity.authid == authid
            )

        return self._end(app, is_of_login)

    def _ended_of(self, app: t.Any) -> EndedLogins:
        return self._ended.setdefault(_text(app), EndedLogins(self._now))

    def _end(self, app: str, matches: t.Callable[[Identity], bool]) -> int:
        self._tickets.drop(lambda identity: identity.app == app and matches(identity))
        count = 0
        for session in list(self._router.sessions):
            identity = session.identity
            if is_backend(identity) or self._app_of(identity) != app:
                continue
            if matches(identity) and session.id:
                session.disconnect(error_uris.CLOSE_LOGOUT, SIGNED_OUT)
                count += 1
        return count

    def status(self) -> dict[str, t.Any]:
        """Return numbers for ``flask wamp status``."""
        return {
            "pid": os.getpid(),
            "sessions": len(self._router.sessions),
            "tickets": len(self._tickets),
            "apps": sorted(self._rules),
            "rights": sum(len(rules.policy.rights) for rules in self._rules.values()),
            "counters": dict(self._router.counters),
        }


def _remember(answers: Answers, request: tuple[str, str, str], answer: object) -> None:
    """Cache the authorizer's answer about a request of a session, within limits."""
    if len(request[1]) <= rights.LONGEST_REMEMBERED:
        if len(answers) >= MOST_ANSWERS:
            answers.clear()
        answers[request] = answer


def _text(app: t.Any) -> str:
    if not isinstance(app, str):
        raise ValueError(f"the name of an app must be the prefix of its own URIs, not {app!r:.100}")
    return app


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
        except PortError as error:
            session.refuse(message, error_uris.UNAVAILABLE, str(error))
        except (PayloadError, TypeError, ValueError) as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
        else:
            session.send(session.encode((50, message.request_id, {}, session.codec.dump([result]))))

    return serve
