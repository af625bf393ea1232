"""Requests to the router that a thread waits for."""

from __future__ import annotations

import functools
import threading
import typing as t

from ..concurrency.clock import monotonic
from ..concurrency.threads import Waiter
from ..concurrency.workers import current_worker
from ..exceptions import CallTimeout
from .calls import give_up
from .connection import Connection

__tracebackhide__ = True  # pytest leaves out the frames of this module

Method = t.Callable[..., int]
"""A method of the session that takes a ticket as its last argument, and returns the request id."""


def request(connection: Connection, method: Method, *args: object, deadline: float) -> t.Any:
    """Send a request to the router, and return the message that answers it, which may be ERROR.

    Meanwhile, another handler may use the slot of this one. If there is no answer in time, a late answer is
    ignored, see :func:`.calls.give_up`.

    :param method: A method of the session, such as ``Session.register``.
    :param args: The arguments of the method, without the ticket.
    :param deadline: The ``time.monotonic()`` until which to wait.
    :raises NotJoined: There is no session.
    :raises SessionLost: The session ended before the answer.
    :raises CallTimeout: There was no answer in time.
    :raises RuntimeError: This thread is the one that reads, so a log handler of the app has called.
    """
    waiter = Waiter()
    timeout = deadline - monotonic()
    request_id = connection.ask(method, *args, waiter)
    cancel = functools.partial(give_up, connection, request_id)
    return wait_for(waiter, connection, str(args[0]), deadline, timeout, cancel)


def wait_for(
    waiter: Waiter,
    connection: Connection,
    what: str,
    deadline: float,
    timeout: float,
    cancel: t.Callable[[], None],
) -> t.Any:
    """Wait for the answer to a request, like :func:`request`.

    :param what: A URI, for the error.
    :param timeout: The seconds from the request to the deadline, for the error.
    :param cancel: Called if there is no answer in time. It must not wait.
    """
    # Between two reads, that thread may run a handler, which may wait, because another thread then reads.
    if connection.reading == threading.get_ident() and current_worker.get() is None:
        cancel()
        raise RuntimeError(f"{what}: the thread that reads answers cannot wait for an answer")
    try:
        answered = connection.pool.wait(waiter, deadline - monotonic())
    except BaseException:  # GreenletExit, gevent.Timeout or KeyboardInterrupt
        cancel()
        raise
    if not answered:
        cancel()
        raise CallTimeout(what, max(0.0, timeout))
    if waiter.error is not None:
        raise waiter.error
    return waiter.value
