"""A router in the foreground, for ``flask wamp router``."""

from __future__ import annotations

import asyncio
import signal
import ssl
import time
import typing as t

from ...concurrency import systemd
from ...transports.urls import RouterURL, parse_router_url
from .. import KeptEvents, Router, RouterSettings
from . import event_loop
from .access import Access
from .errors import ListenError
from .listeners import Listener
from .server import RouterServer, allow_many_files

#: Seconds for GOODBYE at the end.
STOP_TIMEOUT = 5.0

Say = t.Callable[[str], object]


def _say(line: str) -> None:
    """Print a line at once, because standard output may be a pipe."""
    print(line, flush=True)


def serve(
    urls: t.Sequence[str],
    realm: str,
    *,
    access: Access | None = None,
    origins: t.Sequence[str] = (),
    keep: t.Sequence[str] = (),
    tls_cert: str | None = None,
    tls_key: str | None = None,
    say: Say = _say,
) -> None:
    """Run a router until SIGINT, SIGTERM or SIGHUP. Call it in the main thread.

    Without principals, only programs on this machine may join, and web pages of ``origins``. Programs send no
    ``Origin``.

    :param urls: The URLs to listen at.
    :param origins: Origins such as ``http://127.0.0.1:5000``, or ``*``.
    :param keep: Topics whose last 100 events are kept. A topic that ends in a dot is a prefix.
    :param say: Called with each line for the terminal.
    :raises ListenError: The router cannot listen at a URL.
    :raises ValueError: A URL is not valid.
    """
    parsed = [parse_router_url(url) for url in urls]
    tls = _tls(tls_cert, tls_key)
    kept = tuple(
        KeptEvents(topic, "prefix" if topic.endswith(".") else "exact", 100) for topic in keep
    )
    settings = RouterSettings(realms=(realm,), history=kept)
    allow_many_files()
    event_loop.run(_run(parsed, settings, access or Access(), origins, tls, say))


def _tls(cert: str | None, key: str | None) -> ssl.SSLContext | None:
    if cert is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key, password=_no_password)
    except (OSError, ValueError) as error:
        raise ListenError(f"cannot use the certificate {cert}: {error}") from error
    return context


def _no_password() -> str:
    raise ValueError("its key is encrypted; use a key without a password")


async def _run(
    urls: t.Sequence[RouterURL],
    settings: RouterSettings,
    access: Access,
    origins: t.Sequence[str],
    tls: ssl.SSLContext | None,
    say: Say,
) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    router = Router(
        settings,
        clock=loop.time,
        wall_clock=time.time_ns,
        authenticator=access.authenticator,
        authorizer=access.authorizer,
    )
    server = RouterServer(router)
    allowed = None if "*" in origins else [None, *origins]
    listeners: list[Listener] = []
    try:
        for url in urls:
            listeners.append(
                Listener(server, url, origins=allowed, tls=tls, loopback_only=access.is_open)
            )
        where = ", ".join(listener.url.shown for listener in listeners)
        (realm,) = settings.realms or ("",)
        say(f"router ready on {where}, realm {realm}")
        say(_who_may(access, origins))
        systemd.ready(f"listening on {where}")
        await ended.wait()
        systemd.stopping()
    finally:
        for listener in listeners:
            listener.close()
        await server.stop(STOP_TIMEOUT)


def _who_may(access: Access, origins: t.Sequence[str]) -> str:
    pages = f"web pages of {', '.join(origins)}" if origins else "no web pages"
    if access.is_open:
        return f"open to every program on this machine, and to {pages}"
    return f"open to its principals, and to {pages}"
