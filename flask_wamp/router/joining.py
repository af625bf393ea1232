"""Joining a realm: from HELLO to WELCOME or ABORT.

Source: WAMP Basic Profile, "Session Establishment"; WAMP Advanced Profile, "Authentication".
"""

from __future__ import annotations

import dataclasses
import typing as t

from .._text import get_logger
from ..exceptions import ProtocolError
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.identity import Identity, app_of
from ..protocol.messages import Details
from ..protocol.uris import is_valid_uri
from .authentication import Authenticator, Challenge, JoinRequest, Mutual, Refusal
from .codec import PayloadError
from .features import ROLES, Features
from .interfaces import Handlers, RealmInterface
from .later import Later
from .session import RouterSession, RouterSessionState

logger = get_logger("flask_wamp.router")


class Realms(t.Protocol):
    """What joining needs from the router."""

    @property
    def realms(self) -> t.Collection[str]:
        """The names of the realms."""

    def has_realm(self, name: str) -> bool:
        """Return whether a realm exists or may be created."""

    def find_realm(self, name: str) -> RealmInterface | None:
        """Return a realm. None if it does not exist and must not be created."""

    def new_session_id(self) -> int: ...

    def timestamp(self) -> str: ...

    def count(self, what: str) -> None: ...


class JoinHandler:
    """Handles the messages of sessions that are not established yet.

    :param agent: The name of the router's software, for WELCOME.
    :param nonce: Returns random bytes that cannot be guessed.
    """

    def __init__(
        self,
        realms: Realms,
        authenticator: Authenticator,
        agent: str,
        nonce: t.Callable[[int], bytes],
    ) -> None:
        self._realms = realms
        self._authenticator = authenticator
        self._agent = agent
        self._nonce = nonce
        # Basic Profile, "Protocol Errors": before the session is established, any other message is one.
        self.establishing: Handlers = {
            m.Hello: (self.on_hello, False),
            m.Abort: (RouterSession.on_abort, False),
        }
        self.authenticating: Handlers = {
            m.Authenticate: (self.on_authenticate, False),
            m.Abort: (RouterSession.on_abort, False),
        }

    def on_hello(self, session: RouterSession, message: m.Hello) -> None:
        """Handle HELLO: ask the authenticator."""
        features = Features.parse(message.details.get("roles"))
        request = self._request(session, message)
        if not is_valid_uri(message.realm):
            session.abort(error_uris.INVALID_URI, "the name of the realm is not a URI")
            return
        if not self._realms.has_realm(message.realm):
            self._refuse_realm(session, message.realm)
            return
        session.realm_name = message.realm
        session.app = app_of(request.authextra)
        session.begin_authentication(request.session_id, features)
        known = session.facts.identity
        if known is not None:
            self._welcome(session, known)
        else:
            self._ask(session, lambda: self._authenticator(request))

    def _refuse_realm(self, session: RouterSession, name: str) -> None:
        text = f"there is no realm {name!r:.100}"
        if session.facts.identity is not None and self._realms.realms:
            # Only for the processes of the apps: strangers need not know the realms.
            text += f"; this router has the realm {', '.join(self._realms.realms)}"
        session.abort(error_uris.NO_SUCH_REALM, text)

    def _request(self, session: RouterSession, message: m.Hello) -> JoinRequest:
        details = message.details
        authid, methods = details.get("authid"), details.get("authmethods")
        authextra = details.get("authextra")
        if methods is None or methods == []:
            methods = ["anonymous"]
        if not (isinstance(methods, list) and all(isinstance(each, str) for each in methods)):
            raise ProtocolError("HELLO.Details.authmethods is not a list of strings")
        if not isinstance(authid, str | None):
            raise ProtocolError("HELLO.Details.authid is not a string")
        if not isinstance(authextra, dict | None):
            raise ProtocolError("HELLO.Details.authextra is not a dictionary")
        return JoinRequest(
            realm=message.realm,
            session_id=self._realms.new_session_id(),
            authid=authid,
            authmethods=tuple(methods),
            authextra=authextra or {},
            facts=session.facts,
            nonce=self._nonce,
            timestamp=self._realms.timestamp(),
        )

    def on_authenticate(self, session: RouterSession, message: m.Authenticate) -> None:
        """Handle AUTHENTICATE: verify the answer to the challenge."""
        challenge, session.challenge = session.challenge, None
        if challenge is None:
            raise ProtocolError("received AUTHENTICATE without a CHALLENGE")
        self._ask(session, lambda: challenge.verify(message.signature, message.extra))

    def _ask(self, session: RouterSession, question: t.Callable[[], object]) -> None:
        """Ask the authenticator, and continue when it has answered."""
        session_id = session.id

        def answered(answer: object) -> None:
            # Meanwhile another session may have begun on the transport, or the transport may be closed.
            if session.id == session_id and session.state is RouterSessionState.AUTHENTICATING:
                self._answered(session, answer)

        try:
            answer = question()
        except Exception:
            logger.exception("the authenticator failed")
            answer = Refusal(error_uris.AUTHENTICATION_FAILED, "the authenticator failed")
        if isinstance(answer, Later):
            answer.then(answered)
        else:
            answered(answer)

    def _answered(self, session: RouterSession, answer: object) -> None:
        if isinstance(answer, Challenge):
            session.challenge = answer
            session.send(session.encode((4, answer.authmethod, dict(answer.extra))))
        elif isinstance(answer, Identity):
            self._welcome(session, answer)
        elif isinstance(answer, Mutual):
            self._welcome(session, answer.identity, answer.proof)
        elif isinstance(answer, Refusal):
            self._realms.count("refused")
            session.abort(answer.reason, answer.message)
        else:  # an authenticator that returns nothing, by mistake, must not let any client in
            logger.error(
                "the authenticator returned %r, not an Identity, Refusal or Challenge", answer
            )
            session.abort(error_uris.AUTHENTICATION_FAILED, "the authenticator failed")

    def _welcome(
        self, session: RouterSession, identity: Identity, proof: t.Mapping[str, t.Any] | None = None
    ) -> None:
        if not identity.authmethod:  # an authenticator need not set it, but WELCOME must have it
            provider = identity.authprovider or "static"
            identity = dataclasses.replace(identity, authmethod="anonymous", authprovider=provider)
        details: Details = {
            "realm": session.realm_name,
            "roles": ROLES,
            "agent": self._agent,
            "authid": identity.authid,
            "authrole": identity.authrole,
            "authmethod": identity.authmethod,
            "authprovider": identity.authprovider,
        }
        if identity.authextra or proof:
            details["authextra"] = {**identity.authextra, **(proof or {})}
        try:
            welcome = session.encode((2, session.id, session.codec.dump(details)))
        except PayloadError as error:
            logger.error("the identity of %r cannot be sent: %s", identity.authid, error)
            session.abort(error_uris.AUTHENTICATION_FAILED, "the authenticator failed")
            return
        # Looked up only now, so that only an authenticated client can create a realm.
        realm = self._realms.find_realm(session.realm_name)
        if realm is None:
            self._refuse_realm(session, session.realm_name)
        else:
            session.establish(identity, realm, welcome)
