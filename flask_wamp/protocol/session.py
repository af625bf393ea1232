"""The WAMP session of a client, as a state machine without I/O.

Messages of the router go into :meth:`Session.receive`, which returns what they mean; what this peer
wants to say becomes bytes in :attr:`Session.outgoing`. No socket, no thread, no clock, no lock: the
driver calls it under a lock of its own.

A caller's *ticket* (any object) is stored with its request and handed back with the answer.

Source: WAMP Basic Profile, "Sessions", "Publish and Subscribe", "Remote Procedure Calls".
"""

from __future__ import annotations

import enum
import typing as t

import msgspec

from .._text import safe_text
from ..exceptions import PayloadTooLarge, ProtocolError
from . import error_uris
from . import messages as m
from .auth import Authentication
from .router_features import RouterFeatures
from .serializers import Serializer
from .session_events import (
    ROLES,
    Answered,
    Delivered,
    Happening,
    Ignored,
    Interrupted,
    Invoked,
    Joined,
    Left,
    Revoked,
)
from .subscriptions import Subscriptions

#: Source: WAMP Advanced Profile, "Predefined URIs".


class State(enum.Enum):
    """Where a session is in its life."""

    NEW = "new"
    JOINING = "joining"
    JOINED = "joined"
    LEAVING = "leaving"
    ENDED = "ended"


class _Pending(msgspec.Struct):
    ticket: object
    request_type: type[m.Message]
    target: t.Any


#: The ticket of a REGISTER or SUBSCRIBE that was given up.
_GIVEN_UP = object()


