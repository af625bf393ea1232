"""Tests: ``wamp.test_client()`` without a router, and pytest fixtures with a real one.

``pytest_plugins = ["flask_wamp.testing"]`` offers the fixtures. They are imported when they are looked
up, so that the test client does not import pytest.
"""

from __future__ import annotations

import typing as t

from .inbox import Inbox, NothingArrived
from .leftovers import LeftBehind, LeftBehindWarning, stop_left
from .recording import Record, Recording

if t.TYPE_CHECKING:
    from .client import TestClient
    from .fixtures import MakeRouter, make_wamp_router, wamp_router

__all__ = [
    "Inbox",
    "LeftBehind",
    "LeftBehindWarning",
    "MakeRouter",
    "NothingArrived",
    "Record",
    "Recording",
    "TestClient",
    "make_wamp_router",
    "stop_left",
    "wamp_router",
]

_LAZY = {
    "TestClient": "client",
    "MakeRouter": "fixtures",
    "make_wamp_router": "fixtures",
    "wamp_router": "fixtures",
}


def __getattr__(name: str) -> t.Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
