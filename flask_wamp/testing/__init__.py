"""Tools for tests: ``wamp.test_client()``, which needs no router, and pytest fixtures for a real router.

pytest finds the fixtures when Flask-WAMP is installed. Without the automatic loading of plugins, use
``pytest_plugins = ["flask_wamp.testing"]``. The fixtures are imported on first access, so that the test
client works without pytest.
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