class Session:
    """One session of one client.

    :param serializer: What the transport negotiated.
    :param max_message_size: Bytes; larger ones are not sent, but refused with ``SerializationError``.
    """

    def __init__(
        self,
        serializer: Serializer,
        realm: str,
        authentication: Authentication,
        *,
        agent: str,
        max_message_size: int,
    ) -> None:
        self.state = State.NEW
        self.session_id: int | None = None
        self.outgoing: list[bytes] = []
        self.registrations: dict[int, t.Any] = {}
        self.subscriptions = Subscriptions()
        self.in_hand: set[int] = set()
        self.features = RouterFeatures({})
        """What the router has announced; nothing before WELCOME."""
        self._serializer = serializer
        self._realm = realm
        self._authentication = authentication
        self._agent = agent
        self.max_message_size = max_message_size
        self._last_request_id = 0
        self._pending: dict[int, _Pending] = {}
        self._legal: dict[type, t.Callable[[t.Any], Happening]] = {}

    # Life: joining and leaving the realm.

    def join(self) -> None:
        """Say HELLO."""
        details = {"roles": ROLES, "agent": self._agent, **self._authentication.hello()}
        self._send(m.Hello(self._realm, details))
        self._enter(State.JOINING)

    def leave(self, reason: str = error_uris.CLOSE_NORMAL) -> None:
        """Say GOODBYE; :class:`Left` follows when the router has answered."""
        self._send(m.Goodbye({}, reason))
        self._enter(State.LEAVING)

    def abort(self, reason: str, message: str) -> None:
        """Say ABORT: the session is over at once."""
        self._send(m.Abort({"message": message}, reason))
        self._enter(State.ENDED)

    def abandon(self) -> list[t.Any]:
        """End without a word, as after a lost transport; return the tickets that still wait."""
        self._enter(State.ENDED)
        tickets = [
            pending.ticket
            for pending in self._pending.values()
            if pending.ticket is not None and pending.ticket is not _GIVEN_UP
        ]
        self._pending.clear()
        self.in_hand.clear()
        return tickets

    # Requests: what this peer wants to say. Each returns its request id.

    def call(
        self,
        procedure: str,
        args: t.Sequence[object],
        kwargs: m.Details,
        options: m.Details,
        ticket: object,
    ) -> int:
        """CALL; the ticket comes back with every RESULT and with ERROR."""
        options = self.features.for_call(options)
        return self._request(m.Call(0, options, procedure, args, kwargs), ticket)

    def publish(
        self,
        topic: str,
        args: t.Sequence[object],
        kwargs: m.Details,
        options: m.Details,
        ticket: object = None,
    ) -> int:
        """PUBLISH; the router answers only where ``options`` say ``acknowledge``.

        :raises NotSupported: The router does not know an option that decides about who gets the event.
        """
        options = self.features.for_publish(options)
        message = m.Publish(0, options, topic, args, kwargs)
        return self._request(message, ticket, answered=bool(options.get("acknowledge")))

    def register(self, procedure: str, options: m.Details, target: object, ticket: object) -> int:
        """REGISTER; ``target`` comes with every :class:`Invoked`.

        :raises NotSupported: The router does not know patterns.
        """
        options = self.features.for_register(options)
        return self._request(m.Register(0, options, procedure), ticket, target)

    def unregister(self, registration_id: int, ticket: object) -> int:
        """UNREGISTER; invocations may arrive until the answer has."""
        return self._request(m.Unregister(0, registration_id), ticket, registration_id)

    def subscribe(self, topic: str, options: m.Details, target: object, ticket: object) -> int:
        """SUBSCRIBE; ``target`` comes with every :class:`Delivered`.

        :raises NotSupported: The router does not know patterns.
        """
        options = self.features.for_subscribe(options)
        asked = target, (topic, options.get("match", "exact"))
        return self._request(m.Subscribe(0, options, topic), ticket, asked)

    def unsubscribe(self, subscription_id: int, ticket: object) -> int:
        """UNSUBSCRIBE."""
        return self._request(m.Unsubscribe(0, subscription_id), ticket, subscription_id)

    def cancel(self, request_id: int, mode: str) -> None:
        """CANCEL a call, if the router knows that; its ERROR comes back to the ticket."""
        pending = self._pending.get(request_id)
        is_call = pending is not None and pending.request_type is m.Call
        if is_call and self.features.can_cancel:
            self._send(m.Cancel(request_id, {"mode": mode}))

    def send_message(self, message: t.Any) -> None:
        """Send any message; a request gets the next request id, its answer is ignored."""
        if isinstance(message, m.Call):
            message.options = self.features.for_call(message.options)
        elif isinstance(message, m.Publish):
            message.options = self.features.for_publish(message.options)
        if isinstance(message, _REQUESTS):
            self._request(message, None, answered=False)
        else:
            self._send(message)

    def forget(self, request_id: int) -> None:
        """Give a request up: an answer that still comes is :class:`Ignored`.

        What a late REGISTERED or SUBSCRIBED grants is given back at once. So those two stay pending.
        """
        pending = self._pending.get(request_id)
        if pending is None:
            return
        if pending.request_type is m.Register or pending.request_type is m.Subscribe:
            pending.ticket = _GIVEN_UP
        else:
            del self._pending[request_id]

    def drop_target(self, subscription_id: int, target: object, ticket: object = None) -> bool:
        """Stop delivering to one target; UNSUBSCRIBE, and True, when nobody is left who asked for it."""
        topic = self.subscriptions.drop(subscription_id, target)
        asked = (p.target[1] for p in self._pending.values() if p.request_type is m.Subscribe)
        if topic is None or topic in asked:
            return False
        self.unsubscribe(subscription_id, ticket)
        return True

    # Answers: what this peer has to say as a callee.

    def yield_(
        self,
        request_id: int,
        args: t.Sequence[object],
        kwargs: m.Details,
        *,
        progress: bool = False,
    ) -> bool:
        """YIELD; False when the invocation has been answered or the caller is gone."""
        if request_id not in self.in_hand:
            return False
        options = {"progress": True} if progress else {}
        self._send(m.Yield(request_id, options, args, kwargs))
        if not progress:
            self.in_hand.discard(request_id)
        return True

    def error(self, request_id: int, uri: str, args: t.Sequence[object], kwargs: m.Details) -> bool:
        """ERROR; False when the invocation has been answered or the caller is gone."""
        if request_id not in self.in_hand:
            return False
        self._send(m.Error(m.code(m.Invocation), request_id, {}, uri, args, kwargs))
        self.in_hand.discard(request_id)
        return True

    # The router's messages.

    def receive(self, message: m.Message) -> Happening:
        """Take a message in and return what it means.

        :raises ProtocolError: It is not legal in this state.
        """
        legal = self._legal.get(type(message))
        if legal is None:
            raise ProtocolError(f"{type(message).__name__} is not legal while {self.state.value}")
        return legal(message)

    def refuse(
        self, message: m.Message, why: str, uri: str = error_uris.PAYLOAD_SIZE_EXCEEDED
    ) -> Happening:
        """Take in a message that this peer does not take: only it is refused.

        An invocation is answered, a call gets an error in place of its result, an event is ignored.
        """
        if isinstance(message, m.Invocation):
            self.in_hand.add(message.request_id)
            self.error(message.request_id, uri, [why], {})
        elif isinstance(message, m.Result):
            number = m.code(m.Call)
            return self.receive(m.Error(number, message.request_id, {}, uri, [why]))
        elif not isinstance(message, m.Event):
            return self.receive(message)
        return Ignored(message)

    def _on_challenge(self, message: m.Challenge) -> None:
        signature, extra = self._authentication.authenticate(message.authmethod, message.extra)
        self._send(m.Authenticate(signature, extra))

    def _on_welcome(self, message: m.Welcome) -> Joined:
        self._authentication.verify(message.details.get("authextra") or {})
        self.session_id = message.session_id
        self.features = RouterFeatures(message.details)
        self._enter(State.JOINED)
        return Joined(message.session_id, message.details)

    def _on_abort(self, message: m.Abort) -> Left:
        self._enter(State.ENDED)
        return _left(message, aborted=True)

    def _on_goodbye(self, message: m.Goodbye) -> Left:
        if self.state is State.JOINED:
            self._send(m.Goodbye({}, error_uris.GOODBYE_AND_OUT))
        self._enter(State.ENDED)
        return _left(message, aborted=False)

    def _on_result(self, message: m.Result) -> Happening:
        pending = self._pending.get(message.request_id)
        if pending is None or pending.request_type is not m.Call:
            return Ignored(message)
        if not message.details.get("progress"):
            del self._pending[message.request_id]
        return Answered(pending.ticket, message)

    def _on_error(self, message: m.Error) -> Happening:
        pending = self._pending.get(message.request_id)
        if pending is None or m.code(pending.request_type) != message.request_type:
            return Ignored(message)
        del self._pending[message.request_id]
        return (
            Ignored(message) if pending.ticket is _GIVEN_UP else Answered(pending.ticket, message)
        )

    def _on_published(self, message: m.Published) -> Happening:
        pending = self._take(m.Publish, message.request_id)
        return Answered(pending.ticket, message) if pending else Ignored(message)

    def _on_registered(self, message: m.Registered) -> Happening:
        pending = self._take(m.Register, message.request_id)
        if pending is None:
            return Ignored(message)
        if pending.ticket is _GIVEN_UP:
            self.unregister(message.registration_id, None)
            return Ignored(message)
        self.registrations[message.registration_id] = pending.target
        return Answered(pending.ticket, message)

    def _on_subscribed(self, message: m.Subscribed) -> Happening:
        pending = self._take(m.Subscribe, message.request_id)
        if pending is None:
            return Ignored(message)
        target, topic = pending.target
        self.subscriptions.add(message.subscription_id, topic, target)
        if pending.ticket is _GIVEN_UP:
            self.drop_target(message.subscription_id, target)
            return Ignored(message)
        return Answered(pending.ticket, message)

    def _on_unregistered(self, message: m.Unregistered) -> Happening:
        if message.request_id == 0:
            target = self.registrations.pop(m.id_in(message.details, "registration"), None)
            return Revoked((target,), message.details) if target is not None else Ignored(message)
        pending = self._take(m.Unregister, message.request_id)
        if pending is None:
            return Ignored(message)
        self.registrations.pop(pending.target, None)
        return Answered(pending.ticket, message)

    def _on_unsubscribed(self, message: m.Unsubscribed) -> Happening:
        if message.request_id == 0:
            targets = self.subscriptions.forget(m.id_in(message.details, "subscription"))
            return Revoked(targets, message.details) if targets else Ignored(message)
        pending = self._take(m.Unsubscribe, message.request_id)
        if pending is None:
            return Ignored(message)
        self.subscriptions.forget(pending.target)
        return Answered(pending.ticket, message)

    def _on_invocation(self, message: m.Invocation) -> Happening:
        target = self.registrations.get(message.registration_id)
        self.in_hand.add(message.request_id)
        if target is None:
            self.error(message.request_id, error_uris.NO_SUCH_PROCEDURE, (), {})
            return Ignored(message)
        return Invoked(target, message)

    def _on_interrupt(self, message: m.Interrupt) -> Happening:
        if message.request_id not in self.in_hand:
            return Ignored(message)
        return Interrupted(message)

    def _on_event(self, message: m.Event) -> Happening:
        targets = self.subscriptions.receivers(message)
        return Delivered(targets, message) if targets else Ignored(message)

    def _on_anything(self, message: m.Message) -> Ignored:
        return Ignored(message)

    # Helpers.

    def _take(self, request_type: type[m.Message], request_id: int) -> _Pending | None:
        """The request that is answered; None: there is none of that kind (any more)."""
        pending = self._pending.get(request_id)
        if pending is None or pending.request_type is not request_type:
            return None
        del self._pending[request_id]
        return pending

    def _request(
        self, message: t.Any, ticket: object, target: object = None, answered: bool = True
    ) -> int:
        # Basic Profile, "IDs": session-scope ids are incremented by 1. The id counts as used only
        # when the message could be encoded, or a refused payload would leave a gap.
        message.request_id = self._last_request_id + 1
        self._send(message)
        self._last_request_id += 1
        if answered:
            self._pending[self._last_request_id] = _Pending(ticket, type(message), target)
        return self._last_request_id

    def _send(self, message: m.Message) -> None:
        data = self._serializer.encode(message)
        if len(data) > self.max_message_size:
            raise PayloadTooLarge(
                f"a {type(message).__name__} message of {len(data)} bytes is over the limit of "
                f"{self.max_message_size} bytes (WAMP_MAX_MESSAGE_SIZE, or the router's limit)"
            )
        self.outgoing.append(data)

    def _enter(self, state: State) -> None:
        self.state = state
        self._legal = {
            message_type: getattr(self, name) for message_type, name in _LEGAL[state].items()
        }


