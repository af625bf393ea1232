"""Tickets and logouts for a router that is not the app's own, such as Crossbar.io."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import threading
import typing as t

from flask import Flask

from .._text import get_logger
from ..client.client import Client
from ..concurrency.clock import monotonic
from ..concurrency.per_process import PerProcess
from ..coordination.lease import CallbackTicket, unused
from ..coordination.signing import Signer
from ..exceptions import InvalidPayload, NotJoined, WAMPError
from ..peer.connection import Connection
from ..peer.declarations import ActiveMessage, Outcome, Registration, Subscription, Success
from ..peer.listeners import PeerInterface
from ..protocol import error_uris, rights
from ..protocol import messages as m
from ..protocol.identity import BrowserIdentity
from ..protocol.logins import SIGNED_OUT, Tickets
from ..protocol.principals import Directory
from ..protocol.session import Session
from .dynamic_auth import Ask, DynamicAuth, session_login
from .joining import Identify, public_url
from .logouts import Logouts

logger = get_logger("flask_wamp")


class OtherRouter:
    """The app's side of logins at another router: its procedures, its tickets, and messages about logouts.

    :param own: The prefix of the URIs that the app uses itself.
    :param logouts: Knows which logins have ended.
    :param principals: The clients that authenticate with a secret or a key. More may be added later.
    :param signer: Signs the messages between the processes of the app.
    :param policy: Returns the app's rights.
    :param ask: Asks the app's authorizers.
    :param authenticator: The URI of the authenticator procedure.
    :param authorizer: The URI of the authorizer procedure.
    """

    def __init__(
        self,
        app: Flask,
        client: Client,
        own: str,
        *,
        signer: Signer,
        logouts: Logouts,
        principals: Directory,
        policy: t.Callable[[], rights.Policy],
        ask: Ask,
        trusted_links: t.Collection[str],
        authenticator: str,
        authorizer: str,
    ) -> None:
        self._app = app
        self._client = client
        self._own = own
        self._signer = signer
        self._uris = authenticator, authorizer
        self._tickets = Tickets(monotonic)
        self._lock = PerProcess(lambda: threading.Lock())
        self._id = PerProcess(lambda: secrets.token_hex(8))
        """The id of this process, with which its tickets begin."""
        self._listener: _Listener | None = None
        self._logouts = logouts
        self._auth = DynamicAuth(
            client,
            f"{own}.redeem",
            self.redeem,
            logouts=logouts,
            principals=principals,
            policy=policy,
            ask=ask,
            explains=lambda: app.debug or app.testing,
            trusted_links=trusted_links,
        )

    # Procedures and topics of the processes.

    def procedures(self) -> dict[str, t.Callable[..., object]]:
        """Return the procedures that the router calls, by URI."""
        authenticator, authorizer = self._uris
        return {authenticator: self._auth.authenticate, authorizer: self._auth.authorize}

    def follow_sessions(self) -> None:
        """From now on, redeem tickets and receive logouts in each session in which this process serves."""
        self._client.add_listener(self._make_listener)

    def _make_listener(self, peer: PeerInterface) -> _Listener:
        self._listener = _Listener(self, peer)
        return self._listener

    @property
    def redeem_uri(self) -> str:
        """The procedure that redeems the tickets of this process only."""
        return f"{self._own}.redeem.{self._id()}"

    @property
    def logouts_uri(self) -> str:
        """The topic to which the processes publish logouts."""
        return f"{self._own}.logouts"

    # Tickets.

    def ticket(self, identity: BrowserIdentity, max_age: float) -> str | None:
        """Return a ticket that lets a browser join once, or None if this process may not redeem tickets."""
        if self._listener is None:
            self.follow_sessions()  # the app may have set up its logins after the start
        if not self._may_redeem():
            return None
        with self._lock():
            return f"{self._id()}.{self._tickets.add(identity, max_age)}"

    def redeem(self, process: str, secret: str) -> BrowserIdentity | None:
        """Return the identity of a ticket. None if it is used, unknown or a ticket of another process."""
        if process != self._id():
            return None
        with self._lock():
            return self._tickets.take(secret)

    def _may_redeem(self) -> bool:
        """Wait until the router has answered the registration. Return False if it refused."""
        if self._client.peer is None or self._listener is None:
            return True  # it does not serve yet; the registration follows when it starts to
        with contextlib.suppress(NotJoined):
            self._client.wait_until_joined()
        return self._listener.may_redeem(self._client.settings.connect_timeout)

    # Logouts.

    def sign_out(self, authid: str) -> int:
        """End a user's sessions, tickets and logins. Return the number of sessions.

        Source: WAMP Advanced Profile, "Session Meta API". There the router answers with the number of
        sessions. Crossbar.io answers with their ids.
        """
        self._tell({"authid": authid, "at": self._logouts.end_user(authid)})
        killed = self._client.call("wamp.session.kill_by_authid", authid, **_WHY)
        return len(killed) if isinstance(killed, list) else int(killed)

    def end_login(self, browser: str, authid: str) -> None:
        """End the sessions of a browser session, and the user's sessions whose browser session is unknown."""
        login = self._logouts.end_browser(browser)
        self._forget_tickets()
        if self._app.testing and self._client.peer is None:
            return  # this test has no router, so there are no sessions
        self._tell({"login": login})
        for session in self._client.meta.sessions.all():
            of = session_login(session.details)
            if of.login == login or (not of.login and authid and of.authid == authid):
                with contextlib.suppress(WAMPError):  # the session may have just ended
                    self._client.meta.sessions.kill(session.id, **_WHY)

    def _tell(self, what: dict[str, t.Any]) -> None:
        """Publish a logout to the other processes."""
        self._forget_tickets()
        self._client.publish(self.logouts_uri, *self._signer.sign_now(self.logouts_uri, what))

    def _forget_tickets(self) -> None:
        with self._lock():
            self._tickets.drop(self._logouts.is_known)

    def look_again(self) -> None:
        """Ask the store again about every login, because this process may have missed a logout."""
        self._logouts.look_again()

    def read(self, event: m.Event) -> None:
        """Handle a logout that another process has published."""
        try:
            what = self._signer.read_recent(self.logouts_uri, event.readable_args)
            if not isinstance(what, dict):
                raise InvalidPayload("not a dictionary")
            if "login" in what:
                self._logouts.hear_login(str(what["login"]))
            else:
                self._logouts.hear_user(str(what["authid"]), float(what["at"]))
        except (InvalidPayload, KeyError, TypeError, ValueError) as error:
            logger.warning("ignored an invalid event of %s: %s", self.logouts_uri, error)
        self._forget_tickets()


