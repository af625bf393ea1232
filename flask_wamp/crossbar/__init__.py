"""Find, build, configure, start and stop a Crossbar.io node for development and tests.

``flask wamp router``, ``python -m flask_wamp.crossbar`` and the fixtures of :mod:`flask_wamp.testing` use
this. It needs neither Flask nor a session.
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
