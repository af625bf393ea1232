"""Apps with their own router, in real servers."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import typing as t
from pathlib import Path

import pytest

from flask_wamp.testing import MakeRouter
from tests.conftest import eventually
from tests.support.served import STARTS_WITHIN, Served

from .crossbar_node import AskingNode

Serve = t.Callable[..., Served]


def stop_router(socket: Path) -> None:
    """Stop the embedded router of a socket, and any that an app starts meanwhile, until there is none."""
    info = Path(f"{socket}.json")

    def is_gone() -> bool:
        try:
            os.kill(json.loads(info.read_text())["pid"], signal.SIGTERM)
        except (FileNotFoundError, ProcessLookupError):
            return True
        except ValueError:  # it is being written
            return False
        return not info.exists()

    eventually(is_gone)


@pytest.fixture
def socket(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Path]:
    """The socket of a router for this test. Its path is short, as paths of sockets must be."""
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    yield folder / "wamp.sock"
    stop_router(folder / "wamp.sock")


def embedded(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Yield the app's configuration for its own router."""
    request.addfinalizer(functools.partial(stop_router, folder / "wamp.sock"))
    return {"FLASK_WAMP_ROUTER_URL": f"embedded:{folder / 'wamp.sock'}"}


def crossbar(request: pytest.FixtureRequest, folder: Path) -> dict[str, str]:
    """Run Crossbar.io with the app as its authorizer. Yield the app's configuration."""
    make: MakeRouter = request.getfixturevalue("make_wamp_router")
    node = AskingNode(folder / "wamp.sock", ["member", "admin", "user", "device", "anonymous"])
    node.auth["anonymous"] = {"type": "static", "role": "anonymous"}
    make([node.app_url, node.browsers_url], config=node.config)
    return node.environ


BOTH_ROUTERS = pytest.mark.parametrize(
    "router", [embedded, pytest.param(crossbar, marks=pytest.mark.router)], indirect=True
)
"""Run the tests of a module that use ``router`` with the embedded router and with Crossbar.io."""


@pytest.fixture(scope="module")
def router(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The app's configuration for a router."""
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    environ: dict[str, str] = request.param(request, folder)
    return environ


@pytest.fixture(scope="module")
def club(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Served]:
    """``apps/club.py`` in two workers, for all tests of a module."""
    folder = tmp_path_factory.mktemp("r")
    folder.chmod(0o700)
    url = f"embedded:{folder / 'wamp.sock'}"
    command = ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "club:app"]
    with Served(command, url, folder / "server.log", FLASK_WAMP_ROUTER_URL=url) as server:
        ready(server)
        yield server
    stop_router(folder / "wamp.sock")


@pytest.fixture
def serve(socket: Path, tmp_path: Path) -> Serve:
    """Start servers of ``apps/browsed.py``."""

    def serve(*command: str, **environ: str) -> Served:
        url = f"embedded:{socket}"
        environ = {"FLASK_WAMP_ROUTER_URL": url, **environ}
        return Served(command, url, tmp_path / "server.log", **environ)

    return serve


@contextlib.contextmanager
def two_workers(
    name: str, environ: dict[str, str], folders: pytest.TempPathFactory
) -> t.Iterator[Served]:
    """An app of ``tests/support/apps`` in two workers of gunicorn, which have joined."""
    command = ["gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", f"{name}:app"]
    with Served(command, "", folders.mktemp(name) / "server.log", **environ) as server:
        ready(server)
        yield server


def ready(server: Served) -> None:
    """Wait until all processes of a server serve HTTP and have joined."""
    joined: set[int] = set()

    def all_have() -> bool:
        answer = server.get("/ready")
        if answer["joined"]:
            joined.add(answer["pid"])
        return len(joined) >= server.processes

    eventually(all_have, STARTS_WITHIN)
