"""``flask wamp status``: whether the app's procedures are served, asked from outside."""

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
    """Join as the app would, serve nothing, and count who serves what the app declares.

    :param client: The app's; it is left as it is.
    :returns: How many sessions have registered each procedure; of one URI with several ``match``, the fewest.
    :raises WAMPError: The router cannot be joined, or does not tell.
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
        if error.uri == error_uris.NO_SUCH_REGISTRATION:  # gone since
            return 0
        raise


@contextlib.contextmanager
def _quiet() -> t.Iterator[None]:
    """The command says itself what is wrong."""
    logger = get_logger("flask_wamp")
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled
