"""A peer of the tests, which handles messages in the thread that sends them."""

from __future__ import annotations

import concurrent.futures
import queue
import typing as t

from flask_wamp.exceptions import ApplicationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.identity import Identity
from flask_wamp.router import TransportFacts
from flask_wamp.router.memory import _Exchange
from tests.support.wire import router_serializer

TIMEOUT = 10.0
"""Seconds after which a wait in a test fails."""

#: All features of a peer.
ROLES = {
    "caller": {"features": {"call_canceling": True, "progressive_call_results": True}},
    "callee": {"features": {"call_canceling": True, "progressive_call_results": True}},
    "publisher": {},
}


class Answer(concurrent.futures.Future[t.Any]):
    """The answer of a client's procedure. Its result is RESULT or ERROR."""

    def __init__(self, cancel: t.Callable[[str], object]) -> None:
        super().__init__()
        self.progress: list[m.Result] = []
        """Progressive results, as they arrive."""
        self.interrupt = cancel
        """Send CANCEL with this mode."""


class Held(t.NamedTuple):
    """A call that the test answers itself."""

    peer: MemoryPeer
    message: m.Invocation

    def answer(self, /, *args: t.Any, **kwargs: t.Any) -> None:
        """Answer with RESULT."""
        self.peer.send(m.Yield(self.message.request_id, {}, list(args), kwargs))

    def fail(self, uri: str, /, *args: t.Any, **kwargs: t.Any) -> None:
        """Answer with ERROR."""
        code = m.code(m.Invocation)
        self.peer.send(m.Error(code, self.message.request_id, {}, uri, list(args), kwargs))


class MemoryPeer:
    """A session with a router in memory, which delivers messages without a thread."""

    def __init__(self, exchange: _Exchange, realm: str, identity: Identity) -> None:
        self.realm = realm
        self._exchange = exchange
        self._serializer = router_serializer("msgpack")
        self._ids = 0
        self._answers: dict[int, Answer] = {}
        self._procedures: dict[int, t.Callable[[m.Invocation], None]] = {}
        self._registrations: dict[str, int] = {}
        self._taken: list[t.Any] = []
        facts = TransportFacts("msgpack", identity=identity)
        with exchange.lock:
            self._session = exchange.core.open(facts, send=self._take, close=lambda at_once: None)
            self.send(m.Hello(realm, {"roles": ROLES}))
        self.session_id = self._session.id

    def send(self, message: m.Message) -> None:
        """Send a message. The router has handled it when this returns, unless it is handling another one."""
        data = self._serializer.encode(message)
        self._exchange.run(lambda: self._session.receive(data))

    def call(self, uri: str, options: m.Details, args: list[t.Any], kwargs: m.Details) -> Answer:
        """Send CALL."""
        with self._exchange.lock:
            number = self._next_id()
            answer = Answer(lambda mode="killnowait": self.send(m.Cancel(number, {"mode": mode})))
            self._answers[number] = answer
            self.send(m.Call(number, options, uri, args, kwargs))
        return answer

    def publish(self, uri: str, options: m.Details, args: list[t.Any], kwargs: m.Details) -> int:
        """Send PUBLISH, and return the publication id."""
        options = {"acknowledge": True, **options}
        published: m.Published = self._ask(lambda id: m.Publish(id, options, uri, args, kwargs))
        return published.publication_id

    def serve(self, uri: str, handle: t.Callable[[m.Invocation], None]) -> None:
        """Handle invocations in the thread that calls. Register the procedure if necessary."""
        if uri not in self._registrations:
            registered: m.Registered = self._ask(lambda id: m.Register(id, {}, uri))
            self._registrations[uri] = registered.registration_id
        self._procedures[self._registrations[uri]] = handle

    def _ask(self, request: t.Callable[[int], m.Message]) -> t.Any:
        with self._exchange.lock:
            self.send(request(self._next_id()))
            answer = self._taken.pop()
        if isinstance(answer, m.Error):
            raise ApplicationError(answer.error, *answer.args)
        return answer

    def _next_id(self) -> int:
        self._ids += 1
        return self._ids

    def _take(self, data: bytes) -> None:
        message = t.cast(t.Any, self._serializer.decode(data))
        if isinstance(message, m.Invocation):
            handle = self._procedures[message.registration_id]
            self._exchange.run(lambda: handle(message))  # after the router's current message
        elif isinstance(message, m.Result) and message.details.get("progress"):
            self._answers[message.request_id].progress.append(message)
        elif getattr(message, "request_id", None) in self._answers:
            self._answers.pop(message.request_id).set_result(message)
        else:
            self._taken.append(message)


def returning(
    peer: MemoryPeer, function: t.Callable[..., t.Any]
) -> t.Callable[[m.Invocation], None]:
    """Create a procedure from a function, which must not wait, and may raise ``ApplicationError``."""

    def handle(invocation: m.Invocation) -> None:
        held = Held(peer, invocation)
        try:
            value = function(*invocation.args, **invocation.kwargs)
        except ApplicationError as error:
            held.fail(str(error.uri), *error.args)
        else:
            held.answer(value)

    return handle


def holding(peer: MemoryPeer, calls: queue.Queue[Held]) -> t.Callable[[m.Invocation], None]:
    """Create a procedure whose calls wait in a queue."""
    return lambda invocation: calls.put(Held(peer, invocation))
