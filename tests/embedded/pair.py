"""The router without I/O, and clients at the other end of its ``send``."""

from __future__ import annotations

import typing as t

import msgspec

from flask_wamp.router import Router, RouterSettings, TransportFacts
from flask_wamp.router.session import RouterSession

#: The features that a client announces here by default: all of them.
ROLES: dict[str, t.Any] = {
    "caller": {"features": {"call_canceling": True, "progressive_call_results": True}},
    "callee": {
        "features": {
            "call_canceling": True,
            "call_timeout": True,
            "progressive_call_results": True,
            "registration_revocation": True,
        }
    },
    "publisher": {},
    "subscriber": {"features": {"subscription_revocation": True}},
}

HELLO, WELCOME, ABORT, CHALLENGE, AUTHENTICATE, GOODBYE, ERROR = 1, 2, 3, 4, 5, 6, 8
PUBLISH, PUBLISHED, SUBSCRIBE, SUBSCRIBED, UNSUBSCRIBE, UNSUBSCRIBED, EVENT = (
    16,
    17,
    32,
    33,
    34,
    35,
    36,
)
CALL, CANCEL, RESULT, REGISTER, REGISTERED, UNREGISTER, UNREGISTERED = 48, 49, 50, 64, 65, 66, 67
INVOCATION, INTERRUPT, YIELD = 68, 69, 70

Message = list[t.Any]


class TestRouter(Router):
    """A router with a clock that the test moves."""

    __test__ = False

    def __init__(self, *, seed: int = 1, now: float = 1000.0, **options: t.Any) -> None:
        self.now = now
        settings = {
            name: options.pop(name)
            for name in list(options)
            if name in RouterSettings.__dataclass_fields__
        }
        super().__init__(
            RouterSettings(**settings),
            clock=lambda: self.now,
            wall_clock=lambda: int(self.now * 10**9),
            seed=seed,
            **options,
        )

    def connect(self, serializer: str = "json", **facts: t.Any) -> Line:
        """Open a transport."""
        return Line(self, TransportFacts(serializer=serializer, **facts))

    def join(
        self,
        realm: str = "realm1",
        serializer: str = "json",
        roles: t.Any = None,
        details: dict[str, t.Any] | None = None,
        **facts: t.Any,
    ) -> Line:
        """Open a transport and join a realm."""
        line = self.connect(serializer, **facts)
        line.hello(realm, roles=ROLES if roles is None else roles, **(details or {}))
        [code, line.id, line.welcome] = line.take()
        assert code == WELCOME
        return line

    def pass_time(self, seconds: float) -> None:
        """Let time pass as a driver would, deadline by deadline."""
        end = self.now + seconds
        while (deadline := self.next_deadline) is not None and deadline <= end:
            self.now = max(self.now, deadline)
            self.tick()
        self.now = end
        self.tick()


class Line:
    """A client's end of a transport. What the router has sent is in :attr:`inbox`, decoded."""

    def __init__(self, router: TestRouter, facts: TransportFacts) -> None:
        self.router = router
        self.serializer = facts.serializer
        self.id = 0
        self.welcome: dict[str, t.Any] = {}
        self.inbox: list[Message] = []
        self.raw: list[bytes] = []
        self.closed: bool | None = None
        """Whether the router has closed it, and if so, whether at once."""
        self.last_request_id = 0
        self.session: RouterSession = router.open(facts, send=self._receive, close=self._close)

    # The router's side.

    def _receive(self, data: bytes) -> None:
        assert self.closed is None, "sent to a transport that is closed"
        assert type(data) is bytes
        self.raw.append(data)
        self.inbox.append(decode(self.serializer, data))

    def _close(self, at_once: bool) -> None:
        assert self.closed is None, "closed twice"
        self.closed = at_once

    # The client's side.

    def send(self, *message: t.Any) -> None:
        """Send a message as it is."""
        self.send_bytes(encode(self.serializer, list(message)))

    def send_bytes(self, data: bytes) -> None:
        """Send bytes."""
        self.session.receive(data)

    def hello(self, realm: str = "realm1", roles: t.Any = None, **details: t.Any) -> None:
        """Send HELLO."""
        self.send(HELLO, realm, {"roles": ROLES if roles is None else roles, **details})

    def lose(self) -> None:
        """Lose the connection."""
        self.session.lost()

    def request(self, code: int, *rest: t.Any) -> int:
        """Send a request with the next request id."""
        self.last_request_id += 1
        self.send(code, self.last_request_id, *rest)
        return self.last_request_id

    def take(self) -> Message:
        """Take the oldest message."""
        assert self.inbox, "nothing has come"
        return self.inbox.pop(0)

    def take_all(self) -> list[Message]:
        """Take all messages."""
        messages, self.inbox = self.inbox, []
        return messages

    def take_last(self) -> Message:
        """Take the only message that is there."""
        [message] = self.take_all()
        return message

    # Requests that succeed.

    def register(self, procedure: str, /, **options: t.Any) -> int:
        """REGISTER; returns the registration id."""
        request_id = self.request(REGISTER, options, procedure)
        [code, answered, registration_id] = self.take()
        assert (code, answered) == (REGISTERED, request_id)
        return t.cast(int, registration_id)

    def subscribe(self, topic: str, /, **options: t.Any) -> int:
        """SUBSCRIBE; returns the subscription id."""
        request_id = self.request(SUBSCRIBE, options, topic)
        [code, answered, subscription_id] = self.take()
        assert (code, answered) == (SUBSCRIBED, request_id)
        return t.cast(int, subscription_id)

    def refused(self, code: int, uri: str, /, **options: t.Any) -> str:
        """REGISTER or SUBSCRIBE, which must fail; returns the error URI."""
        request_id = self.request(code, options, uri)
        [answer, kind, answered, _, error, *_] = self.take_last()
        assert (answer, kind, answered) == (ERROR, code, request_id)
        return t.cast(str, error)

    def call(self, procedure: str, /, *payload: t.Any, **options: t.Any) -> int:
        """CALL; the payload is a list and optionally a dictionary."""
        return self.request(CALL, options, procedure, *payload)

    def publish(self, topic: str, /, *payload: t.Any, **options: t.Any) -> int:
        """PUBLISH; the payload is a list and optionally a dictionary."""
        return self.request(PUBLISH, options, topic, *payload)

    def ask(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> t.Any:
        """Call a procedure of the router and return its result."""
        request_id = self.call(procedure, list(args), kwargs)
        answer = self.inbox.pop()
        assert answer[:2] == [RESULT, request_id], answer
        [value] = answer[3]
        return value

    def ask_in_vain(self, procedure: str, /, *args: t.Any, **kwargs: t.Any) -> str:
        """Call a procedure that answers with ERROR; return its URI."""
        request_id = self.call(procedure, list(args), kwargs)
        answer = self.inbox.pop()
        assert answer[:3] == [ERROR, CALL, request_id], answer
        return t.cast(str, answer[4])


def encode(serializer: str, message: Message) -> bytes:
    """Encode as a client of the serializer does."""
    if serializer == "cbor":
        import cbor2

        return cbor2.dumps(message)
    return (msgspec.json if serializer == "json" else msgspec.msgpack).encode(message)


def decode(serializer: str, data: bytes) -> Message:
    """Decode as a client of the serializer does."""
    if serializer == "cbor":
        import cbor2

        return t.cast(Message, cbor2.loads(data))
    decoded: Message = (msgspec.json if serializer == "json" else msgspec.msgpack).decode(data)
    return decoded
