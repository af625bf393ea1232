"""The app's own router: its sockets, its start, and the configuration that the app sends to it."""

from __future__ import annotations

import dataclasses
import json
import os
import time
import typing as t

from flask import Flask

from .._text import get_logger
from ..client.client import Client
from ..concurrency.clock import monotonic
from ..exceptions import SessionLost
from ..peer.connection import Connection
from ..peer.settings import PeerSettings
from ..protocol import error_uris, rights
from ..protocol.auth import Credentials
from ..protocol.identity import BrowserIdentity, Identity
from ..protocol.messages import Error
from ..protocol.principals import Directory
from ..protocol.session import Session
from ..router import Router, RouterSettings
from ..router.app_api import AppAPI
from ..router.memory import MemoryRouter
from ..router.procedures import ADD_TICKET, CONFIGURE, END_LOGIN, SIGN_OUT
from ..router.process.place import Place, own_place, place_at
from ..router.process.spawn import ensure_running, listens
from ..transports import RouterURL, Transport, open_transport
from .joining import Identify, public_url
from .logouts import Logouts

logger = get_logger("flask_wamp")


class OwnRouter:
    """The embedded router of one app.

    :param own: The prefix of the URIs that the app uses itself. It names the app at the router.
    :param linger: The number of seconds that calls wait for a procedure whose last process has left.
    :param policy: Returns the app's rights. It is called when the router starts and at each join.
    :param authorizer: Returns the URI of the app's authorizer procedure. Empty if there is none.
    :param in_memory: Returns whether the router is in this process. It is called at each join.
    :param logouts: Knows which logins have ended.
    :param principals: The clients that authenticate with a secret or a key. More may be added later.
    """

    def __init__(
        self,
        app: Flask,
        url: RouterURL,
        realm: str,
        own: str,
        *,
        listen: t.Sequence[str],
        origins: t.Sequence[str],
        connect_timeout: float,
        linger: float,
        policy: t.Callable[[], rights.Policy],
        authorizer: t.Callable[[], str],
        in_memory: t.Callable[[], bool],
        logouts: Logouts,
        principals: Directory,
    ) -> None:
        self.place = place_at(url.path) if url.path else _place_of(app, realm)
        self.url = url if url.memory else dataclasses.replace(url, path=self.place.socket)
        self._app = app
        self.own = own
        self._realm = realm
        self._listen = list(listen)
        self._origins = list(origins)
        self._connect_timeout = connect_timeout
        self._linger = linger
        self._policy = policy
        self._authorizer = authorizer
        self._in_memory = in_memory
        self._logouts = logouts
        self._principals = principals
        self._api = AppAPI(monotonic, time.time, own)
        self.memory = MemoryRouter(
            RouterSettings(realms=(realm,)), self._api.authorize, self._prepare
        )
        """The router in this process."""

    def _prepare(self, core: Router) -> None:
        self._api.serve(core, self._realm, self.memory.defer)
        self._api.configure(*self._configuration())

    def settings(self, settings: PeerSettings) -> PeerSettings:
        """Return the settings of a client that joins this router."""
        # No other user of the system can reach the router, so the app need not authenticate.
        given = settings.credentials
        return dataclasses.replace(
            settings,
            credentials=Credentials(authid=given.authid, authextra=given.authextra),
            router_url=self.url,
            open_transport=self.open_transport,
        )

    def process_id(self) -> int | None:
        """Return the process id of the router, or None if the router is not running."""
        if not listens(self.place):
            return None
        with open(self.place.info) as file:
            return int(json.load(file)["pid"])

    def ensure_running(self) -> None:
        """Start the router if it is not running, and wait until it listens.

        :raises TransportError: The router cannot be started, or does not listen in time.
        """
        ensure_running(self.place, self._setup(), monotonic() + self._connect_timeout)

    def open_transport(self, url: RouterURL, *, timeout: float, **options: t.Any) -> Transport:
        """Connect to the router. Start it if it is not running."""
        if self._in_memory():
            return self.memory.open_transport(url, timeout=timeout, **options)
        deadline = monotonic() + timeout
        ensure_running(self.place, self._setup(), deadline)
        left = max(0.001, deadline - monotonic())
        return open_transport(url, timeout=left, **options)

    @property
    def in_memory(self) -> bool:
        """Whether clients that join now use the router in this process."""
        return self._in_memory()

    def redeem(self, ticket: str) -> Identity | None:
        """Return the identity of a ticket, and invalidate the ticket. For the router in this process only."""
        found = self._api.redeem(ticket)
        return found if isinstance(found, Identity) else None

    def _setup(self) -> dict[str, t.Any]:
        return {
            "app": self._app.name,
            "own": self.own,
            "realm": self._realm,
            "listen": self._listen,
            "origins": self._port_origins(),
            "policy": rights.as_json(self._policy()),
            "explains": self._explains(),
            "authorizer": self._authorizer(),
            "principals": self._principals.table(),
            # During a deploy there may be no worker for a moment. Calls then wait for the next one.
            "linger": self._linger,
        }

    def ticket(self, client: Client, identity: BrowserIdentity, max_age: float) -> str:
        """Return a ticket that lets a browser join once."""
        return str(_ask(client, ADD_TICKET, self.own, dataclasses.asdict(identity), max_age))

    def sign_out(self, client: Client, authid: str) -> int:
        """End a user's sessions, tickets and logins. Return the number of sessions."""
        self._logouts.end_user(authid)
        return int(_ask(client, SIGN_OUT, self.own, authid))

    def end_login(self, client: Client, browser: str, authid: str) -> None:
        """End the sessions of a browser session, and the user's sessions whose browser session is unknown."""
        self._logouts.end_browser(browser)
        if self._in_memory() and not client.joined:
            return  # the router is in this process, and has no other sessions
        _ask(client, END_LOGIN, self.own, browser, authid)

    def listener(self, peer: object) -> _Configurer:
        """Create the listener that sends the configuration at each join.

        A process with an older configuration may have started the router.
        """
        return _Configurer(self._configuration)

    def _configuration(self) -> list[object]:
        rules = [rights.as_json(self._policy()), self._explains(), self._authorizer()]
        ports = [self._listen, self._port_origins()]
        return [self.own, *rules, *ports, self._principals.table()]

    def _port_origins(self) -> list[str | None] | None:
        """Return the origins whose pages may join at the router's own ports, or None for all origins."""
        # The list contains None, because programs other than browsers send no Origin.
        return None if "*" in self._origins else [None, *self._origins]

    def _explains(self) -> bool:
        """Return whether a refusal names the line that would allow the request."""
        return self._app.debug or self._app.testing


