"""Ask a procedure of the app whether a session may do something."""

from __future__ import annotations

import json
import typing as t

from .._text import get_logger
from ..protocol import error_uris
from ..protocol.identity import Identity
from .codec import PayloadError
from .facts import TransportFacts
from .later import Later
from .router import Router
from .session import RouterSession

logger = get_logger("flask_wamp.router")

#: The milliseconds within which the app has to answer.
TIMEOUT_MS: t.Final = 5000

#: Seconds between two calls of a procedure that is not registered yet.
PAUSE: t.Final = 0.05

Defer = t.Callable[[t.Callable[[], object]], object]


class Question(t.NamedTuple):
    """A call to the app."""

    procedure: str
    args: tuple[object, ...]
    until: float
    """The time, by the router's clock, after which a missing procedure is not called again."""
    answer: Later[object]


class Asker:
    """A session of the router's own, which calls the app's authorizer.

    :param defer: Calls a function soon, in the router's thread, but not while it handles a message.
    """

    def __init__(self, router: Router, realm: str, identity: Identity, defer: Defer) -> None:
        self._router = router
        self._realm = realm
        self._identity = identity
        self._defer = defer
        self._session: RouterSession | None = None
        self._last_id = 0
        self._waiting: dict[int, Question] = {}

    def ask(self, procedure: str, *args: object) -> Later[object]:
        """Call a procedure. The answer is its result, or an exception."""
        until = self._router.clock() + TIMEOUT_MS / 1000
        question = Question(procedure, args, until, Later())
        self._call_soon(question)
        return question.answer

    def _call_soon(self, question: Question) -> None:
        self._defer(lambda: self._call(question))

    def _call(self, question: Question) -> None:
        session = self._session or self._join()
        try:
            payload = session.codec.dump(list(question.args))
        except PayloadError as error:
            question.answer.resolve(error)
            return
        self._last_id += 1
        self._waiting[self._last_id] = question
        options = {"timeout": TIMEOUT_MS}
        session.receive(session.encode((48, self._last_id, options, question.procedure, payload)))

    def _join(self) -> RouterSession:
        self._last_id = 0
        facts = TransportFacts("json", identity=self._identity)
        session = self._session = self._router.open(facts, send=self._received, close=self._closed)
        roles = {"caller": {"features": {"call_canceling": True, "call_timeout": True}}}
        session.receive(session.encode((1, self._realm, {"roles": roles})))
        return session

    def _received(self, data: bytes) -> None:
        message = json.loads(data)
        if message[0] == 50:
            values = message[3] if len(message) > 3 else []
            self._answer(message[1], values[0] if values else None)
        elif message[0] == 8 and message[4] == error_uris.NO_SUCH_PROCEDURE:
            self._ask_again(message[2])
        elif message[0] == 8:
            self._answer(message[2], RuntimeError(f"{message[4]} {message[5:]}"))

    def _ask_again(self, request_id: int) -> None:
        """Call again later. After a crash of the router, a browser may join before the app's processes do."""
        question, now = self._waiting.get(request_id), self._router.clock()
        if question is not None and now < question.until:
            del self._waiting[request_id]
            self._router.timers.add(now + PAUSE, lambda: self._call_soon(question))
        else:
            self._answer(request_id, RuntimeError("no process of the app serves its authorizer"))

    def _answer(self, request_id: int, answer: object) -> None:
        question = self._waiting.pop(request_id, None)
        if question is not None:
            self._defer(lambda: question.answer.resolve(answer))

    def _closed(self, at_once: bool) -> None:
        self._session = None
        for request_id in list(self._waiting):
            self._answer(request_id, RuntimeError("the router has ended the session that asks"))
