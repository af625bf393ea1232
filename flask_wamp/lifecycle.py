"""When a client starts and ends: once in every process that serves, and in no other."""

from __future__ import annotations

import atexit
import functools
import os
import weakref

from . import servers
from .client import Client

#: All clients of this process, for forks and for the end.
_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def manage(client: Client, autostart: str | bool) -> None:
    """Have a client start by itself as ``WAMP_AUTOSTART`` says, and end with the process.

    :param autostart: ``"auto"``: when a server is recognized, else on first use; ``"lazy"``: on first
        use; False: by ``start()`` only.
    """
    policy = client.start_policy
    policy.on_first_use = policy.on_first_request = autostart is not False
    _register_once()
    _clients.add(client)
    arrange = servers.find_start() if autostart == "auto" else None
    if arrange is not None:
        policy.on_first_request = False
        arrange(client.start)


@functools.cache
def _register_once() -> None:
    os.register_at_fork(after_in_child=_after_fork)
    atexit.register(_stop_all)


def _after_fork() -> None:
    for client in list(_clients):
        client.forget_parents()


def _stop_all() -> None:
    for client in list(_clients):
        client.stop()
