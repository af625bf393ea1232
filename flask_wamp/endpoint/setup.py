"""Creation of an app's endpoint and its own router from the configuration."""

from __future__ import annotations

import functools
import typing as t

from flask import Flask

from ..client.client import Client
from ..coordination.signing import Signer
from ..peer.settings import PeerSettings
from ..protocol.principals import Directory
from ..protocol.rights import Policy
from ..transports.urls import parse_router_url
from .browser_sessions import LoginSignals
from .dynamic_auth import Ask
from .identity import Authenticators, Identifier
from .logouts import Logouts
from .other_router import AtOtherRouter, OtherRouter
from .views import Endpoint, JoinTarget

if t.TYPE_CHECKING:
    from .own_router import OwnRouter


class ConfigValues(t.Protocol):
    """The checked configuration, by key."""

    def __getitem__(self, name: str, /) -> t.Any: ...

    def is_default(self, name: str, /) -> bool:
        """Return whether the app has not set a key."""


def own_router(
    app: Flask,
    config: ConfigValues,
    settings: PeerSettings,
    own: str,
    policy: t.Callable[[], Policy],
    authorizer: t.Callable[[], str],
    logouts: Logouts,
    principals: Directory,
) -> OwnRouter | None:
    """Return the app's own router, or None if the app joins another router.

    :param own: The prefix of the URIs that the app uses itself.
    :raises ValueError: ``WAMP_ROUTER_LISTEN`` contains a URL with TLS.
    """
    url = settings.router_url
    if not (url.embedded or url.memory):
        return None
    for listen in config["WAMP_ROUTER_LISTEN"]:
        if parse_router_url(listen).secure:
            raise ValueError(
                f"WAMP_ROUTER_LISTEN={listen!r}: the embedded router does not support TLS. Use ws:// or "
                "tcp://, and terminate TLS in a proxy such as nginx"
            )
    is_default = config.is_default("WAMP_ROUTER_URL")
    from .own_router import OwnRouter  # imported here, because the import of the router is slow

    return OwnRouter(
        app,
        url,
        settings.realm,
        own,
        listen=config["WAMP_ROUTER_LISTEN"],
        origins=config["WAMP_ORIGINS"],
        connect_timeout=settings.connect_timeout,
        linger=settings.call_timeout,
        policy=policy,
        authorizer=authorizer,
        # Checked when the app joins, because tests set TESTING after the app was created.
        in_memory=lambda: url.memory or (is_default and app.testing),
        logouts=logouts,
        principals=principals,
    )


def other_router(
    app: Flask,
    config: ConfigValues,
    client: Client,
    own: str,
    signer: Signer,
    policy: t.Callable[[], Policy],
    ask: Ask,
    logouts: Logouts,
    principals: Directory,
) -> OtherRouter:
    """Return the app's side of logins at a router that is not its own.

    :param own: The prefix of the URIs that the app uses itself.
    """
    return OtherRouter(
        app,
        client,
        own,
        signer=signer,
        policy=policy,
        ask=ask,
        logouts=logouts,
        principals=principals,
        trusted_links=config["WAMP_TRUSTED_LINKS"] or (),
        authenticator=config["WAMP_AUTHENTICATOR_URI"] or f"{own}.authenticate",
        authorizer=config["WAMP_AUTHORIZER_URI"] or f"{own}.authorize",
    )


def add_endpoint(
    app: Flask,
    config: ConfigValues,
    client: Client,
    router: OwnRouter | OtherRouter,
    authenticators: Authenticators,
    logouts: Logouts,
) -> Endpoint | None:
    """Add the routes of ``WAMP_ENDPOINT``. Add none if it is None.

    :param authenticators: The app's authenticators, by realm. More may be added later.
    """
    path, listen = config["WAMP_ENDPOINT"], config["WAMP_ROUTER_LISTEN"]
    if path is None:
        return None
    identify = Identifier(app, client.settings.realm, authenticators, logouts.has_ended)
    max_age = config["WAMP_TICKET_MAX_AGE"]
    joining: JoinTarget
    if isinstance(router, OtherRouter):
        joining = AtOtherRouter(router, client, identify, listen, max_age)
        signals = LoginSignals(app, router.end_login, router.sign_out)
    else:
        from .own_router import AtOwnRouter

        joining = AtOwnRouter(router, client, identify, listen, max_age)
        signals = LoginSignals(
            app,
            functools.partial(router.end_login, client),
            functools.partial(router.sign_out, client),
        )
    return Endpoint(app, path, config["WAMP_ORIGINS"], joining, signals)
