"""What all tests share: apps, clients, and a check for leaks."""

from __future__ import annotations

import gc
import threading
import time
import typing as t

import pytest
from flask import Flask, has_app_context, has_request_context

from flask_wamp import FlaskWAMP

pytest_plugins = ["flask_wamp.testing"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--router``, for ``tests/router``."""
    parser.addoption(
        "--router",
        choices=("crossbar", "embedded"),
        default="crossbar",
        help="what tests/router runs against: Crossbar.io (the default), or the built-in router",
    )


def pytest_collection_finish() -> None:
    """Exclude existing objects from garbage collections, so that one after each test is cheap."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish() -> None:
    """Undo that, so that the interpreter ends as usual."""
    gc.unfreeze()


def eventually(condition: t.Callable[[], t.Any], timeout: float = 30.0) -> t.Any:
    """Wait until a condition is true. Return its value."""
    deadline = time.monotonic() + timeout
    pause = threading.Event()
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            assert value, f"still not so after {timeout} s"
            return value
        pause.wait(0.005)


def our_threads(besides: t.Collection[threading.Thread] = ()) -> list[str]:
    """The names of the library's threads that are alive."""
    threads = [thread for thread in threading.enumerate() if thread not in besides]
    return [thread.name for thread in threads if thread.name.startswith("wamp-")]


@pytest.fixture(autouse=True)
def no_leaks() -> t.Iterator[None]:
    """Fail a test that leaves a thread or a pushed context behind, and only that test."""
    earlier = set(threading.enumerate())
    yield
    assert not has_app_context(), "an app context is still pushed"
    assert not has_request_context(), "a request context is still pushed"
    eventually(lambda: not our_threads(besides=earlier))


@pytest.fixture
def make_app() -> t.Iterator[t.Callable[..., Flask]]:
    """Create apps with a configuration from keyword arguments. Their clients are stopped after the test."""
    apps: list[Flask] = []

    def make(name: str = "tests", **config: t.Any) -> Flask:
        app = Flask(name)
        if "CROSSBAR_URL" not in config:
            config.setdefault("WAMP_ROUTER_URL", "ws://127.0.0.1:8080/ws")
        app.config.update(TESTING=True, WAMP_URI_PREFIX="com.example", **config)
        apps.append(app)
        return app

    yield make
    for app in apps:
        extension = app.extensions.get("wamp")
        if extension is not None:
            with app.app_context():
                extension.stop()
    gc.collect()


@pytest.fixture
def join(make_app: t.Callable[..., Flask]) -> t.Callable[..., tuple[Flask, FlaskWAMP]]:
    """Create an app with the extension that joins. ``setup(wamp)`` declares its handlers before."""

    def joined(
        url: str, setup: t.Callable[[FlaskWAMP], t.Any] = lambda wamp: None, **config: t.Any
    ) -> tuple[Flask, FlaskWAMP]:
        app = make_app(WAMP_ROUTER_URL=url, **config)
        wamp = FlaskWAMP(app)
        setup(wamp)
        wamp.start()
        wamp.client.wait_until_joined(10)
        return app, wamp

    return joined
