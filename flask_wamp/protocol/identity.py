"""The identity of a session, which a router grants, and on which its rights depend.

Source: WAMP Advanced Profile, "Authentication".
"""

from __future__ import annotations

import dataclasses
import typing as t


@dataclasses.dataclass(frozen=True)
class Identity:
    """An authenticated principal."""

    authid: str
    """The id of the principal: a user's name or key."""

    authrole: str
    """The role, which decides what the session may do."""

    authextra: t.Mapping[str, t.Any] = dataclasses.field(
        default_factory=dict, hash=False, repr=False
    )
    """Anything else the authenticator knows. The client receives it in WELCOME."""

    authmethod: str = ""
    """How the session was authenticated: ``ticket``, ``wampcra``, ``scram``, ``cryptosign``... Empty in
    ``invocation.identity`` and ``event.identity``, because routers do not tell it to callees and subscribers.
    """

    authprovider: str = ""
    """How the principal is known: ``static`` for a table of principals, ``dynamic`` for a function. Empty
    where ``authmethod`` is.
    """


@dataclasses.dataclass(frozen=True)
class BrowserIdentity(Identity):
    """A user of the app, with the browser session that the user has logged in with.

    The additional fields stay between the app and its router: no client receives them.
    """

    browser: str = dataclasses.field(default="", repr=False)
    """The id of the browser session. Empty if the app does not know it."""

    since: float = 0.0
    """When the user logged in, in seconds since 1970."""

    ended: bool = False
    """Whether this login has ended, according to the app. The router then refuses it."""

    app: str = ""
    """The app that has let the session in, and whose rules apply to it: the prefix of the app's own URIs."""


#: How many characters of an application's name are sent.
MAX_APP_NAME = 100

_OWN = "flask_wamp"


def app_extra(app: str | None) -> dict[str, object]:
    """Return the entry of ``authextra`` that names the application of a session.

    :param app: The application's name. None if the session does not belong to an application.
    """
    return {_OWN: {"app": app[:MAX_APP_NAME]}} if app else {}


def app_of(authextra: object) -> str | None:
    """Return the name of the application in ``authextra``. None if there is none.

    The client chooses the name, and nothing proves it. So do not use it for decisions about rights.
    """
    own = authextra.get(_OWN) if isinstance(authextra, dict) else None
    app = own.get("app") if isinstance(own, dict) else None
    return app[:MAX_APP_NAME] if isinstance(app, str) and app else None
