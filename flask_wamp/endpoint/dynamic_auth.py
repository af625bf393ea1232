"""What a router asks that leaves decisions to the app: who may join, and who may do what.

Crossbar.io calls these answers a *dynamic authenticator* and a *dynamic authorizer*. They are procedures that
all processes of the app share. A ticket is held by the process that has issued it, and by no other one. So it
is valid once, whichever process is asked, on whichever host.

Source: Crossbar.io, "Dynamic Authentication" and "Dynamic Authorization".
"""

from __future__ import annotations

import re
import secrets
import time
import typing as t

from .._text import get_logger
from ..client.client import Client
from ..exceptions import ApplicationError
from ..handlers.authorizers import Verdict
from ..handlers.context import invocation
from ..protocol import error_uris, rights
from ..protocol.identity import BrowserIdentity, Identity
from ..protocol.logins import NO_TICKET, SIGNED_OUT, login_of_identity
from ..protocol.principals import Directory, Principal
from .logouts import Logouts

logger = get_logger("flask_wamp")

#: The id of the process that holds a ticket, and what only that process knows.
_TICKET = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{48})")

#: Our part of ``authextra``, which says which login a session belongs to.
_OWN = "flask_wamp"

#: Procedures of Crossbar.io that do for everybody who may call them what their own rights do not allow: to
#: publish anywhere, and to read the past of any subscription. The authorizer does not see the arguments.
UNCHECKED: t.Final = frozenset({"wamp.session.add_testament", "wamp.subscription.get_events"})

#: The role of Crossbar.io's own session.
_ROUTER: t.Final = "trusted"

Details = t.Mapping[str, t.Any]
Ask = t.Callable[[list[t.Any], str, str, dict[str, t.Any]], Verdict]


