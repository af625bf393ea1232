"""Flask-Login's ``current_user`` in handlers with ``request_context=True``: the user who calls or publishes.

Over HTTP, Flask-Login finds the user by a cookie. A WAMP message has none, but the router says which identity
has sent it. The user is loaded by the app's ``user_loader``, when ``current_user`` is first used.
"""

from __future__ import annotations

import typing as t

from flask import Flask, Request

from ..protocol.identity import Identity

ENVIRON_KEY = "flask_wamp.sender"
"""The key in the WSGI environ of a handler's request for the :class:`Identity` of the sender, or None."""

IsUser = t.Callable[[Identity], bool]
"""Returns whether an identity may be that of a user. Devices and other principals are none."""


def use_sender(app: Flask, is_user: IsUser) -> None:
    """Let the senders of messages be users for Flask-Login, if the app has a login manager.

    Call this for each request of a handler, because the app may set up Flask-Login or its own
    ``request_loader`` at any time.
    """
    manager: t.Any = getattr(app, "login_manager", None)
    if manager is None or isinstance(manager._request_callback, _SenderLoader):
        return
    manager.request_loader(_SenderLoader(manager, manager._request_callback, is_user))


class _SenderLoader:
    """The ``request_loader`` of a login manager. It calls the app's own one for requests over HTTP."""

    def __init__(
        self, manager: t.Any, inner: t.Callable[[Request], t.Any] | None, is_user: IsUser
    ) -> None:
        self._manager = manager
        self._inner = inner
        self._is_user = is_user

    def __call__(self, request: Request) -> t.Any:
        if ENVIRON_KEY not in request.environ:
            return self._inner(request) if self._inner is not None else None
        sender: Identity | None = request.environ[ENVIRON_KEY]
        return self._user(sender) if sender is not None and self._is_user(sender) else None

    def _user(self, sender: Identity) -> t.Any:
        """Return the user whose id is the ``authid`` of the sender. None if there is no such user."""
        load = self._manager._user_callback
        if load is None:
            return None
        try:
            user = load(sender.authid)
        except (TypeError, ValueError):  # the authid of another client, where ids are numbers
            return None
        # A loader may accept another text for the same id, such as " 7".
        return user if user is not None and str(user.get_id()) == sender.authid else None