_WHY: t.Final = {"reason": error_uris.CLOSE_LOGOUT, "message": SIGNED_OUT}


class _Listener:
    """Redeems the tickets of one process, and receives logouts of other processes."""

    has_to_leave = False

    def __init__(self, router: OtherRouter, peer: PeerInterface) -> None:
        self._router = router
        self._answered = threading.Event()
        self._refused: object = None

    def joined(self, connection: Connection) -> None:
        """Register the procedure and subscribe to the topic, in a new session."""
        self._answered.clear()
        uri, topic = self._router.redeem_uri, self._router.logouts_uri
        registration = Registration(uri, self._redeem)
        subscription = Subscription(topic, unused, options={})
        subscription.take = self._told
        with contextlib.suppress(NotJoined):
            # Only from this answer on does this process get the logouts of others.
            subscribed = CallbackTicket(lambda answer: self._router.look_again())
            connection.put(Session.subscribe, topic, {}, subscription, subscribed)
            options = {"invoke": "single"}
            connection.put(
                Session.register, uri, options, registration, CallbackTicket(self._registered)
            )

    def lost(self) -> None:
        """Ask the store again, because other processes may end logins before the next session."""
        self._router.look_again()

    def leave(self, deadline: float) -> None:
        """Do nothing: the tickets of this process become invalid with its end."""

    def may_redeem(self, timeout: float) -> bool:
        """Wait for the router's answer. Return False if it is a refusal."""
        self._answered.wait(timeout)
        return self._refused is None

    def _registered(self, answer: object) -> None:
        self._refused = answer.error if isinstance(answer, m.Error) else None
        self._answered.set()
        if isinstance(answer, m.Error):
            logger.error(
                "this process issues no tickets to browsers, because the router refused to register %s: "
                "%s %s",
                self._router.redeem_uri,
                answer.error,
                answer.readable_args,
            )

    def _redeem(self, work: ActiveMessage) -> Outcome:
        args = work.message.readable_args
        secret = args[0] if args else None
        process = self._router.redeem_uri.rpartition(".")[2]
        found = self._router.redeem(process, secret) if isinstance(secret, str) else None
        return Success([work.plain(dataclasses.asdict(found) if found else None)])

    def _told(self, event: m.Event) -> bool:
        self._router.read(event)
        return True


class AtOtherRouter:
    """Browsers join the router that the app joins, at the router's own URL."""

    def __init__(
        self,
        router: OtherRouter,
        client: Client,
        identify: Identify,
        listen: t.Sequence[str],
        max_age: float,
    ) -> None:
        self.realm = client.settings.realm
        self.own = ""  # there are no handovers to this router
        self.browsers_socket = None
        self._router = router
        self._urls = [*listen, client.settings.router_url.url]
        self.identify = identify
        self._max_age = max_age

    @property
    def public_url(self) -> str | None:
        """The router's URL. None if browsers cannot use it."""
        return public_url(self._urls)

    def ensure_router(self) -> None:
        """Do nothing, because the app does not start this router."""

    def ticket(self, identity: BrowserIdentity) -> str | None:
        """Return a ticket that lets a browser join once."""
        return self._router.ticket(identity, self._max_age)