class DynamicAuth:
    """The authenticator and the authorizer of one app, for a router that asks it.

    :param redeem_uri: The beginning of the procedures that redeem tickets, one of each process.
    :param redeem: Redeems a ticket of this process. The first argument is the id of its process.
    :param principals: The clients that prove who they are.
    :param policy: Returns the app's rights.
    :param ask: Asks the app's authorizers.
    :param explains: Whether refusals are logged with the line that is missing.
    :param trusted_links: The roles of router-to-router links, which may forward for others.
    """

    def __init__(
        self,
        client: Client,
        redeem_uri: str,
        redeem: t.Callable[[str, str], BrowserIdentity | None],
        *,
        logouts: Logouts,
        principals: Directory,
        policy: t.Callable[[], rights.Policy],
        ask: Ask,
        explains: t.Callable[[], bool],
        trusted_links: t.Collection[str],
    ) -> None:
        self._client = client
        self._redeem_uri = redeem_uri
        self._redeem_here = redeem
        self._logouts = logouts
        self._principals = principals
        self._policy = policy
        self._ask = ask
        self._explains = explains
        self._trusted_links = trusted_links

    # Who may join.

    def authenticate(self, realm: str | None, authid: str | None, details: Details) -> Details:
        """Return who has sent a ticket, as the router wants to know it.

        What HELLO has claimed is not looked at, but for the realm.

        :raises ApplicationError: Nobody may join with that. The URI becomes the reason of ABORT.
        """
        if realm not in (None, self._client.realm):
            raise ApplicationError(error_uris.NO_SUCH_REALM, "tickets are for another realm")
        method = details.get("authmethod")
        if method == "anonymous":
            # The router has made the authid up.
            return {"realm": self._client.realm, "authid": authid, "role": rights.ANONYMOUS}
        if method == "ticket":
            return self._admitted(self._holder(details.get("ticket")))
        if method == "wampcra" and self._principals.some_with_secret is not None:
            return self._with_secret(authid)
        if method == "cryptosign" and self._principals:
            return self._with_key(authid, details.get("authextra"))
        raise ApplicationError(
            error_uris.NO_MATCHING_AUTH_METHOD, f"the app does not authenticate by {method!r}"
        )

    def _holder(self, ticket: object) -> BrowserIdentity:
        identity = self._redeem(ticket)
        if identity is None:
            raise ApplicationError(error_uris.AUTHENTICATION_FAILED, NO_TICKET)
        if self._logouts.has_ended(identity):
            raise ApplicationError(error_uris.AUTHENTICATION_DENIED, SIGNED_OUT)
        return identity

    def _with_secret(self, authid: str | None) -> Details:
        """Return the secret of a principal, to the router only, which compares it."""
        # No client can have this role, or can forge it: the router calls with it.
        if invocation.caller_authrole != _ROUTER:
            logger.error(
                "somebody who is not the router has asked for the secret of the principal %r",
                authid,
            )
            raise ApplicationError(error_uris.NOT_AUTHORIZED, "secrets are for the router only")
        found = self._principals.with_secret(authid)
        if found is not None:
            return {**self._admitted(_joining(found)), "secret": found.secret}
        # Who does not exist gets a challenge like everybody else, which no answer satisfies.
        model = self._principals.some_with_secret
        assert model is not None
        made_up = Principal(authid or "nobody", model.role, secrets.token_hex(32))
        return {**self._admitted(_joining(made_up)), "secret": made_up.secret}

    def _with_key(self, authid: str | None, authextra: object) -> Details:
        key = authextra.get("pubkey") if isinstance(authextra, dict) else None
        found = self._principals.with_key(key)
        if found is None or authid not in (None, found.authid):
            raise ApplicationError(error_uris.AUTHENTICATION_FAILED, "the public key is unknown")
        return {**self._admitted(_joining(found)), "pubkey": str(key).lower()}

    def _admitted(self, identity: BrowserIdentity) -> Details:
        own = {"login": login_of_identity(identity), "since": identity.since}
        return {
            "realm": self._client.realm,
            "authid": identity.authid,
            "role": identity.authrole,
            "extra": {**identity.authextra, _OWN: own},
        }

    def _redeem(self, ticket: object) -> BrowserIdentity | None:
        parts = _TICKET.fullmatch(ticket) if isinstance(ticket, str) else None
        if parts is None:
            return None
        process, secret = parts.groups()
        found = self._redeem_here(process, secret)
        if found is not None:
            return found
        try:
            told = self._client.call(f"{self._redeem_uri}.{process}", secret)
        except ApplicationError as error:
            if error.uri != error_uris.NO_SUCH_PROCEDURE:  # the process has gone, and its tickets
                raise
            return None
        return BrowserIdentity(**told) if isinstance(told, dict) else None

    # Who may do what.

    def authorize(self, session: Details, uri: str, action: str, options: Details) -> Details:
        """Decide whether a session may do something, as the embedded router does.

        The router must not cache the answer: Crossbar.io would give it to everybody of the same role, for
        every ``match``, until it is restarted.
        """
        options = options or {}
        login = session_login(session)
        allowed = (
            (options.get("forward_for") is None or session.get("authrole") in self._trusted_links)
            and not self._logouts.is_over(login.authid, login.login, login.since)
            and self._allows(login, action, uri, options)
        )
        answer: dict[str, t.Any] = {"allow": allowed, "cache": False}
        if action in ("call", "publish"):
            answer["disclose"] = True
        return answer

    def _allows(self, login: SessionLogin, action: str, uri: str, options: Details) -> bool:
        match = rights.match_of(action, options)
        if match is None or (action == "call" and uri in UNCHECKED):
            return False
        identity, policy, answer = Identity(login.authid, login.authrole), self._policy(), None
        if not policy.is_closed(identity, action, uri, match):
            about = [login.authid, login.authrole, dict(login.authextra)]
            answer = self._ask(about, action, uri, dict(options)).allow
        if policy.allows(identity, action, uri, match, answer):
            return True
        if answer is None and self._explains():
            logger.warning("%s", rights.missing_line(login.authrole, action, uri, match))
        return False


def _joining(principal: Principal) -> BrowserIdentity:
    return BrowserIdentity(principal.authid, principal.role, since=time.time())


class SessionLogin(t.NamedTuple):
    """What a session's details say about its user and login."""

    authid: str
    authrole: str
    authextra: Details
    """What the app's authenticator has said. Empty where a client has said it."""

    login: str
    """The :func:`~.logins.login_of` its browser session; empty: unknown."""

    since: float
    """When the login began, in seconds since 1970."""


def session_login(details: Details) -> SessionLogin:
    """Return the login of a session, from its details.

    Without an authenticator of the app's, ``authextra`` is the client's own claim, and is not looked at.
    """
    extra = details.get("authextra") if details.get("authprovider") == "dynamic" else None
    extra = dict(extra) if isinstance(extra, dict) else {}
    own = extra.pop(_OWN, None)
    own = own if isinstance(own, dict) else {}
    login, since = own.get("login"), own.get("since")
    return SessionLogin(
        str(details.get("authid")),
        str(details.get("authrole")),
        # Crossbar.io adds what concerns itself.
        {key: value for key, value in extra.items() if not key.startswith("x_cb_")},
        login if isinstance(login, str) else "",
        float(since) if isinstance(since, int | float) else time.time(),
    )
