"""Who sends a request: by Flask-Login, where the app has it."""

from __future__ import annotations

import typing as t

from flask import Request, current_app

from ..protocol.identity import Identity


def current_identity(request: Request) -> Identity | None:
    """Return who has logged in; None: nobody.

    With Flask-Login that is its ``current_user``, in the role ``user``. Without it nobody is known.
    """
    if getattr(current_app, "login_manager", None) is None:
        return None
    from flask_login import current_user

    user: t.Any = current_user
    if not user.is_authenticated:
        return None
    return Identity(str(user.get_id()), "user")
