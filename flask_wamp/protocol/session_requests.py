"""The messages that a client sends in its session: requests, and answers to invocations.

Source: WAMP Basic Profile, "Publish and Subscribe", "Remote Procedure Calls".
"""

from __future__ import annotations

import typing as t

import msgspec

from ..exceptions import PayloadTooLarge
from . import messages as m
from . import router_features
from .serializers import Serializer
from .subscription_targets import SubscriptionTargets


class Pending(msgspec.Struct):
    """A request that the router has not answered yet."""

    ticket: object
    request_type: type[m.Message]
    target: t.Any


#: The ticket of a REGISTER or SUBSCRIBE that was forgotten, see :meth:`SessionRequests.forget`.
FORGOTTEN = object()


class SessionRequests:
    """The sending part of a session. :class:`.Session` adds the states, and handles the router's messages.

    :param serializer: The serializer that was negotiated.
    :param max_message_size: Bytes of the largest message that may be sent. :class:`.PayloadTooLarge` is
        raised for larger ones.
    """

    def __init__(self, serializer: Serializer, max_message_size: int) -> None:
        self.outgoing: list[bytes] = []
        self.registrations: dict[int, object] = {}
        self.subscriptions = SubscriptionTargets()
        self.unanswered: set[int] = set()
        """The request ids of invocations that this peer has not answered yet."""
        self.features = router_features.NONE
        """The features that the router has announced. Empty before WELCOME."""
        self.max_message_size = max_message_size
        self._serializer = serializer
        self._last_request_id = 0
        self._pending: dict[int, Pending] = {}

    # Requests of this peer. Each method returns the request id.

    def call(
        self,
        procedure: str,
        args: t.Sequence[object],
        kwargs: m.Details,
        options: m.Details,
        ticket: object,
    ) -> int:
        """Send CALL. The ticket is returned with each RESULT, and with ERROR."""
        if options:
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
        """Send PUBLISH. The router answers only if ``options`` contain ``acknowledge``.

        :raises NotSupported: The router does not support an option that selects the receivers, or ``retain``.
        """
        if options:
            options = self.features.for_publish(options)
        message = m.Publish(0, options, topic, args, kwargs)
        return self._request(message, ticket, answered=bool(options.get("acknowledge")))

    def register(self, procedure: str, options: m.Details, target: object, ticket: object) -> int:
        """Send REGISTER. Each :class:`Invoked` of this registration has the ``target``.

        :raises NotSupported: The router does not support patterns.
        """
        if options:
            options = self.features.for_register(options)
        return self._request(m.Register(0, options, procedure), ticket, target)

    def unregister(self, registration_id: int, ticket: object) -> int:
        """Send UNREGISTER. Invocations may arrive until the router has answered."""
        return self._request(m.Unregister(0, registration_id), ticket, registration_id)

    def subscribe(self, topic: str, options: m.Details, target: object, ticket: object) -> int:
        """Send SUBSCRIBE. Each :class:`Delivered` of this subscription has the ``target``.

        :raises NotSupported: The router does not support patterns.
        """
        if options:
            options = self.features.for_subscribe(options)
        asked = target, (topic, options.get("match", "exact"))
        return self._request(m.Subscribe(0, options, topic), ticket, asked)

    def unsubscribe(self, subscription_id: int, ticket: object) -> int:
        """Send UNSUBSCRIBE."""
        return self._request(m.Unsubscribe(0, subscription_id), ticket, subscription_id)

    def cancel(self, request_id: int, mode: str) -> None:
        """Send CANCEL for a call, if the router supports it. The ticket is returned with ERROR."""
        pending = self._pending.get(request_id)
        is_call = pending is not None and pending.request_type is m.Call
        if is_call and self.features.can_cancel:
            self._send(m.Cancel(request_id, {"mode": mode}))

    def send_message(self, message: t.Any) -> None:
        """Send any message. A request gets the next request id, and its answer is ignored."""
        if isinstance(message, m.Call):
            message.options = self.features.for_call(message.options)
        elif isinstance(message, m.Publish):
            message.options = self.features.for_publish(message.options)
        if isinstance(message, _REQUESTS):
            self._request(message, None, answered=False)
        else:
            self._send(message)

    def forget(self, request_id: int) -> None:
        """Forget a request. A late answer to it is :class:`Ignored`.

        REGISTER and SUBSCRIBE stay pending, because a late REGISTERED or SUBSCRIBED must be undone at once.
        """
        pending = self._pending.get(request_id)
        if pending is None:
            return
        if pending.request_type is m.Register or pending.request_type is m.Subscribe:
            pending.ticket = FORGOTTEN
        else:
            del self._pending[request_id]

    def drop_target(self, subscription_id: int, target: object, ticket: object = None) -> bool:
        """Stop delivering to a target. Send UNSUBSCRIBE and return True if it was the last target.

        While a SUBSCRIBE to the same topic waits for its answer, the subscription is kept.
        """
        topic = self.subscriptions.drop(subscription_id, target)
        asked = (p.target[1] for p in self._pending.values() if p.request_type is m.Subscribe)
        if topic is None or topic in asked:
            return False
        self.unsubscribe(subscription_id, ticket)
        return True

    # Answers of this peer as a callee.

    def yield_(
        self,
        request_id: int,
        args: t.Sequence[object],
        kwargs: m.Details,
        *,
        progress: bool = False,
    ) -> bool:
        """Send YIELD. Return False if the invocation was answered already, or the session has ended."""
        if request_id not in self.unanswered:
            return False
        options = {"progress": True} if progress else {}
        self._send(m.Yield(request_id, options, args, kwargs))
        if not progress:
            self.unanswered.discard(request_id)
        return True

    def error(self, request_id: int, uri: str, args: t.Sequence[object], kwargs: m.Details) -> bool:
        """Send ERROR. Return False if the invocation was answered already, or the session has ended."""
        if request_id not in self.unanswered:
            return False
        self._send(m.Error(m.code(m.Invocation), request_id, {}, uri, args, kwargs))
        self.unanswered.discard(request_id)
        return True

    # Helpers.

    def _request(
        self, message: t.Any, ticket: object, target: object = None, answered: bool = True
    ) -> int:
        # Basic Profile, "IDs": session-scope ids are incremented by 1. There must be no gap, so if the
        # message cannot be encoded, the next message gets its id.
        message.request_id = self._last_request_id + 1
        self._send(message)
        self._last_request_id += 1
        if answered:
            self._pending[self._last_request_id] = Pending(ticket, type(message), target)
        return self._last_request_id

    def _send(self, message: m.Message) -> None:
        data = self._serializer.encode(message)
        if len(data) > self.max_message_size:
            raise PayloadTooLarge(
                f"a {type(message).__name__} message of {len(data)} bytes is over the limit of "
                f"{self.max_message_size} bytes (WAMP_MAX_MESSAGE_SIZE, or the router's limit)"
            )
        self.outgoing.append(data)


_REQUESTS = (m.Call, m.Publish, m.Register, m.Unregister, m.Subscribe, m.Unsubscribe)
