"""The application factory. Accounts are pages and forms; once logged in, everything is WAMP."""

from __future__ import annotations

import contextlib
import os
import secrets
import typing as t
from pathlib import Path

from flask import Flask, Response, render_template
from flask_login import current_user, login_required
from sqlalchemy.schema import CreateIndex, CreateTable

from . import accounts, chat, presence
from .extensions import csrf, db, login_manager, wamp

#: What the pages may load. "ws: wss:" because the router may be another server.
CONTENT_SECURITY_POLICY = (
    "default-src 'self'; connect-src 'self' ws: wss:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


def create_app(**config: t.Any) -> Flask:
    """Create the application.

    :param config: Takes precedence over the environment, such as ``FLASK_WAMP_ROUTER_URL``.
    """
    app = Flask(__name__, instance_path=str(Path(__file__).with_name("instance")))
    app.config.update(
        SQLALCHEMY_DATABASE_URI="sqlite:///chat.db",  # in the folder "instance"
        WAMP_URI_PREFIX=chat.PREFIX,
        SESSION_COOKIE_SAMESITE="Lax",
        WTF_CSRF_TIME_LIMIT=None,  # the page with the logout button stays open for days
    )
    app.config.from_prefixed_env()
    app.config.update(config)
    app.config["SECRET_KEY"] = app.config["SECRET_KEY"] or stored_key(Path(app.instance_path))

    db.init_app(app)
    csrf.init_app(app)
    login_manager.init_app(app)
    wamp.init_app(app)
    presence.init_app(app)
    app.register_blueprint(accounts.accounts)
    app.add_url_rule("/", view_func=index)
    app.after_request(protect)
    with app.app_context():
        create_tables()
    return app


@login_required
def index() -> str:
    return render_template("chat.html", me=current_user, prefix=chat.PREFIX)


def protect(response: Response) -> Response:
    """Allow no scripts but those in the folder "static", and keep pages out of shared caches."""
    response.headers["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers.setdefault("Cache-Control", "no-store")
    return response


def create_tables() -> None:
    """Create missing tables. ``db.create_all`` fails if several processes start at the same moment."""
    with db.engine.begin() as connection:
        for table in db.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))
            for index in table.indexes:
                connection.execute(CreateIndex(index, if_not_exists=True))


def stored_key(folder: Path) -> str:
    """Return the key that signs the cookies. The first process generates it."""
    path = folder / "secret_key"
    if not path.exists():
        folder.mkdir(exist_ok=True)
        draft = folder / f"secret_key.{os.getpid()}"
        draft.touch(mode=0o600)
        draft.write_text(secrets.token_hex(32))
        with contextlib.suppress(FileExistsError):  # another process was faster
            os.link(draft, path)
        draft.unlink()
    return path.read_text()
