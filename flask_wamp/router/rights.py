"""Ask the authorizer whether a session may do what it requests.

Source: WAMP Advanced Profile, "Authorization".
"""

from __future__ import annotations

import typing as t

from .._text import get_logger
from ..protocol import error_uris
from ..protocol.messages import Details
from .authorization import Authorizer, Decision, as_decision
from .later import Later
from .options import MATCHES, InvalidOption, choice
from .session import RouterSession

logger = get_logger("flask_wamp.router")

#: Called with the session, the request and the decision, if the request is allowed.
Proceed = t.Callable[[RouterSession, t.Any, Decision], None]

#: The decision if there is no authorizer.
UNDECIDED = Decision(True)


def authorize(
    authorizer: Authorizer | None,
    session: RouterSession,
    action: str,
    uri: str,
    options: Details,
    message: t.Any,
    proceed: Proceed,
) -> None:
    """Let an authorizer decide about a request. Then proceed with it or answer ERROR.

    Until the authorizer answers, further messages of the client wait, so that their order is kept.
    """
    if action == "subscribe" or action == "register":
        # Before the rights, so that the answer is the same whatever rights there are.
        try:
            choice(options, "match", MATCHES)
        except InvalidOption as error:
            session.refuse(message, error_uris.INVALID_ARGUMENT, str(error))
            return
    if authorizer is None:
        proceed(session, message, UNDECIDED)
        return
    try:
        answer = authorizer(session.identity, action, uri, options)
    except Exception:
        _fail(session, message)
        return
    if isinstance(answer, Later):
        waiting = session.pause()
        answer.then(
            lambda later: session.resume(
                waiting, lambda: _decided(session, message, proceed, later)
            )
        )
    else:
        _decided(session, message, proceed, answer)


def _decided(session: RouterSession, message: t.Any, proceed: Proceed, answer: object) -> None:
    try:
        decision = as_decision(answer)
    except TypeError:
        _fail(session, message)
        return
    if decision.allow:
        proceed(session, message, decision)
    else:
        session.refuse(message, error_uris.NOT_AUTHORIZED, decision.message or "not authorized")


def _fail(session: RouterSession, message: t.Any) -> None:
    # "could not determine if the Peer is authorized [...] since the authorization operation itself failed"
    logger.exception("the authorizer failed")
    session.refuse(message, error_uris.AUTHORIZATION_FAILED, "the authorizer failed")
