"""Routers, peers and apps the router tests share."""

from __future__ import annotations

import gc
import typing as t
from pathlib import Path

import pytest
from flask import Flask

from flask_wamp import FlaskWAMP
from tests.support.nodes import Node
from tests.support.peers import AutobahnPeer
from tests.support.served import Serve, Served

if t.TYPE_CHECKING:
    from flask_wamp.crossbar import DevRouter
    from flask_wamp.testing import MakeRouter

Joined = tuple[Flask, FlaskWAMP]


@pytest.fixture(scope="session", autouse=True)
def cheap_garbage_collection() -> None:
    """Spare the collection after each test a look at all that is imported: 60 ms, 500 times."""
    gc.collect()
    gc.freeze()


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
def joined(join: t.Callable[..., Joined], wamp_router: DevRouter) -> Joined:
    """An app, and its extension, that has joined the shared router."""
    return join(wamp_router.rawsocket_url)


@pytest.fixture
def app(joined: Joined) -> Flask:
    """An app that has joined the shared router."""
    return joined[0]


@pytest.fixture
def wamp(joined: Joined) -> FlaskWAMP:
    """Its extension: what is decorated is registered at once."""
    return joined[1]


@pytest.fixture(scope="session")
def node(make_wamp_router: MakeRouter, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A node with authentication, pings, TLS, and a realm that discloses nobody."""
    node = Node.make(tmp_path_factory.mktemp("certificate"))
    node.routers.append(make_wamp_router(node.urls, config=node.config))
    return node


@pytest.fixture(scope="session")
def historian(make_wamp_router: MakeRouter) -> DevRouter:
    """A router that keeps events of ``com.kept`` and below ``com.past``, and has a realm ``strict``.

    There nobody may use the meta API.
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
