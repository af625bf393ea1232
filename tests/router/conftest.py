"""Routers, peers and apps that the router tests share.

``--router`` chooses the router: Crossbar.io, or the built-in one. If the two differ, a test uses
``on_crossbar`` and says why. Tests of features that only Crossbar.io has are marked ``crossbar``, with the
reason. With the built-in router they are deselected, and the end of the run lists the reasons.
"""

from __future__ import annotations

import collections
import gc
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from flask_wamp.crossbar import DevRouter
from flask_wamp.testing.fixtures import routers
from tests.support.built_in import BuiltInRouter
from tests.support.nodes import Node
from tests.support.peers import AutobahnPeer
from tests.support.served import Serve, Served

if t.TYPE_CHECKING:
    from flask_wamp.testing import MakeRouter

Joined = tuple[Flask, FlaskWAMP]

HERE = Path(__file__).parent
_LEFT_OUT = pytest.StashKey[collections.Counter[str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect tests of features that only Crossbar.io has, unless it is the router."""
    if config.getoption("--router") == "crossbar":
        return
    reasons: dict[pytest.Item, str] = {}
    for item in items:
        marker = item.get_closest_marker("crossbar") if HERE in item.path.parents else None
        if marker is not None:
            (reasons[item],) = marker.args
    items[:] = [item for item in items if item not in reasons]
    config.hook.pytest_deselected(items=list(reasons))
    config.stash[_LEFT_OUT] = collections.Counter(reasons.values())


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """List the deselected tests, with reasons."""
    left_out = config.stash.get(_LEFT_OUT, collections.Counter())
    if left_out:
        terminalreporter.section("what only Crossbar.io has")
        for reason, count in sorted(left_out.items()):
            terminalreporter.line(f"{count:>4} tests: {reason}")


@pytest.fixture(scope="session")
def on_crossbar(request: pytest.FixtureRequest) -> bool:
    """Whether the router is Crossbar.io, for tests where it differs from the built-in one."""
    return bool(request.config.getoption("--router") == "crossbar")


@pytest.fixture(scope="session")
def make_wamp_router(
    on_crossbar: bool, tmp_path_factory: pytest.TempPathFactory
) -> t.Iterator[MakeRouter]:
    """Start routers of the kind of ``--router``. All kinds take the same options."""
    with routers(
        tmp_path_factory.mktemp("wamp-router"), None if on_crossbar else BuiltInRouter
    ) as make:
        yield make


@pytest.fixture(scope="session", autouse=True)
def cheap_garbage_collection() -> None:
    """Exclude imported objects from the garbage collection after each test. It saves 60 ms, 500 times."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def router_class(on_crossbar: bool, make_wamp_router: MakeRouter) -> type[DevRouter]:
    """A function that creates a router without starting it."""
    return DevRouter if on_crossbar else BuiltInRouter


@pytest.fixture(scope="session")
def autobahn(wamp_router: DevRouter) -> t.Iterator[AutobahnPeer]:
    """One autobahn session on the shared router; use ``peer``."""
    with AutobahnPeer(wamp_router.rawsocket_url) as peer:
        yield peer


@pytest.fixture
def peer(autobahn: AutobahnPeer) -> t.Iterator[AutobahnPeer]:
    """An autobahn session on the shared router, with nothing declared."""
    yield autobahn
    autobahn.reset()


@pytest.fixture
def denied(on_crossbar: bool) -> str:
    """The reasons of ABORT for a wrong secret: the specification's URI, and Crossbar's own."""
    return "wamp.error.not_authorized" if on_crossbar else "wamp.error.authentication_denied"


@pytest.fixture
def joined(join: t.Callable[..., Joined], wamp_router: DevRouter) -> Joined:
    """An app, and its extension, that has joined the shared router."""
    return join(wamp_router.rawsocket_url)


@pytest.fixture
def app(joined: Joined) -> Flask:
    """An app that has joined the shared router."""
    return joined[0]


@pytest.fixture
def wamp(joined: Joined) -> FlaskWAMP:
    """Its extension. Decorated functions are registered at once."""
    return joined[1]


@pytest.fixture(scope="session")
def node(make_wamp_router: MakeRouter, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A node with authentication, pings, TLS, and a realm that discloses no callers."""
    node = Node.make(tmp_path_factory.mktemp("certificate"))
    node.routers.append(make_wamp_router(node.urls, config=node.config))
    return node


@pytest.fixture(scope="session")
def historian(make_wamp_router: MakeRouter) -> DevRouter:
    """A router that keeps events of ``com.kept`` and below ``com.past``, and has a realm ``strict``.

    No session of that realm may use the meta API.
    """
    everything = dict.fromkeys(("call", "register", "publish", "subscribe"), True)
    permission = {"uri": "com.", "match": "prefix", "allow": everything}
    strict = {"name": "anonymous", "permissions": [permission]}
    return make_wamp_router(
        event_history=[
            {"uri": "com.kept", "limit": 5},
            {"uri": "com.past.", "match": "prefix", "limit": 100},
        ],
        realms=[{"name": "strict", "roles": [strict]}],
    )


@pytest.fixture
def serve(wamp_router: DevRouter, tmp_path: Path) -> Serve:
    """Start servers of ``apps/shop.py`` on the shared router."""

    def serve(*command: str, **environ: str) -> Served:
        return Served(command, wamp_router.rawsocket_url, tmp_path / "server.log", **environ)

    return serve