def _left(message: m.Abort | m.Goodbye, *, aborted: bool) -> Left:
    """Return the end of a session, with no more text of the router's than is worth keeping and logging."""
    text = message.details.get("message")
    details = {"message": safe_text(text)} if text else {}
    return Left(safe_text(message.reason), details, aborted=aborted)


_REQUESTS = (m.Call, m.Publish, m.Register, m.Unregister, m.Subscribe, m.Unsubscribe)

_ENDING: dict[type[m.Message], str] = {m.Abort: "_on_abort", m.Goodbye: "_on_goodbye"}

#: What a router may say while this peer leaves: it has not read our GOODBYE yet.
_CROSSING: dict[type[m.Message], str] = dict.fromkeys(
    (m.Invocation, m.Interrupt, m.Event), "_on_anything"
)

_ANSWERS: dict[type[m.Message], str] = {
    m.Result: "_on_result",
    m.Error: "_on_error",
    m.Published: "_on_published",
    m.Registered: "_on_registered",
    m.Unregistered: "_on_unregistered",
    m.Subscribed: "_on_subscribed",
    m.Unsubscribed: "_on_unsubscribed",
}

#: What is legal in which state, and who handles it.
_LEGAL: dict[State, dict[type[m.Message], str]] = {
    State.NEW: {},
    State.JOINING: {m.Challenge: "_on_challenge", m.Welcome: "_on_welcome", m.Abort: "_on_abort"},
    State.JOINED: {
        **_ANSWERS,
        **_ENDING,
        m.Invocation: "_on_invocation",
        m.Interrupt: "_on_interrupt",
        m.Event: "_on_event",
    },
    State.LEAVING: {**_ANSWERS, **_CROSSING, **_ENDING},
    State.ENDED: {},
}
