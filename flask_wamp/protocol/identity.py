"""Who a session is: the identity that a router grants, and that rights are checked against.

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

    authmethod: str = "anonymous"
    """How the session was authenticated: ``ticket``, ``wampcra``, ``scram``, ``cryptosign``..."""

    authprovider: str = "static"
    """What authenticated the session: ``static`` for a table of principals, ``dynamic`` for a function."""


@dataclasses.dataclass(frozen=True)
class BrowserIdentity(Identity):
    """A user of the app, with the browser session that the user has logged in with.

    The additional fields stay between the app and its router: no client receives them.
    """

    browser: str = dataclasses.field(default="", repr=False)
    """The id of the browser session; empty where the app does not know one."""

    since: float = 0.0
    """When the user logged in, in seconds since 1970."""

    ended: bool = False
    """Whether the app knows that this login has ended: the router refuses it."""

    app: str = ""
    """The app that has let the session in, by the prefix of its own URIs. Its rules are for this session."""


#: Characters of an application's name that others see.
MAX_APP_NAME = 100

_OWN = "flask_wamp"


def app_extra(app: str | None) -> dict[str, object]:
    """Return what ``authextra`` says about the application that a session belongs to.

    :param app: The application's name; None: the session does not belong to one.
    """
    return {_OWN: {"app": app[:MAX_APP_NAME]}} if app else {}


def app_of(authextra: object) -> str | None:
    """Return the name of the application that ``authextra`` names. None if it names none.

    The client chooses the name, and nothing proves it: do not decide anything about rights with it.
    """
    own = authextra.get(_OWN) if isinstance(authextra, dict) else None
    app = own.get("app") if isinstance(own, dict) else None
    return app[:MAX_APP_NAME] if isinstance(app, str) and app else None
