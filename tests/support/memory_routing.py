"""The dealer and the broker of a :class:`~tests.support.memory.MemoryRouter`."""

from __future__ import annotations

import collections
import itertools
import typing as t

from flask_wamp.protocol import messages as m
from tests.support.memory_transport import MemoryTransport

NOT_AUTHORIZED = "wamp.error.not_authorized"
OTHER_POLICY = "wamp.error.procedure_exists_with_different_invocation_policy"
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
        self._members: dict[tuple[str, str], list[Member]] = collections.defaultdict(list)
        self.ignore_match = False
        """Whether one URI is one registration or subscription, whatever ``match`` is."""

    @property
    def uris(self) -> set[str]:
        """The URIs that have members."""
        return {uri for (uri, _), members in self._members.items() if members}

    def add(self, uri: str, options: m.Details, member: Member) -> None:
        """Add one."""
        self._members[uri, self._match(options)].append(member)

    def of(self, uri: str, options: m.Details) -> list[Member]:
        """Those of exactly that URI, by the same ``match``, in order."""
        return self._members[uri, self._match(options)]

    def matching(self, uri: str) -> list[tuple[bool, list[Member]]]:
        """Those that match a URI, best first, and whether by a pattern."""
        found = [
            (declared, match, members)
            for (declared, match), members in self._members.items()
            if members and _MATCHES[match](declared, uri)
        ]
        # Exact ones, then the longest prefix, then wildcards.
        found.sort(key=lambda each: (list(_MATCHES).index(each[1]), -len(each[0])))
        return [(match != "exact", members) for _, match, members in found]

    def _match(self, options: m.Details) -> str:
        return "exact" if self.ignore_match else str(options.get("match", "exact"))

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


def _is_wildcard_of(declared: str, uri: str) -> bool:
    parts, texts = declared.split("."), uri.split(".")
    return len(parts) == len(texts) and all(
        part in ("", text) for part, text in zip(parts, texts, strict=True)
    )


_MATCHES: dict[str, t.Callable[[str, str], bool]] = {
    "exact": str.__eq__,
    "prefix": lambda declared, uri: uri.startswith(declared),
    "wildcard": _is_wildcard_of,
}


class Routing:
    """What a router does with the messages of joined clients. Its driver holds a lock."""

    def __init__(self) -> None:
        self.ids = itertools.count(1000)
        self.refused: set[str] = set()
        self.retained: dict[str, tuple[list[t.Any], m.Details]] = {}
        self.callees = Members()
        self.subscribers = Members()
        self._policies: dict[tuple[str, str | None], str] = {}
        self._invocations: dict[tuple[MemoryTransport, int], Answer] = {}
        self._calls: dict[tuple[MemoryTransport, int], tuple[MemoryTransport, int]] = {}

    # Dealer.

    def on_register(self, transport: MemoryTransport, message: m.Register) -> None:
        """REGISTER: several callees may share a procedure, round robin, unless ``single``."""
        if self._is_refused(transport, message, message.procedure):
            return
        options = message.options
        if options.get("force_reregister") and not self._take_away(message):
            return
        others = self.callees.of(message.procedure, options)
        policy, key = options.get("invoke", "single"), (message.procedure, options.get("match"))
        present = self._policies.get(key) if others else policy
        if others and present == "single":
            self.refuse(transport, message, "wamp.error.procedure_already_exists")
            return
        if present != policy:
            self.refuse(transport, message, OTHER_POLICY)
            return
        self._policies[key] = policy
        member = Member(transport, next(self.ids))
        self.callees.add(message.procedure, message.options, member)
        transport.put(m.Registered(message.request_id, member.id))

    def _take_away(self, message: m.Register) -> bool:
        """As Crossbar 26.10: of several it takes every other one, and then fails."""
        others = self.callees.of(message.procedure, message.options)
        for member in others[::2]:
            others.remove(member)
            details = {"registration": member.id, "reason": "wamp.error.unregistered"}
            member.transport.put(m.Unregistered(0, details))
        return not others

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
        by_pattern, callees = matching[0]
        callees.append(callees.pop(0))
        callee = callees[-1]
        if by_pattern:
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
        others = self.subscribers.of(message.topic, message.options)
        known = [each for each in others if each.transport is transport]
        member = known[0] if known else Member(transport, next(self.ids))
        if not known:
            self.subscribers.add(message.topic, message.options, member)
        transport.put(m.Subscribed(message.request_id, member.id))
        if message.options.get("get_retained") and message.topic in self.retained:
            args, kwargs = self.retained[message.topic]
            details = {"retained": True}
            transport.put(m.Event(member.id, next(self.ids), details, args, kwargs))

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
        if options.get("retain"):
            self.retained[message.topic] = (message.args, message.kwargs)
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
        for by_pattern, members in self.subscribers.matching(topic):
            own = {**details, "topic": topic} if by_pattern else details
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
