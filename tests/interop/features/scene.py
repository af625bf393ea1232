"""One cell of the table, and one row of it."""

from __future__ import annotations

import dataclasses
import threading
import typing as t

import pytest

from flask_wamp import ApplicationError
from flask_wamp.client.client import Client
from tests import conftest
from tests.support import peers

from ..sides import Ours


@dataclasses.dataclass(frozen=True)
class Scene:
    """One cell."""

    ours: Ours
    peer: peers.AutobahnPeer
    prefix: str
    second: int
    """The ``CALL.Options.timeout`` with which the router waits one second."""

    @property
    def client(self) -> Client:
        """The app's client, with the timeout of the cell."""
        return self.ours.client.with_options(timeout=peers.patience())

    def uri(self, name: str) -> str:
        return f"{self.prefix}.{name}"


@dataclasses.dataclass(frozen=True)
class Feature:
    """A row of the table."""

    name: str
    section: str
    title: str
    run: t.Callable[[Scene], None]
    kills: bool = False
    """Whether the peer has ended afterwards."""
    once: bool = False
    """Whether one transport is enough, because the feature takes a second."""
    authenticates: bool = False
    """Whether it needs a router with users."""


def feature(
    section: str, title: str, **traits: bool
) -> t.Callable[[t.Callable[[Scene], None]], Feature]:
    """Create a row from a function."""
    return lambda run: Feature(run.__name__, section, title, run, **traits)


def error_of(f: t.Callable[[], t.Any]) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        f()
    return caught.value


def wait(event: threading.Event) -> None:
    assert event.wait(peers.patience()), "it did not happen in time"


def eventually(condition: t.Callable[[], t.Any]) -> None:
    conftest.eventually(condition, peers.patience())


def procedure(scene: Scene, kind: str = "echo", **behaviour: t.Any) -> peers.Procedure:
    return scene.peer.register(scene.uri("f"), kind, **behaviour)
