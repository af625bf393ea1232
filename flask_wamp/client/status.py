"""``flask wamp status``: count the callees of the app's procedures with another client."""

from __future__ import annotations

import contextlib
import typing as t

from .._text import get_logger
from ..exceptions import ApplicationError
from ..peer.declarations import Registration
from ..protocol import error_uris
from ..protocol.uris import COUNT_CALLEES, LOOKUP
from .client import Client


def callees_of(client: Client) -> dict[str, int]:
    """Join with the app's settings, and count the callees of the procedures that the app declares.

    :param client: The app's client. It is not changed.
    :returns: The number of sessions that have registered each procedure, by URI. If a URI is declared with
        several ``match``, this is the smallest of their numbers.
    :raises WAMPError: The client cannot join, or the router does not answer.
    """
    client.start_policy.before_serving()
    procedures = [d for d in client.declarations if isinstance(d, Registration)]
    with _quiet(), _caller(client) as caller:
        found: dict[str, int] = {}
        for procedure in procedures:
            count, uri = _count_callees(caller, procedure), procedure.uri
            found[uri] = min(count, found.get(uri, count))
        return found


@contextlib.contextmanager
def _caller(client: Client) -> t.Iterator[Client]:
    caller = Client(
        client.settings,
        callee=_serves_nothing,
        subscriber=_serves_nothing,
        name="flask-wamp-status",
    )
    caller.only_call()
    try:
        yield caller
    finally:
        caller.stop()


def _serves_nothing(*args: object, **options: object) -> t.NoReturn:
    raise RuntimeError("this client only calls")


def _count_callees(caller: Client, procedure: Registration) -> int:
    options = {"match": procedure.match}
    registration = caller.call(LOOKUP, procedure.uri, options)
    if registration is None:
        return 0
    try:
        return int(caller.call(COUNT_CALLEES, registration))
    except ApplicationError as error:
        if error.uri == error_uris.NO_SUCH_REGISTRATION:  # it was unregistered in the meantime
            return 0
        raise


@contextlib.contextmanager
def _quiet() -> t.Iterator[None]:
    """Disable the log, because the command prints errors itself."""
    logger = get_logger("flask_wamp")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled
