"""The dealer and the broker of a :class:`~tests.support.memory.MemoryRouter`."""

from __future__ import annotations

import collections
import itertools
import typing as t

from flask_wamp import messages as m
from tests.support.memory_transport import MemoryTransport

NOT_AUTHORIZED = "wamp.error.not_authorized"
NO_SUCH_PROCEDURE = "wamp.error.no_such_procedure"

Answer = t.Callable[[t.Any], None]
"""Called with the YIELD or ERROR of an invocation."""


class Member(t.NamedTuple):
    """A callee of a procedure or a subscriber of a topic, with its registration or subscription."""

    transport: MemoryTransport
    id: int


class Members:
    """Who registered or subscribed, by URI."""

    def __init__(self) -> None:
        self._members: dict[str, list[Member]] = collections.defaultdict(list)
        self._matches: dict[str, str] = {}

    @property
    def uris(self) -> set[str]:
        """The URIs that have members."""
        return {uri for uri, members in self._members.items() if members}

    def add(self, uri: str, options: m.Details, member: Member) -> None:
        """Add one."""
        self._matches[uri] = options.get("match", "exact")
        self._members[uri].append(member)

    def of(self, uri: str) -> list[Member]:
        """Those of exactly that URI, in order."""
        return self._members[uri]

    def matching(self, uri: str) -> list[tuple[str, list[Member]]]:
        """Those that match a URI, with the URI they gave."""
        return [
            (declared, members)
            for declared, members in self._members.items()
            if members and self._is_match(declared, uri)
        ]

    def _is_match(self, declared: str, uri: str) -> bool:
        if self._matches[declared] == "prefix":
            return uri.startswith(declared)
        return declared == uri

    def remove(self, member: Member) -> bool:
        """Take one away; whether it was there."""
        for members in self._members.values():
            if member in members:
                members.remove(member)
                return True
        return False

    def forget(self, transport: MemoryTransport) -> None:
        """Take all away of somebody who is gone."""
        for members in self._members.values():
            members[:] = [member for member in members if member.transport is not transport]


