"""The WAMP session of a client, as a state machine without I/O.

Pass the router's messages to :meth:`Session.receive`, which returns what each of them means. What this peer
sends becomes bytes in :attr:`Session.outgoing`. The session uses no socket, thread, clock or lock. Its
:class:`.Connection` calls it under a lock.

A *ticket* is any object. The session stores it with a request, and returns it with the answer.

This module contains the states of a session, and handles the router's messages. :mod:`.session_requests`
sends the messages of this peer.

Source: WAMP Basic Profile, "Sessions", "Publish and Subscribe", "Remote Procedure Calls".
"""

from __future__ import annotations

import typing as t

from ..exceptions import ProtocolError
from . import error_uris, router_features
from . import messages as m
from .auth import Authentication
from .serializers import Serializer
from .session_events import (
    ROLES,
    Answered,
    Delivered,
    Ignored,
    Interrupted,
    Invoked,
    Joined,
    Left,
    Revoked,
    SessionEvent,
)
from .session_requests import FORGOTTEN, Pending, SessionRequests
from .session_states import LEGAL, SessionState


class Session(SessionRequests):
    """One session of one client.

    :param serializer: The serializer that was negotiated.
    :param max_message_size: Bytes of the largest message that may be sent. :class:`.PayloadTooLarge` is
        raised for larger ones.
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
        super().__init__(serializer, max_message_size)
        self.state = SessionState.NEW
        self.session_id: int | None = None
        self._realm = realm
        self._authentication = authentication
        self._agent = agent
        self._legal: dict[type, t.Callable[[t.Any], SessionEvent]] = {}

    # Joining and leaving the realm.

    def join(self) -> None:
        """Send HELLO."""
        details = {"roles": ROLES, "agent": self._agent, **self._authentication.hello()}
        self._send(m.Hello(self._realm, details))
        self._enter(SessionState.JOINING)

    def leave(self, reason: str = error_uris.CLOSE_NORMAL) -> None:
        """Send GOODBYE. :meth:`receive` returns :class:`Left` when the router has answered."""
        self._send(m.Goodbye({}, reason))
        self._enter(SessionState.LEAVING)

    def abort(self, reason: str, message: str) -> None:
        """Send ABORT. This ends the session at once."""
        self._send(m.Abort({"message": message}, reason))
        self._enter(SessionState.ENDED)

    def abandon(self) -> list[t.Any]:
        """End the session without a message. Use it when the transport is lost.

        :returns: The tickets of the unanswered requests.
        """
        self._enter(SessionState.ENDED)
        tickets = [
            pending.ticket
            for pending in self._pending.values()
            if pending.ticket is not None and pending.ticket is not FORGOTTEN
        ]
        self._pending.clear()
        self.unanswered.clear()
        return tickets

    # The router's messages.

    def receive(self, message: m.Message) -> SessionEvent:
        """Handle a message of the router. Return the event that it means, if any.

        :raises ProtocolError: The message is not legal in this state.
        """
        legal = self._legal.get(type(message))
        if legal is None:
            raise ProtocolError(f"{type(message).__name__} is not legal while {self.state.value}")
        return legal(message)

    def refuse(
        self, message: m.Message, why: str, uri: str = error_uris.PAYLOAD_SIZE_EXCEEDED
    ) -> SessionEvent:
        """Refuse a message of the router without ending the session.

        An invocation is answered with ERROR, a call gets an error instead of its result, and an event is
        ignored. Any other message is handled as :meth:`receive` does.

        :param why: The text of the error.
        :param uri: The URI of the error.
        """
        if isinstance(message, m.Invocation):
            self.unanswered.add(message.request_id)
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
        self.features = router_features.RouterFeatures(message.details)
        self._enter(SessionState.JOINED)
        return Joined(message.session_id, message.details)

    def _on_abort(self, message: m.Abort) -> Left:
        self._enter(SessionState.ENDED)
        return Left.read(message)

    def _on_goodbye(self, message: m.Goodbye) -> Left:
        if self.state is SessionState.JOINED:
            self._send(m.Goodbye({}, error_uris.GOODBYE_AND_OUT))
        self._enter(SessionState.ENDED)
        return Left.read(message)

    def _on_result(self, message: m.Result) -> SessionEvent:
        pending = self._pending.get(message.request_id)
        if pending is None or pending.request_type is not m.Call:
            return Ignored(message)
        if not message.details.get("progress"):
            del self._pending[message.request_id]
        return Answered(pending.ticket, message)

    def _on_error(self, message: m.Error) -> SessionEvent:
        pending = self._pending.get(message.request_id)
        if pending is None or m.code(pending.request_type) != message.request_type:
            return Ignored(message)
        del self._pending[message.request_id]
        return (
            Ignored(message) if pending.ticket is FORGOTTEN else Answered(pending.ticket, message)
        )

    def _on_published(self, message: m.Published) -> SessionEvent:
        pending = self._take(m.Publish, message.request_id)
        return Answered(pending.ticket, message) if pending else Ignored(message)

    def _on_registered(self, message: m.Registered) -> SessionEvent:
        pending = self._take(m.Register, message.request_id)
        if pending is None:
            return Ignored(message)
        if pending.ticket is FORGOTTEN:
            self.unregister(message.registration_id, None)
            return Ignored(message)
        self.registrations[message.registration_id] = pending.target
        return Answered(pending.ticket, message)

    def _on_subscribed(self, message: m.Subscribed) -> SessionEvent:
        pending = self._take(m.Subscribe, message.request_id)
        if pending is None:
            return Ignored(message)
        target, topic = pending.target
        self.subscriptions.add(message.subscription_id, topic, target)
        if pending.ticket is FORGOTTEN:
            self.drop_target(message.subscription_id, target)
            return Ignored(message)
        return Answered(pending.ticket, message)

    def _on_unregistered(self, message: m.Unregistered) -> SessionEvent:
        if message.request_id == 0:
            target = self.registrations.pop(m.id_in(message.details, "registration"), None)
            return Revoked((target,), message.details) if target is not None else Ignored(message)
        pending = self._take(m.Unregister, message.request_id)
        if pending is None:
            return Ignored(message)
        self.registrations.pop(pending.target, None)
        return Answered(pending.ticket, message)

    def _on_unsubscribed(self, message: m.Unsubscribed) -> SessionEvent:
        if message.request_id == 0:
            targets = self.subscriptions.forget(m.id_in(message.details, "subscription"))
            return Revoked(targets, message.details) if targets else Ignored(message)
        pending = self._take(m.Unsubscribe, message.request_id)
        if pending is None:
            return Ignored(message)
        self.subscriptions.forget(pending.target)
        return Answered(pending.ticket, message)

    def _on_invocation(self, message: m.Invocation) -> SessionEvent:
        target = self.registrations.get(message.registration_id)
        self.unanswered.add(message.request_id)
        if target is None:
            self.error(message.request_id, error_uris.NO_SUCH_PROCEDURE, (), {})
            return Ignored(message)
        return Invoked(target, message)

    def _on_interrupt(self, message: m.Interrupt) -> SessionEvent:
        if message.request_id not in self.unanswered:
            return Ignored(message)
        return Interrupted(message)

    def _on_event(self, message: m.Event) -> SessionEvent:
        targets = self.subscriptions.receivers(message)
        return Delivered(targets, message) if targets else Ignored(message)

    def _on_anything(self, message: m.Message) -> Ignored:
        return Ignored(message)

    # Helpers.

    def _take(self, request_type: type[m.Message], request_id: int) -> Pending | None:
        """Remove and return the request that is answered. None if there is no such request."""
        pending = self._pending.get(request_id)
        if pending is None or pending.request_type is not request_type:
            return None
        del self._pending[request_id]
        return pending

    def _enter(self, state: SessionState) -> None:
        self.state = state
        self._legal = {
            message_type: getattr(self, name) for message_type, name in LEGAL[state].items()
        }
