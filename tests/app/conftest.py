"""Apps on a router in memory."""

from __future__ import annotations

import contextlib
import typing as t
from pathlib import Path

import pytest
from flask import Flask, current_app

from flask_wamp import FlaskWAMP, signals
from flask_wamp.router.features import ROLES
from tests.support.memory import MemoryRouter
from tests.support.reports import Reports
from tests.support.told import Told

Setup = t.Callable[[FlaskWAMP], t.Any]
Serve = t.Callable[..., tuple[Flask, FlaskWAMP]]
Lack = t.Callable[..., None]


@pytest.fixture
def router(monkeypatch: pytest.MonkeyPatch) -> MemoryRouter:
    """The router that every client of this process finds, whatever its URL.

    It does not announce the session meta API for procedures, so that no client asks at its own time who else
    serves a procedure: many tests count messages.
    """
    monkeypatch.delitem(ROLES["dealer"]["features"], "session_meta_api")
    router = MemoryRouter()
    monkeypatch.setattr("flask_wamp.peer.attempts.open_transport", router.open)
    return router


@pytest.fixture
def serve(router: MemoryRouter, join: t.Callable[..., tuple[Flask, FlaskWAMP]]) -> Serve:
    """Make an app that has joined the router; ``setup(wamp)`` declares its handlers."""

    def serve(setup: Setup = lambda wamp: None, **config: t.Any) -> tuple[Flask, FlaskWAMP]:
        return join("ws://router.in.memory/ws", setup, **config)

    return serve


@pytest.fixture
def lack(monkeypatch: pytest.MonkeyPatch) -> Lack:
    """Have the router not announce features."""

    def lack(*features: str) -> None:
        for role in ROLES.values():
            for feature in features:
                monkeypatch.delitem(role["features"], feature, raising=False)

    return lack


@pytest.fixture
def reports(tmp_path: Path) -> t.Iterator[Reports]:
    """A listener to which other processes report what they do."""
    with contextlib.closing(Reports(tmp_path)) as reports:
        yield reports


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def failed() -> t.Iterator[Told]:
    """The arguments of the signal: ``(app, task, error, whether in an app context)``."""
    told = Told()

    def receive(sender: Flask, task: t.Any, error: BaseException) -> None:
        told.put((sender, task, error, current_app._get_current_object() is sender))  # type: ignore[attr-defined]

    with signals.task_failed.connected_to(receive):
        yield told