class Routing:
    """What a router does with the messages of joined clients. Its driver holds a lock."""

    def __init__(self) -> None:
        self.ids = itertools.count(1000)
        self.refused: set[str] = set()
        self.callees = Members()
        self.subscribers = Members()
        self._invocations: dict[tuple[MemoryTransport, int], Answer] = {}
        self._calls: dict[tuple[MemoryTransport, int], tuple[MemoryTransport, int]] = {}

    # Dealer.

    def on_register(self, transport: MemoryTransport, message: m.Register) -> None:
        """REGISTER: several callees may share a procedure, round robin, unless ``single``."""
        if self._is_refused(transport, message, message.procedure):
            return
        shared = message.options.get("invoke", "single") != "single"
        if self.callees.of(message.procedure) and not shared:
            self.refuse(transport, message, "wamp.error.procedure_already_exists")
            return
        member = Member(transport, next(self.ids))
        self.callees.add(message.procedure, message.options, member)
        transport.put(m.Registered(message.request_id, member.id))

    def on_unregister(self, transport: MemoryTransport, message: m.Unregister) -> None:
        """UNREGISTER."""
        if self.callees.remove(Member(transport, message.registration_id)):
            transport.put(m.Unregistered(message.request_id))
        else:
            self.refuse(transport, message, "wamp.error.no_such_registration")

    def on_call(self, transport: MemoryTransport, message: m.Call) -> None:
        """CALL of a client's procedure."""
        if self._is_refused(transport, message, message.procedure):
            return

        def answer(answered: m.Yield | m.Error) -> None:
            transport.put(_answer_to_call(message.request_id, answered))

        details: m.Details = {"caller": transport.session_id}
        if message.options.get("receive_progress"):
            details["receive_progress"] = True
        invocation = self.invoke(message.procedure, details, message.args, message.kwargs, answer)
        if invocation is None:
            self.refuse(transport, message, NO_SUCH_PROCEDURE)
        else:
            self._calls[transport, message.request_id] = invocation

    def invoke(
        self, uri: str, details: m.Details, args: list[t.Any], kwargs: m.Details, answer: Answer
    ) -> tuple[MemoryTransport, int] | None:
        """Send INVOCATION to the next callee; None where there is none."""
        matching = self.callees.matching(uri)
        if not matching:
            return None
        declared, callees = matching[0]
        callees.append(callees.pop(0))
        callee = callees[-1]
        if declared != uri:
            details = {**details, "procedure": uri}
        key = callee.transport, next(self.ids)
        self._invocations[key] = answer
        callee.transport.put(m.Invocation(key[1], callee.id, details, args, kwargs))
        return key

    def on_cancel(self, transport: MemoryTransport, message: m.Cancel) -> None:
        """CANCEL, as with ``killnowait``: the caller is answered at once."""
        invocation = self._calls.pop((transport, message.request_id), None)
        if invocation is not None and self._invocations.pop(invocation, None) is not None:
            invocation[0].put(m.Interrupt(invocation[1], message.options))
        transport.put(m.Error(m.code(m.Call), message.request_id, {}, "wamp.error.canceled"))

    def on_yield(self, transport: MemoryTransport, message: m.Yield) -> None:
        """YIELD."""
        key = transport, message.request_id
        answer = self._invocations.get(key)
        if not message.options.get("progress"):
            self._invocations.pop(key, None)
        if answer is not None:
            answer(message)

    def on_error(self, transport: MemoryTransport, message: m.Error) -> None:
        """ERROR of an invocation."""
        answer = self._invocations.pop((transport, message.request_id), None)
        if answer is not None:
            answer(message)

    # Broker.

    def on_subscribe(self, transport: MemoryTransport, message: m.Subscribe) -> None:
        """SUBSCRIBE: one subscription for all who ask for a topic in one session."""
        if self._is_refused(transport, message, message.topic):
            return
        known = [each for each in self.subscribers.of(message.topic) if each.transport is transport]
        member = known[0] if known else Member(transport, next(self.ids))
        if not known:
            self.subscribers.add(message.topic, message.options, member)
        transport.put(m.Subscribed(message.request_id, member.id))

    def on_unsubscribe(self, transport: MemoryTransport, message: m.Unsubscribe) -> None:
        """UNSUBSCRIBE."""
        if self.subscribers.remove(Member(transport, message.subscription_id)):
            transport.put(m.Unsubscribed(message.request_id))
        else:
            self.refuse(transport, message, "wamp.error.no_such_subscription")

    def on_publish(self, transport: MemoryTransport, message: m.Publish) -> None:
        """PUBLISH: acknowledged, and sent back to the publisher, only where it asks for that."""
        options = message.options
        if message.topic in self.refused:
            if options.get("acknowledge"):
                self.refuse(transport, message, NOT_AUTHORIZED)
            return
        excluded = None if options.get("exclude_me") is False else transport
        details = {"publisher": transport.session_id}
        number = self.deliver(message.topic, details, message.args, message.kwargs, excluded)
        if options.get("acknowledge"):
            transport.put(m.Published(message.request_id, number))

    def deliver(
        self,
        topic: str,
        details: m.Details,
        args: list[t.Any],
        kwargs: m.Details,
        excluded: MemoryTransport | None = None,
    ) -> int:
        """Send EVENT to all who subscribed; return the publication id."""
        number = next(self.ids)
        for declared, members in self.subscribers.matching(topic):
            own = details if declared == topic else {**details, "topic": topic}
            for member in members:
                if member.transport is not excluded:
                    member.transport.put(m.Event(member.id, number, own, args, kwargs))
        return number

    # Helpers.

    def _is_refused(self, transport: MemoryTransport, message: t.Any, uri: str) -> bool:
        if uri in self.refused:
            self.refuse(transport, message, NOT_AUTHORIZED, "not today")
        return uri in self.refused

    def refuse(self, transport: MemoryTransport, message: t.Any, uri: str, *args: t.Any) -> None:
        """Answer a request with ERROR."""
        code = m.code(type(message))
        transport.put(m.Error(code, message.request_id, {}, uri, list(args)))

    def forget(self, transport: MemoryTransport) -> None:
        """Somebody is gone: nothing is registered or subscribed, whoever called it is told."""
        self.callees.forget(transport)
        self.subscribers.forget(transport)
        gone = m.Error(m.code(m.Invocation), 0, {}, "wamp.error.canceled", ["callee disconnected"])
        for key in [key for key in self._invocations if key[0] is transport]:
            self._invocations.pop(key)(gone)


def _answer_to_call(request_id: int, answered: m.Yield | m.Error) -> m.Message:
    if isinstance(answered, m.Yield):
        return m.Result(request_id, answered.options, answered.args, answered.kwargs)
    args, kwargs = answered.args, answered.kwargs
    return m.Error(m.code(m.Call), request_id, {}, answered.error, args, kwargs)