def _ask(client: Client, procedure: str, *args: object) -> t.Any:
    """Call a procedure of the router that may be called twice. If the session is lost, call it again."""
    try:
        return client.call(procedure, *args)
    except SessionLost:
        return client.call(procedure, *args)  # waits for the next session


class _Configurer:
    """Sends the app's configuration to the router whenever a process of the app joins."""

    def __init__(self, configuration: t.Callable[[], list[object]]) -> None:
        self._configuration = configuration

    def joined(self, connection: Connection) -> None:
        """Send the configuration in a new session."""
        connection.put(Session.call, CONFIGURE, self._configuration(), {}, {}, _ConfigureTicket())

    def lost(self) -> None:
        """Do nothing: the next session sends the configuration again."""

    def leave(self, deadline: float) -> None:
        """Do nothing: the successors of this process send their own configuration."""


class _ConfigureTicket:
    """The ticket of the CALL that sends the configuration."""

    def resolve(self, message: t.Any) -> None:
        """Log an ERROR."""
        if not isinstance(message, Error):
            return
        if message.error == error_uris.UNAVAILABLE:
            logger.error(
                "the embedded router cannot open a port of WAMP_ROUTER_LISTEN: %s",
                " ".join(map(str, message.readable_args)),
            )
        else:
            logger.error(
                "the embedded router refused the app's rights or principals: %s %s. If it was started by "
                "another version of Flask-WAMP, stop all apps that use it and start them again",
                message.error,
                message.readable_args,
            )

    def fail(self, error: BaseException) -> None:
        """Do nothing: the next session sends the configuration again."""


def _place_of(app: Flask, realm: str) -> Place:
    """Return the place of the router. Each app, checkout and realm has a place of its own."""
    prefix = app.config.get("WAMP_URI_PREFIX") or ""
    return own_place(os.path.realpath(app.root_path), app.import_name, str(prefix), realm)


class AtOwnRouter:
    """Browsers join the app's own router, through the endpoint or at a port of the router.

    :param identify: Returns the sender of the current request.
    """

    def __init__(
        self,
        router: OwnRouter,
        client: Client,
        identify: Identify,
        listen: t.Sequence[str],
        max_age: float,
    ) -> None:
        self.realm = client.settings.realm
        self.own = router.own
        self._router = router
        self._client = client
        self.identify = identify
        self._listen = listen
        self._max_age = max_age

    @property
    def browsers_socket(self) -> str | None:
        """The unix socket for handovers."""
        return self._router.place.browsers

    @property
    def public_url(self) -> str | None:
        """The URL of the router's own port, if it has one for browsers."""
        return public_url(self._listen)

    def ensure_router(self) -> None:
        """Start the router if it is not running."""
        self._router.ensure_running()

    def ticket(self, identity: BrowserIdentity) -> str:
        """Return a ticket that lets a browser join once."""
        return self._router.ticket(self._client, identity, self._max_age)
