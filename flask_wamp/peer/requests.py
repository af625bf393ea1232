"""Requests to the router that a thread waits for."""

from __future__ import annotations

import time
import typing as t

from ..concurrency.threads import Waiter
from ..exceptions import CallTimeout
from .calls import give_up
from .connection import Connection

#: What happens to the handler of a call that is given up: it is interrupted, and the call ends at once.
CANCEL_MODE = "killnowait"

Method = t.Callable[..., int]
"""A method of the session that takes a ticket as its last argument, and returns the request id."""


def request(connection: Connection, method: Method, *args: t.Any, deadline: float) -> t.Any:
    """Ask the router for something, and return the message that answers, ERROR included.

    Releases the slot of the handler that waits. When nothing comes in time, the request is given up, see
    :func:`.calls.give_up`: no record of it stays, and the router is told.

    :param method: For example ``Session.register``; ``args`` are all its arguments but the ticket.
    :param deadline: The ``time.monotonic()`` until which to wait.
    :raises NotJoined: There is no session.
    :raises SessionLost: The session ended before the answer.
    :raises CallTimeout: There was no answer in time.
    """
    begun = time.monotonic()
    waiter = Waiter()
    request_id = connection.ask(method, *args, waiter)
    return wait_for(connection, request_id, waiter, str(args[0]), deadline - begun, CANCEL_MODE)


def wait_for(
    connection: Connection,
    request_id: int,
    waiter: Waiter,
    what: str,
    timeout: float,
    cancel_mode: str,
) -> t.Any:
    """Wait for the answer to a request, as :func:`request` does."""
    try:
        answered = connection.pool.wait(waiter, timeout)
    except BaseException:  # a greenlet is ended, or Ctrl-C: no one waits any more
        give_up(connection, request_id, cancel_mode)
        raise
    if not answered:
        give_up(connection, request_id, cancel_mode)
        raise CallTimeout(what, timeout)
    if waiter.error is not None:
        raise waiter.error
    return waiter.value
