"""The browser session in which a user has logged in. Logging out ends the WAMP sessions opened from it.

The id of a browser session is in Flask's session, beside the data of Flask-Login. The router gets it with the
connection or the ticket. Clients do not get it.
"""

from __future__ import annotations

import os
import time
import typing as t

from flask import Flask, request, request_started, session
from flask.sessions import NullSession

from .._text import get_logger
from ..exceptions import WAMPError

logger = get_logger("flask_wamp")

KEY: t.Final = "_wamp_login"


def has_login_manager(app: Flask) -> bool:
    """Return whether an app uses Flask-Login. The app may initialize it after this extension."""
    return getattr(app, "login_manager", None) is not None


def browser_session(app: Flask) -> tuple[str, float] | None:
    """Return the id of the current browser session and the start time of its login, or None.

    A login without an id gets one, except during an upgrade to WebSocket: its response cannot set a cookie.

    :returns: The id, and seconds since 1970. None if there is no id, or the app does not use Flask-Login.
    """
    if not has_login_manager(app) or isinstance(session, NullSession):
        return None
    found = session.get(KEY)
    if found is None and request.headers.get("Upgrade") is None:
        found = _begin()
    if not (isinstance(found, list) and len(found) == 2):
        return None
    browser, since = found
    return str(browser), float(since)


def _begin() -> list[t.Any]:
    session[KEY] = found = [os.urandom(16).hex(), time.time()]
    return found


class LoginSignals:
    """Receives Flask-Login's signals, starting with the app's first request.

    :param end_login: Takes the id of a browser session and an authid. Ends the WAMP sessions of the browser
        session, and the sessions of the authid whose browser session is unknown.
    :param sign_out: Takes an authid. Ends all its WAMP sessions.
    """

    def __init__(
        self,
        app: Flask,
        end_login: t.Callable[[str, str], object],
        sign_out: t.Callable[[str], object],
    ) -> None:
        self._app = app
        self._end_login = end_login
        self._sign_out = sign_out
        # The app may initialize its login manager after this extension.
        request_started.connect(self._connect, app)

    def _connect(self, app: Flask, **payload: object) -> None:
        if has_login_manager(app):
            from flask_login import user_loaded_from_cookie, user_logged_in, user_logged_out

            user_logged_in.connect(self._logged_in, app)
            user_loaded_from_cookie.connect(self._remembered, app)
            user_logged_out.connect(self._logged_out, app)
        request_started.disconnect(self._connect, app)

    def _logged_in(self, app: Flask, **payload: object) -> None:
        self._end_present("")  # the login of the previous user, if there is one
        _begin()

    def _remembered(self, app: Flask, **payload: object) -> None:
        if KEY not in session and request.headers.get("Upgrade") is None:
            _begin()

    def _logged_out(self, app: Flask, user: t.Any = None, **payload: object) -> None:
        authid = str(user.get_id()) if getattr(user, "is_authenticated", False) else ""
        if not self._end_present(authid) and authid:
            # Flask's session was already cleared, so it is unknown which WAMP sessions are this browser's.
            self._try(self._sign_out, authid)

    def _end_present(self, authid: str) -> bool:
        """End the current login. Return whether its id is known."""
        found = session.pop(KEY, None)
        if not isinstance(found, list) or not found:
            return False
        self._try(self._end_login, str(found[0]), authid)
        return True

    def _try(self, end: t.Callable[..., object], *whose: str) -> None:
        """Call ``end``, and log its error: a logout must not fail because the router is unreachable."""
        try:
            end(*whose)
        except WAMPError as error:
            logger.error("cannot end the WAMP sessions of a user who logged out: %s", error)
        except Exception:
            logger.exception("cannot remember that a user logged out")
