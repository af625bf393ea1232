"""The sender of a request, from the app's authenticator, or from Flask-Login if the app uses it."""

from __future__ import annotations

import dataclasses
import json
import time
import typing as t

from flask import Flask, Request, abort, current_app, request
from werkzeug.wrappers import Response

from ..protocol.identity import BrowserIdentity, Identity
from .browser_sessions import browser_session, has_login_manager

Authenticators = t.Mapping[str | None, t.Callable[[Request], object]]
"""An app's authenticators by realm. None stands for any realm."""


class Identifier:
    """Identifies the sender of the current request.

    :param authenticators: The authenticators of the app. More may be added later.
    :param has_ended: Returns whether the login of an identity has ended.
    """

    def __init__(
        self,
        app: Flask,
        realm: str,
        authenticators: Authenticators,
        has_ended: t.Callable[[BrowserIdentity], bool] = lambda identity: False,
    ) -> None:
        self._app = app
        self._realm = realm
        self._authenticators = authenticators
        self._has_ended = has_ended

    def __call__(self) -> BrowserIdentity | None:
        """Return the identity of the sender, or None if the sender is unknown.

        :raises TypeError: The authenticator returned something other than an :class:`Identity` or None.
        :raises HTTPException: The authenticator refused the request.
        """
        authenticator = self._authenticators.get(self._realm) or self._authenticators.get(None)
        if authenticator is None:
            found = current_identity()
        else:
            sender = request._get_current_object()  # type: ignore[attr-defined]
            found = _checked(self._app.ensure_sync(authenticator)(sender), authenticator)
        if found is None:
            return None
        browser, since = browser_session(self._app) or ("", time.time())
        # Set authmethod and authprovider here: those of the app's own processes would give all rights.
        identity = BrowserIdentity(
            found.authid, found.authrole, dict(found.authextra), "cookie", "dynamic", browser, since
        )
        return dataclasses.replace(identity, ended=self._has_ended(identity))


def current_identity() -> Identity | None:
    """Return the user of Flask-Login with the role ``user``, or None if no user is logged in."""
    if not has_login_manager(current_app):
        return None
    from flask_login import current_user

    user: t.Any = current_user
    if not user.is_authenticated:
        return None
    return Identity(str(user.get_id()), "user")


_REMEDIES: t.Final = {
    "authid": "use a string that is not empty, such as str(user.id)",
    "authrole": "use the name of one role, such as 'user'",
}


def _checked(found: object, authenticator: t.Callable[..., object]) -> Identity | None:
    """Check the return value of an authenticator and return it.

    A response with a status of 300 or more refuses the request, such as the one of ``login_required``. A
    redirect becomes 401, because a script in the browser would follow it and get the login page.
    """
    if isinstance(found, Response) and found.status_code >= 300:
        if found.status_code < 400:
            abort(401)
        abort(found)
    if found is None:
        return None
    name = getattr(authenticator, "__qualname__", repr(authenticator))
    if not isinstance(found, Identity):
        raise TypeError(
            f"the authenticator {name} returned {found!r:.100}; return "
            "Identity(authid=..., authrole=...), or None if the sender is unknown"
        )
    for field, remedy in _REMEDIES.items():
        value = getattr(found, field)
        if not isinstance(value, str) or not value:
            raise TypeError(
                f"the authenticator {name} returned an Identity with {field}={value!r:.100}; {remedy}"
            )
    try:
        json.dumps(dict(found.authextra), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"the authenticator {name} returned an Identity whose authextra cannot be sent: {error}"
        ) from error
    return found
