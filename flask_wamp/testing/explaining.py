"""Explained errors of calls: tests see the exception of the handler, and hints for misspelled URIs."""

from __future__ import annotations

import typing as t

from ..peer.connection import Connection
from ..protocol import error_uris
from ..protocol import messages as m
from ..protocol.call_result import remote_error
from ..protocol.similar import did_you_mean, listed


class CallsTicket(t.Protocol):
    """The ticket of a call."""

    def resolve(self, message: t.Any, /) -> object:
        """Take RESULT or ERROR."""

    def fail(self, error: BaseException, /) -> object:
        """Take an error instead."""


class Witness(t.Protocol):
    """Knows the handlers of an app and their errors."""

    def token(self) -> str | None:
        """Return a text that identifies a call, or None if the router does not forward it."""

    def error(self, token: object) -> BaseException | None:
        """Return the exception that the handler of a call raised, or None."""

    @property
    def procedures(self) -> list[str]:
        """The registered procedures."""


def explain_errors(connection: Connection, witness: Witness) -> None:
    """Add explanations to the errors of calls on a connection. A second call does nothing."""
    if "call" in vars(connection):
        return
    send = connection.call

    def call(
        procedure: str,
        args: t.Sequence[object],
        kwargs: m.Details,
        options: m.Details,
        ticket: CallsTicket,
    ) -> int:
        token = options.get("transaction_hash")
        if token is None and (token := witness.token()) is not None:
            options = {**options, "transaction_hash": token}
        explained = _Explained(ticket, procedure, token, witness)
        return send(procedure, args, kwargs, options, explained)

    vars(connection)["call"] = call


class _Explained:
    """Wraps the ticket of a call.

    :param token: Identifies the call if its handler fails. None if the router does not forward it.
    """

    def __init__(
        self, ticket: CallsTicket, procedure: str, token: object, witness: Witness
    ) -> None:
        self._ticket = ticket
        self._procedure = procedure
        self._token = token
        self._witness = witness
        self.fail = ticket.fail
        """Take an error instead."""

    def resolve(self, message: m.Result | m.Error) -> None:
        """Take RESULT or ERROR."""
        if isinstance(message, m.Error):
            self._ticket.fail(self._explained(message))
        else:
            self._ticket.resolve(message)

    def _explained(self, message: m.Error) -> BaseException:
        error = remote_error(message)
        cause = self._witness.error(self._token)
        if cause is not None:
            error.__cause__ = cause
        elif error.uri == error_uris.NO_SUCH_PROCEDURE:
            known = self._witness.procedures
            if self._procedure not in known:  # else its handler has called an unknown one
                hint = did_you_mean(self._procedure, known)
                if not hint:
                    hint = (
                        f"; there are: {listed(known)}" if known else ", nor is any other procedure"
                    )
                error.args = (f"{self._procedure} is not registered{hint}",)
        return error
