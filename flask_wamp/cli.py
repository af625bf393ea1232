"""The ``flask wamp`` commands."""

from __future__ import annotations

import logging
import socket
import sys
import typing as t
from urllib.parse import urlsplit

import click
from flask import Flask, current_app
from flask.cli import AppGroup, ScriptInfo

from .app_state import state_of
from .exceptions import InvalidURI, WAMPError
from .extension import FlaskWAMP
from .handlers.grants import parse_uri
from .protocol.uris import check_uri, resolve
from .transports import RouterURL

_LOG_LEVELS = {
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
}

wamp = AppGroup("wamp", help="Serve and inspect the app's WAMP procedures, and run a router.")


@wamp.command("router")
@click.option(
    "--url",
    "urls",
    multiple=True,
    help="The URL to serve. Default: the app's WAMP_ROUTER_URL. Can be repeated.",
)
@click.option(
    "--port", type=click.IntRange(1, 65535), help="The port to serve. Default: the port of the URL."
)
@click.option("--realm", help="The realm to serve. Default: the app's WAMP_REALM.")
@click.option(
    "--keep",
    metavar="TOPIC",
    multiple=True,
    help="Keep the last 100 events of this topic for g.wampy.history. With a dot at the end, as in "
    "'com.news.', keep those of all topics with this prefix. Can be repeated.",
)
@click.option(
    "--principals",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="A JSON file that defines who may join, and what each role may do.",
)
@click.option(
    "--origin",
    "origins",
    metavar="ORIGIN",
    multiple=True,
    help="Allow web pages of this origin to join, such as http://127.0.0.1:5000. Can be repeated.",
)
@click.option("--tls-cert", metavar="FILE", help="The certificate for wss:// and tls:// URLs.")
@click.option("--tls-key", metavar="FILE", help="The key of the certificate.")
@click.option("--crossbar", is_flag=True, help="Run Crossbar.io instead of the built-in router.")
@click.option(
    "--log-level",
    type=click.Choice(["error", "warn", "info", "debug"]),
    default="warn",
    show_default=True,
    help="The log level of the router.",
)
def router(
    urls: tuple[str, ...],
    port: int | None,
    realm: str | None,
    keep: tuple[str, ...],
    principals: str | None,
    origins: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    crossbar: bool,
    log_level: str,
) -> None:
    """Run a router for this app in the foreground.

    It serves the app's realm. Without --principals, every program on this machine may join and do
    everything, and web pages may join only if their origin is allowed with --origin.

    With --crossbar, the router is a Crossbar.io node for development. Web pages of this machine may
    then join too. The command looks for Crossbar.io in the environment variable
    FLASK_WAMP_CROSSBAR and on PATH. If it finds none, it first builds one in your cache directory.
    """
    realm = realm or _setting("WAMP_REALM", "REALM") or "realm1"
    served = [_with_port(url, port) for url in urls or [_own_url()]]
    if crossbar:
        refused = {"--principals": principals, "--tls-cert": tls_cert}
        for name, value in refused.items():
            if value:
                raise click.UsageError(f"{name} cannot be combined with --crossbar")
        _run_crossbar(served, realm, keep, origins, log_level)
    else:
        _run_router(served, realm, keep, principals, origins, tls_cert, tls_key, log_level)


def _own_url() -> str:
    """Return the app's router URL if a router can listen at it."""
    from .crossbar import DEFAULT_URL

    url = _setting("WAMP_ROUTER_URL", "CROSSBAR_URL")
    return DEFAULT_URL if url is None or url.startswith(("embedded:", "memory:")) else url


def _run_crossbar(
    urls: list[str],
    realm: str,
    keep: tuple[str, ...],
    origins: tuple[str, ...],
    log_level: str,
) -> None:
    from .crossbar import RouterError, serve

    _warn_of_authentication()
    try:
        serve(urls, realm, echo=click.echo, log_level=log_level, keep=keep, origins=origins)
    except RouterError as error:
        raise click.ClickException(str(error)) from None


def _run_router(
    urls: list[str],
    realm: str,
    keep: tuple[str, ...],
    principals: str | None,
    origins: tuple[str, ...],
    tls_cert: str | None,
    tls_key: str | None,
    log_level: str,
) -> None:
    from .router.process.access import read_access
    from .router.process.errors import ListenError
    from .router.process.foreground import serve

    logging.basicConfig(level=_LOG_LEVELS[log_level], format="%(levelname)s: %(message)s")
    if principals is None:
        _warn_of_authentication()
    try:
        access = None if principals is None else read_access(principals)
        serve(
            urls,
            realm,
            access=access,
            origins=origins,
            keep=keep,
            tls_cert=tls_cert,
            tls_key=tls_key,
            say=click.echo,
        )
    except (ListenError, ValueError) as error:
        raise click.ClickException(str(error)) from None


@wamp.command("worker", with_appcontext=False)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="The number of processes.",
)
@click.option(
    "--gevent", is_flag=True, help="Monkey-patch with gevent, and run handlers in greenlets."
)
@click.option("--http", metavar="[HOST]:PORT", help="Also serve HTTP. Requires --gevent.")
@click.option("--reload", is_flag=True, help="Restart when a file changes. For development.")
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
    """Serve the app's handlers in separate processes.

    On SIGTERM and Ctrl-C, the processes finish the calls they have received, and end. On SIGHUP,
    they are replaced one after another. A process that dies is replaced.
    """
    if http is not None and not gevent:
        raise click.UsageError("--http requires --gevent, because it uses gevent's HTTP server")
    if ready_fd is not None:
        _work(context, ready_fd, listen_fd, reload)
    else:
        _supervise(workers, gevent, http)


@wamp.command("status")
def status() -> None:
    """Count the callees of each procedure of the app.

    This joins the app's realm with the app's configuration, but serves nothing. The exit code is 1
    if it cannot join, or if a procedure has no callee.
    """
    from .client.status import callees_of

    client = _extension_of(current_app).client
    click.echo(f"router {_where(client.settings.router_url)}, realm {client.settings.realm}")
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


def _where(url: RouterURL) -> str:
    """Return where the router is. This does not start an embedded router."""
    router = state_of(current_app).own_router
    if router is None or not url.embedded:
        return url.shown
    process_id = router.process_id()
    if process_id is None:
        raise click.ClickException(
            f"no router is running at {router.place.socket}, because no process serves the app"
        )
    return f"embedded:{router.place.socket}, process {process_id}"


@wamp.command("rights")
@click.argument("uri", required=False)
@click.option("--as", "role", metavar="ROLE", help="Show only what this role may do.")
def rights(uri: str | None, role: str | None) -> None:
    """Show who may do what from outside of the app, and which line of code allows it.

    With a URI, such as com.example.add or .add, this explains who may call, register, publish to
    and subscribe to it. A URI with a dot at the end is a prefix, as in wamp.allow.

    This does not connect to a router.
    """
    from .handlers.rights_report import authorizers_table, explain, rights_table

    _extension_of(current_app)  # raises an error if there is none
    state = state_of(current_app)
    try:
        state.client.start_policy.before_serving()  # finds marked views
        policy = state.rights()
        if uri is None:
            lines = rights_table(policy, role) + authorizers_table(state.guards())
        else:
            found, match = parse_uri(resolve(uri, state.prefix))
            if match == "exact":
                check_uri(found, "URI")
            asked = [each for each in state.guards() if each.place(found, match) != "outside"]
            lines = explain(policy, found, match, role) + authorizers_table(asked)
    except (ValueError, InvalidURI) as error:
        raise click.ClickException(str(error)) from None
    for line in lines:
        click.echo(line)


def _extension_of(app: Flask) -> FlaskWAMP:
    found = app.extensions.get("wamp")
    if not isinstance(found, FlaskWAMP):
        raise click.ClickException("this app has no FlaskWAMP. Create one: wamp = FlaskWAMP(app)")
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
    """Serve the app in this process, which the supervisor has started."""
    from .servers.worker import tell_supervisor, work

    app = context.ensure_object(ScriptInfo).load_app()
    wamp = _extension_of(app)
    listener = socket.socket(fileno=listen_fd) if listen_fd is not None else None
    with app.app_context():
        client = wamp.client
    sys.exit(work(app, client, tell_supervisor(ready_fd), http=listener, reload=reload))


def _setting(*names: str) -> str | None:
    """Return the value of the first of these configuration keys that is set.

    This reads ``app.config``, because an app without the extension can run a router too.
    """
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
            f"Note: the app cannot join this router. Its WAMP_AUTHMETHODS is {methods!r}, but a "
            "development router only supports 'anonymous'.",
            err=True,
        )
