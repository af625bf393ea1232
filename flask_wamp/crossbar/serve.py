"""Run a Crossbar node in the foreground until it is stopped."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import typing as t

from .build import Echo, ensure_crossbar, say
from .errors import RouterError
from .process import DevRouter

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def interruptible() -> t.Iterator[None]:
    """Leave the block on Ctrl-C, SIGTERM or SIGHUP, without ending the process.

    Further signals are ignored during the cleanup. Use this in the main thread only.
    """
    before = {signum: signal.signal(signum, _interrupt) for signum in _SIGNALS}
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _interrupt(signum: int, frame: object) -> t.NoReturn:
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
    raise KeyboardInterrupt


def serve(
    urls: t.Sequence[str],
    realm: str,
    *,
    echo: Echo = say,
    log_level: str = "info",
    keep: t.Iterable[str] = (),
    origins: t.Iterable[str] = (),
) -> None:
    """Run Crossbar until Ctrl-C or SIGTERM.

    If Crossbar is not installed, an environment is built for it first.

    :param urls: Router URLs of this machine.
    :param realm: The realm to serve.
    :param echo: Called with each line for the user at the terminal.
    :param log_level: Crossbar's log level: ``error``, ``warn``, ``info`` or ``debug``.
    :param keep: Topics whose last 100 events are stored. A topic that ends with a dot is a prefix.
    :param origins: Origins whose web pages may join, in addition to those of this machine.
    :raises RouterError: Crossbar cannot start, or has ended by itself.
    """
    with interruptible():
        crossbar = ensure_crossbar(echo)
        options: dict[str, t.Any] = {"log": echo, "log_level": log_level, "color": _color()}
        options["origins"] = tuple(origins)
        options["event_history"] = [
            {"uri": topic, "match": "prefix" if topic.endswith(".") else "exact", "limit": 100}
            for topic in keep
        ]
        with DevRouter(urls, realm, crossbar=crossbar, **options) as router:
            echo(f"router ready on {', '.join(router.shown_urls)}, realm {realm}")
            code = router.wait()
        raise RouterError(f"Crossbar ended by itself with exit code {code}, see its log above")


def _color() -> bool:
    return sys.stdout.isatty() and "NO_COLOR" not in os.environ
