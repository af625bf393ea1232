"""Pytest fixtures with a real router. They are there as soon as Flask-WAMP is installed.

Without a Crossbar the tests that ask for one are skipped; it is never built unasked. Two
environment variables change that: ``FLASK_WAMP_BUILD_CROSSBAR=1`` builds it,
``FLASK_WAMP_REQUIRE_ROUTER=1`` fails the tests.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import tempfile
import typing as t
from pathlib import Path

import pytest

from ..crossbar import (
    DEFAULT_REALM,
    DevRouter,
    RouterError,
    ensure_crossbar,
    find_crossbar,
    free_port,
)

MakeRouter = t.Callable[..., DevRouter]
"""What :func:`make_wamp_router` is: takes what :class:`~flask_wamp.crossbar.DevRouter` takes."""


@contextlib.contextmanager
def routers(logs: Path, kind: MakeRouter | None = None) -> t.Iterator[MakeRouter]:
    """Return what starts routers; they are stopped at the end of the ``with`` block.

    :param logs: The folder of their logs.
    :param kind: Makes a router that is not started; Crossbar.io by default.
    """
    new = kind or functools.partial(DevRouter, crossbar=_crossbar())
    count = itertools.count(1)
    with contextlib.ExitStack() as stack:

        def make(
            urls: t.Sequence[str] | None = None, realm: str = DEFAULT_REALM, **options: t.Any
        ) -> DevRouter:
            urls = urls or _free_urls(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="wamp-"))
            )
            options.setdefault("log", logs / f"router-{next(count)}.log")
            return stack.enter_context(new(urls, realm, **options))

        yield make


@pytest.fixture(scope="session")
def make_wamp_router(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[MakeRouter]:
    """Start routers that are configured like no other; they are stopped when the tests are over.

    ``make_wamp_router(realm="realm1", **options)`` returns a ready
    :class:`~flask_wamp.crossbar.DevRouter` with a WebSocket, a RawSocket and a Unix socket URL on
    free ports, unless ``urls`` names others. ``auto_ping_interval_ms``, ``auth`` and more are
    options of :func:`~flask_wamp.crossbar.node_config`. Its log is in the file ``.log``.
    """
    with routers(tmp_path_factory.mktemp("wamp-router")) as make:
        yield make


@pytest.fixture(scope="session")
def wamp_router(make_wamp_router: MakeRouter) -> DevRouter:
    """Run a real Crossbar node on free ports, one for all tests.

    Its attributes are ``url``, ``rawsocket_url``, ``unix_url``, ``realm``. A test may ``stop()``,
    ``kill()`` and ``restart()`` it on the same URLs, and leaves it running.
    """
    return make_wamp_router()


def _crossbar() -> Path:
    if os.environ.get("FLASK_WAMP_BUILD_CROSSBAR") == "1":
        return ensure_crossbar()
    try:
        crossbar = find_crossbar()
    except RouterError as error:
        _absent(str(error))
    if crossbar is None:
        _absent(
            "there is no Crossbar.io: run `python -m flask_wamp.crossbar --build` once, or set "
            "FLASK_WAMP_BUILD_CROSSBAR=1"
        )
    return crossbar


def _absent(reason: str) -> t.NoReturn:
    if os.environ.get("FLASK_WAMP_REQUIRE_ROUTER") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def _free_urls(folder: str) -> tuple[str, str, str]:
    port = free_port()
    return (
        f"ws://127.0.0.1:{port}/ws",
        f"tcp://127.0.0.1:{free_port()}",
        f"unix://{folder}/router.sock",
    )
