"""The ``flask wamp`` commands."""

from __future__ import annotations

import socket
import sys
import typing as t
from urllib.parse import urlsplit

import click
from flask import Flask, current_app
from flask.cli import AppGroup, ScriptInfo

from .exceptions import WAMPError
from .extension import FlaskWAMP

wamp = AppGroup("wamp", help="Commands for the app's WAMP side.")


@wamp.command("router")
@click.option("--url", help="The router URL to serve, in place of the app's WAMP_ROUTER_URL.")
@click.option(
    "--port", type=click.IntRange(1, 65535), help="Another port than the one of that URL."
)
@click.option("--realm", help="The realm to serve, in place of the app's WAMP_REALM.")
@click.option(
    "--keep",
    metavar="TOPIC",
    multiple=True,
    help="Keep the last 100 events of this topic, for g.wampy.history; 'com.news.' for all that "
    "begin so. May be repeated.",
)
@click.option(
    "--log-level",
    type=click.Choice(["error", "warn", "info", "debug"]),
    default="info",
    show_default=True,
    help="How much Crossbar.io says.",
)
def router(
    url: str | None, port: int | None, realm: str | None, keep: tuple[str, ...], log_level: str
) -> None:
    """Run a development router for this app.

    It is a Crossbar.io node that serves the app's router URL and realm to this machine, and lets
    everybody do everything. Crossbar.io is taken from FLASK_WAMP_CROSSBAR or PATH; where there
    is none, an environment of its own is built in the user's cache folder first.
    """
    from .crossbar import DEFAULT_REALM, DEFAULT_URL, RouterError, serve

    url = url or _setting("WAMP_ROUTER_URL", "CROSSBAR_URL") or DEFAULT_URL
    realm = realm or _setting("WAMP_REALM", "REALM") or DEFAULT_REALM
    _warn_of_authentication()
    try:
        urls = [_with_port(url, port)]
        serve(urls, realm, echo=click.echo, log_level=log_level, keep=keep)
    except RouterError as error:
        raise click.ClickException(str(error)) from None


@wamp.command("worker", with_appcontext=False)
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Processes.")
@click.option("--gevent", is_flag=True, help="Patch with gevent first: handlers are greenlets.")
@click.option("--http", metavar="[HOST]:PORT", help="Serve HTTP too; needs --gevent.")
@click.option("--reload", is_flag=True, help="Restart when the code changes, for development.")
@click.option("--ready-fd", type=int, hidden=True)
@click.option("--listen-fd", type=int, hidden=True)
@click.pass_context
def worker(
    context: click.Context,
    workers: int,
    gevent: bool,
    http: str | None,
    reload: bool,
    ready_fd: int | None,
    listen_fd: int | None,
) -> None:
    """Serve the app's handlers, without an HTTP server.

    SIGTERM and Ctrl-C finish what is in hand, SIGHUP restarts the processes one by one, one that
    dies is replaced.
    """
    if http is not None and not gevent:
        raise click.UsageError("--http needs --gevent: it is gevent's server")
    if ready_fd is not None:
        _work(context, ready_fd, listen_fd, reload)
    else:
        _supervise(workers, gevent, http)


@wamp.command("status")
def status() -> None:
    """Tell who serves the app's procedures.

    Joins the app's realm as the app would, without serving anything, and counts the callees of each
    procedure. The exit code is 1 where the router cannot be joined, or a procedure has no callee.
    """
    from .client.status import callees_of

    client = _extension_of(current_app).client
    click.echo(f"router {client.settings.router_url.shown}, realm {client.settings.realm}")
    try:
        callees = callees_of(client)
    except WAMPError as error:
        raise click.ClickException(str(error)) from None
    for uri, count in sorted(callees.items()):
        click.echo(f"{count:>6} {'callee ' if count == 1 else 'callees'}  {uri}")
    unserved = sorted(uri for uri, count in callees.items() if not count)
    for uri in unserved:
        click.echo(f"Error: {uri} has no callee", err=True)
    sys.exit(bool(unserved))


def _extension_of(app: Flask) -> FlaskWAMP:
    found = app.extensions.get("wamp")
    if not isinstance(found, FlaskWAMP):
        raise click.ClickException("this app has no FlaskWAMP; create one: wamp = FlaskWAMP(app)")
    return found


def _supervise(workers: int, gevent: bool, http: str | None) -> None:
    from .servers.supervisor import Supervisor, listen

    try:
        listener = listen(http) if http is not None else None
    except (OSError, ValueError) as error:
        raise click.ClickException(f"cannot listen on {http}: {error}") from None
    supervisor = Supervisor(sys.argv[1:], workers, gevent=gevent, http=listener, say=click.echo)
    sys.exit(supervisor.run())


def _work(context: click.Context, ready_fd: int, listen_fd: int | None, reload: bool) -> None:
    """What a worker process does."""
    from .servers.worker import tell_supervisor, work

    app = context.ensure_object(ScriptInfo).load_app()
    wamp = _extension_of(app)
    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else None
    with app.app_context():
        client = wamp.client
    sys.exit(work(app, client, tell_supervisor(ready_fd), http=listener, reload=reload))


def _setting(*names: str) -> str | None:
    """What the app configured; read here and not by the extension, which the app need not have."""
    return next(
        (str(current_app.config[name]) for name in names if current_app.config.get(name)), None
    )


def _with_port(url: str, port: int | None) -> str:
    if port is None:
        return url
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return parts._replace(netloc=f"{host}:{port}").geturl()


def _warn_of_authentication() -> None:
    methods: t.Any = current_app.config.get("WAMP_AUTHMETHODS")
    if methods and "anonymous" not in methods:
        click.echo(
            f"Note: the app's WAMP_AUTHMETHODS is {methods!r}, and a development router knows "
            "'anonymous' only: the app cannot join it.",
            err=True,
        )
