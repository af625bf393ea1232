"""Random sequences: whatever a router answers, in any order, every ticket is returned once."""

from __future__ import annotations

import typing as t

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from flask_wamp.exceptions import ProtocolError, SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.session import Session
from flask_wamp.protocol.session_events import Answered, Ignored, Invoked
from tests.support.wire import SERIALIZERS, joined_session, said

Ask = t.Callable[[Session, t.Any], int]

ASK: dict[type[m.Message], Ask] = {
    m.Call: lambda session, ticket: session.call("com.x", [], {}, {}, ticket),
    m.Publish: lambda session, ticket: session.publish("com.x", [], {}, {"acknowledge": 1}, ticket),
    m.Register: lambda session, ticket: session.register("com.x", {}, "f", ticket),
    m.Unregister: lambda session, ticket: session.unregister(7, ticket),
    m.Subscribe: lambda session, ticket: session.subscribe("com.x", {}, "f", ticket),
    m.Unsubscribe: lambda session, ticket: session.unsubscribe(8, ticket),
}

GRANT: dict[type[m.Message], t.Callable[[int], m.Message]] = {
    m.Call: lambda request_id: m.Result(request_id, {}, [request_id]),
    m.Publish: lambda request_id: m.Published(request_id, 4711),
    m.Register: lambda request_id: m.Registered(request_id, 7),
    m.Unregister: lambda request_id: m.Unregistered(request_id),
    m.Subscribe: lambda request_id: m.Subscribed(request_id, 8),
    m.Unsubscribe: lambda request_id: m.Unsubscribed(request_id),
}

kinds = st.sampled_from(list(ASK))
any_id = st.integers(0, 60)


class Requests(RuleBasedStateMachine):
    """A session with many requests, and a router that answers in any way."""

    waiting = Bundle("waiting")
    ended = Bundle("ended")

    serializer: str

    def __init__(self) -> None:
        super().__init__()
        self.session = joined_session(serializer=self.serializer)
        self.asked: list[int] = []
        self.forgotten: set[int] = set()
        self.returned: list[int] = []
        self.sent: list[m.Message] = []

    @rule(target=waiting, kind=kinds)
    def ask(self, kind: type[m.Message]) -> t.Any:
        ticket = len(self.asked)
        self.asked.append(ticket)
        return kind, ASK[kind](self.session, ticket), ticket

    @rule()
    def ask_for_what_cannot_be_sent(self) -> None:
        with pytest.raises(SerializationError):
            self.session.call("com.x", [object()], {}, {}, "never")

    @rule()
    def publish_without_acknowledgement(self) -> None:
        self.session.publish("com.x", [], {}, {})

    @rule(target=ended, pending=consumes(waiting), error=st.booleans())
    def answer(self, pending: t.Any, error: bool) -> t.Any:
        kind, request_id, ticket = pending
        message = (
            m.Error(m.code(kind), request_id, {}, "com.x") if error else GRANT[kind](request_id)
        )
        assert self.session.receive(message) == Answered(ticket, message)
        self.returned.append(ticket)
        return pending

    @rule(pending=waiting)
    def answer_in_part(self, pending: t.Any) -> t.Any:
        kind, request_id, ticket = pending
        message = m.Result(request_id, {"progress": True}, [1])
        answered = Answered(ticket, message)
        assert self.session.receive(message) == (answered if kind is m.Call else Ignored(message))

    @rule(target=ended, pending=consumes(waiting))
    def forget(self, pending: t.Any) -> t.Any:
        self.session.forget(pending[1])
        self.forgotten.add(pending[2])
        return pending

    @rule(pending=ended)
    def answer_again(self, pending: t.Any) -> None:
        kind, request_id, _ = pending
        assert isinstance(self.session.receive(GRANT[kind](request_id)), Ignored)

    @rule(pending=waiting, kind=kinds)
    def answer_as_something_else(self, pending: t.Any, kind: type[m.Message]) -> None:
        if kind is not pending[0]:
            assert isinstance(self.session.receive(GRANT[kind](pending[1])), Ignored)

    @rule(request_id=st.integers(10**6, 10**15), kind=kinds)
    def answer_what_nobody_asked(self, request_id: int, kind: type[m.Message]) -> None:
        assert isinstance(self.session.receive(GRANT[kind](request_id)), Ignored)

    @rule(kind=st.sampled_from([m.Welcome, m.Challenge]))
    def break_the_protocol(self, kind: t.Any) -> None:
        with pytest.raises(ProtocolError):
            self.session.receive(m.Welcome(1, {}) if kind is m.Welcome else m.Challenge("", {}))

    @invariant()
    def request_ids_have_no_gap(self) -> None:
        self.sent += said(self.session)
        assert [message.request_id for message in self.sent] == list(range(1, len(self.sent) + 1))

    def teardown(self) -> None:
        everything = self.returned + sorted(self.forgotten) + self.session.abandon()
        assert sorted(everything) == self.asked


class Invocations(RuleBasedStateMachine):
    """A callee whose handlers answer in any order, while the router interrupts and revokes."""

    in_hand = Bundle("in_hand")
    answered = Bundle("answered")

    def __init__(self) -> None:
        super().__init__()
        self.session = joined_session()
        self.session.register("com.x", {}, "f", None)
        self.session.receive(m.Registered(1, 7))
        self.next_id = 1

    @rule(target=in_hand, count=st.integers(1, 4))
    def invoke(self, count: int) -> t.Any:
        ids = range(self.next_id, self.next_id + count)
        for request_id in ids:
            assert isinstance(self.session.receive(m.Invocation(request_id, 7, {})), Invoked)
        self.next_id += count
        return multiple(*ids)

    @rule(request_id=in_hand)
    def interrupt(self, request_id: int) -> None:
        assert self.session.receive(m.Interrupt(request_id, {})) is not None

    @rule(request_id=in_hand)
    def progress(self, request_id: int) -> None:
        assert self.session.yield_(request_id, [], {}, progress=True)

    @rule(target=answered, request_id=consumes(in_hand), error=st.booleans())
    def answer(self, request_id: int, error: bool) -> int:
        if error:
            assert self.session.error(request_id, "com.x", [], {})
        else:
            assert self.session.yield_(request_id, [], {})
        return request_id

    @rule(request_id=answered)
    def answer_again(self, request_id: int) -> None:
        assert not self.session.yield_(request_id, [], {})
        assert not self.session.error(request_id, "com.x", [], {})
        assert isinstance(self.session.receive(m.Interrupt(request_id, {})), Ignored)

    def teardown(self) -> None:
        finals = [
            message.request_id
            for message in said(self.session)
            if isinstance(message, m.Error) or isinstance(message, m.Yield) and not message.options
        ]
        assert len(finals) == len(set(finals))
        assert sorted({*finals, *self.session.unanswered}) == list(range(1, self.next_id))


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_every_ticket_comes_back_exactly_once(serializer: str) -> None:
    machine = type("Machine", (Requests,), {"serializer": serializer})
    run_state_machine_as_test(machine, settings=settings(stateful_step_count=40))


def test_every_invocation_is_answered_at_most_once() -> None:
    run_state_machine_as_test(Invocations, settings=settings(stateful_step_count=40))
