"""Pytest fixtures for a real router. They are available as soon as Flask-WAMP is installed.

If there is no Crossbar.io, tests that use these fixtures are skipped: Crossbar.io is not built by default.
Set ``FLASK_WAMP_BUILD_CROSSBAR=1`` to build it, or ``FLASK_WAMP_REQUIRE_ROUTER=1`` to fail the tests instead.
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
"""The type of :func:`make_wamp_router`. It takes the arguments of :class:`~flask_wamp.crossbar.DevRouter`."""


@contextlib.contextmanager
def routers(logs: Path, kind: MakeRouter | None = None) -> t.Iterator[MakeRouter]:
    """Return a function that starts routers. The end of the ``with`` block stops them.

    :param logs: The folder for the log files of the routers.
    :param kind: Creates a router without starting it. The default creates Crossbar.io nodes.
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
    """Start routers with a configuration of your own. They are stopped after the last test.

    ``make_wamp_router(realm="realm1", **options)`` returns a ready
    :class:`~flask_wamp.crossbar.DevRouter` with a WebSocket, a RawSocket and a Unix socket URL on
    free ports, unless you pass other ``urls``. The options are those of
    :func:`~flask_wamp.crossbar.node_config`, such as ``auto_ping_interval_ms`` and ``auth``. The attribute
    ``log`` is the path of the log file.
    """
    with routers(tmp_path_factory.mktemp("wamp-router")) as make:
        yield make


@pytest.fixture(scope="session")
def wamp_router(make_wamp_router: MakeRouter) -> DevRouter:
    """Run one Crossbar.io node on free ports for all tests.

    Its attributes are ``url``, ``rawsocket_url``, ``unix_url`` and ``realm``. A test may ``stop()``,
    ``kill()`` and ``restart()`` it on the same URLs. At the end of the test it must be running.
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
