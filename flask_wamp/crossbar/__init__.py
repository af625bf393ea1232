"""A Crossbar.io node for development and tests: find or build it, configure it, start and stop it.

``flask wamp router``, ``python -m flask_wamp.crossbar`` and the fixtures of
:mod:`flask_wamp.testing` are made of this. It needs Crossbar, and neither Flask nor a session.
"""

from __future__ import annotations

from ..concurrency.child_processes import kill_process, spawn_bound, stop_process
from .build import build_crossbar, crossbar_home, crossbar_python, ensure_crossbar, find_crossbar
from .config import DEFAULT_REALM, DEFAULT_URL, local_url, node_config, role
from .errors import RouterError
from .ports import free_port
from .process import DevRouter
from .serve import interruptible, serve

__all__ = [
    "DEFAULT_REALM",
    "DEFAULT_URL",
    "DevRouter",
    "RouterError",
    "build_crossbar",
    "crossbar_home",
    "crossbar_python",
    "ensure_crossbar",
    "find_crossbar",
    "free_port",
    "interruptible",
    "kill_process",
    "local_url",
    "node_config",
    "role",
    "serve",
    "spawn_bound",
    "stop_process",
]
