"""The pytest plugin of Flask-WAMP: ``--wamp=memory|embedded|crossbar``, and fixtures for a real router.

pytest imports this module in every environment where Flask-WAMP is installed. So it imports Flask-WAMP only
when a test uses a fixture or the option.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import typing as t
import warnings
from pathlib import Path

import pytest

if t.TYPE_CHECKING:
    from flask import Flask

    from flask_wamp.crossbar import DevRouter
    from flask_wamp.testing import MakeRouter

URL, REALM = "FLASK_WAMP_TESTING_URL", "FLASK_WAMP_TESTING_REALM"
_stack = contextlib.ExitStack()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--wamp``."""
    parser.getgroup("flask-wamp").addoption(
        "--wamp",
        choices=("memory", "embedded", "crossbar"),
        default="memory",
        help="the router for tested apps without WAMP_ROUTER_URL: one in this process (the default), the "
        "embedded router in a process of its own, or Crossbar.io",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line(
        "markers",
        "wamp_memory: needs the router in memory (test clients with an identity); skipped with another "
        "--wamp",
    )


def pytest_sessionstart(session: pytest.Session) -> None:
    """Start the router of ``--wamp`` before the test modules, which may create apps, are imported."""
    chosen, config = session.config.getoption("--wamp"), session.config
    starts_workers = getattr(config.option, "numprocesses", None) and not hasattr(
        config, "workerinput"
    )
    if chosen == "memory" or starts_workers:
        return
    folder = _stack.enter_context(tempfile.TemporaryDirectory(prefix="wamp-"))
    if chosen == "embedded":
        _set(URL, f"embedded:{folder}/router.sock")
        return
    from flask_wamp.testing.fixtures import routers

    try:
        router = _stack.enter_context(routers(Path(folder)))()
    except (pytest.skip.Exception, pytest.fail.Exception) as absent:
        raise pytest.UsageError(f"--wamp=crossbar: {absent}") from None
    _set(URL, router.url)
    _set(REALM, router.realm)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the router."""
    _stack.close()


def _set(name: str, value: str) -> None:
    before = os.environ.get(name)
    os.environ[name] = value
    if before is None:
        _stack.callback(os.environ.pop, name, None)
    else:
        _stack.callback(os.environ.__setitem__, name, before)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip tests that need the router in memory if ``--wamp`` chooses another one."""
    chosen = config.getoption("--wamp")
    if chosen != "memory":
        reason = f"needs the router in memory, not --wamp={chosen}"
        for item in items:
            if item.get_closest_marker("wamp_memory"):
                item.add_marker(pytest.mark.skip(reason=reason))


# Apps that a test leaves joined.

_joined_before: set[Flask] = set()
_joined_for_many: set[Flask] = set()
"""Apps that a fixture of several tests has started."""


def _joined() -> set[Flask]:
    if "flask_wamp.app_state" not in sys.modules:  # no test has used it, so do not import it
        return set()
    from flask_wamp.testing.leftovers import joined

    return joined()


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef: pytest.FixtureDef[t.Any]) -> t.Generator[None, object, object]:
    """Note the apps that a fixture of several tests starts. They may stay joined."""
    if fixturedef.scope == "function":
        return (yield)
    before = _joined()
    try:
        return (yield)
    finally:
        _joined_for_many.update(_joined() - before)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup() -> t.Generator[None, object, object]:
    """Note the apps that are joined before the test."""
    _joined_before.clear()
    _joined_before.update(_joined())
    return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown() -> t.Generator[None, object, object]:
    """Stop the apps that the test has started and not stopped, and warn."""
    result = yield
    mine = _joined() - _joined_before - _joined_for_many
    if mine:
        from flask_wamp.testing.leftovers import LeftBehindWarning, stop_left

        left = stop_left(but=_joined_before | _joined_for_many)
        warnings.warn(
            LeftBehindWarning(
                f"the test has left behind {', '.join(left)}. It was stopped. Use 'with "
                "wamp.test_client()', or call wamp.stop() at the end"
            ),
            stacklevel=1,
        )
    return result


@pytest.fixture(scope="session")
def make_wamp_router(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[MakeRouter]:
    """Start routers with a configuration of your own. They are stopped after the last test.

    ``make_wamp_router(realm="realm1", **options)`` returns a ready ``DevRouter`` with a WebSocket, a
    RawSocket and a Unix socket URL on free ports.
    """
    from flask_wamp.testing.fixtures import routers

    with routers(tmp_path_factory.mktemp("wamp-router")) as make:
        yield make


@pytest.fixture(scope="session")
def wamp_router(make_wamp_router: MakeRouter) -> DevRouter:
    """Run one Crossbar.io node on free ports for all tests: ``url``, ``rawsocket_url``, ``realm``..."""
    return make_wamp_router()
