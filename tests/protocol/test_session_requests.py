"""Requests of a session, and the answers: calls, publications, registrations, subscriptions."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.exceptions import SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.session import Session
from flask_wamp.protocol.session_events import Answered, Delivered, Ignored
from tests.support.wire import SERIALIZERS, joined_session, said

ACKNOWLEDGE = {"acknowledge": True}


class Request(t.NamedTuple):
    """One kind of request, its message, and the router's positive answer."""

    ask: t.Callable[[Session, t.Any], int]
    message: m.Message
    grant: m.Message


REQUESTS: dict[str, Request] = {
    "call": Request(
        lambda session, ticket: session.call("com.x", [1], {"a": 2}, {}, ticket),
        m.Call(1, {}, "com.x", [1], {"a": 2}),
        m.Result(1, {}, [3]),
    ),
    "publish": Request(
        lambda session, ticket: session.publish("com.x", [1], {}, ACKNOWLEDGE, ticket),
        m.Publish(1, {"acknowledge": True}, "com.x", [1]),
        m.Published(1, 4711),
    ),
    "register": Request(
        lambda session, ticket: session.register("com.x", {"match": "prefix"}, "f", ticket),
        m.Register(1, {"match": "prefix"}, "com.x"),
        m.Registered(1, 7),
    ),
    "unregister": Request(
        lambda session, ticket: session.unregister(7, ticket),
        m.Unregister(1, 7),
        m.Unregistered(1),
    ),
    "subscribe": Request(
        lambda session, ticket: session.subscribe("com.x", {}, "f", ticket),
        m.Subscribe(1, {}, "com.x"),
        m.Subscribed(1, 8),
    ),
    "unsubscribe": Request(
        lambda session, ticket: session.unsubscribe(8, ticket),
        m.Unsubscribe(1, 8),
        m.Unsubscribed(1),
    ),
}

each_request = pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)


@each_request
@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_request_is_sent(request_: Request, serializer: str) -> None:
    session = joined_session(serializer=serializer)
    assert request_.ask(session, None) == 1
    assert said(session) == [request_.message]


@each_request
def test_ticket_comes_back_with_the_answer(request_: Request) -> None:
    session = joined_session()
    ticket = object()
    request_.ask(session, ticket)
    event = session.receive(request_.grant)
    assert event == Answered(ticket, request_.grant)
    assert session.abandon() == []


@each_request
def test_ticket_comes_back_with_an_error(request_: Request) -> None:
    session = joined_session()
    request_.ask(session, "ticket")
    error = m.Error(m.code(type(request_.message)), 1, {}, "wamp.error.not_authorized", ["no"])
    assert session.receive(error) == Answered("ticket", error)
    assert session.abandon() == []


@each_request
def test_second_answer_is_ignored(request_: Request) -> None:
    session = joined_session()
    request_.ask(session, "ticket")
    session.receive(request_.grant)
    assert session.receive(request_.grant) == Ignored(request_.grant)


@each_request
def test_an_answer_to_no_request_is_ignored(request_: Request) -> None:
    session = joined_session()
    assert session.receive(request_.grant) == Ignored(request_.grant)
    assert session.registrations == {}
    assert session.subscriptions == {}


@each_request
def test_late_answer_is_ignored(request_: Request) -> None:
    session = joined_session()
    session.forget(request_.ask(session, "ticket"))
    assert isinstance(session.receive(request_.grant), Ignored)


def test_a_late_registration_is_unregistered() -> None:
    session = joined_session()
    session.forget(session.register("com.x", {}, "target", "ticket"))
    said(session)
    session.receive(m.Registered(1, 77))
    assert session.registrations == {}
    assert said(session) == [m.Unregister(2, 77)]
    assert session.abandon() == []


def test_a_late_subscription_is_unsubscribed() -> None:
    session = joined_session()
    session.forget(session.subscribe("com.x", {}, "target", "ticket"))
    said(session)
    session.receive(m.Subscribed(1, 77))
    assert said(session) == [m.Unsubscribe(2, 77)]
    event = m.Event(77, 1, {})
    assert session.receive(event) == Ignored(event)


def test_a_late_subscription_that_others_share_is_kept() -> None:
    session = joined_session()
    session.subscribe("com.x", {}, "other", None)
    session.receive(m.Subscribed(1, 77))
    session.forget(session.subscribe("com.x", {}, "target", "ticket"))
    said(session)
    session.receive(m.Subscribed(2, 77))
    assert said(session) == []
    event = m.Event(77, 1, {})
    assert session.receive(event) == Delivered(("other",), event)


@pytest.mark.parametrize("name", ["REGISTER", "SUBSCRIBE"])
def test_late_refusal_is_ignored(name: str) -> None:
    session = joined_session()
    ask = session.register if name == "REGISTER" else session.subscribe
    kind = m.Register if name == "REGISTER" else m.Subscribe
    session.forget(ask("com.x", {}, "target", "ticket"))
    error = m.Error(m.code(kind), 1, {}, "wamp.error.not_authorized")
    assert session.receive(error) == Ignored(error)
    assert session.abandon() == []


def test_only_calls_are_canceled() -> None:
    session = joined_session()
    number = session.register("com.x", {}, "target", "ticket")
    said(session)
    session.cancel(number, "killnowait")
    assert said(session) == []


@each_request
@pytest.mark.parametrize("other", REQUESTS.values(), ids=REQUESTS)
def test_answer_to_another_kind_of_request_is_ignored(request_: Request, other: Request) -> None:
    if other is request_:
        return
    session = joined_session()
    request_.ask(session, "ticket")
    assert session.receive(other.grant) == Ignored(other.grant)
    error = m.Error(m.code(type(other.message)), 1, {}, "wamp.error.x")
    assert session.receive(error) == Ignored(error)
    assert session.registrations == {}
    assert session.subscriptions == {}
    assert session.abandon() == ["ticket"]


# Request ids. Source: WAMP Basic Profile, "IDs".


def test_request_ids_are_sequential_over_all_kinds() -> None:
    session = joined_session()
    ids = [request.ask(session, None) for request in REQUESTS.values() for _ in range(3)]
    assert ids == list(range(1, 19))
    assert [message.request_id for message in said(session)] == ids


def test_unacknowledged_publications_use_request_ids_too() -> None:
    session = joined_session()
    assert session.publish("com.x", [], {}, {}) == 1
    assert session.call("com.x", [], {}, {}, None) == 2


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_refused_payload_leaves_no_gap(serializer: str) -> None:
    session = joined_session(serializer=serializer)
    session.call("com.x", [], {}, {}, "first")
    with pytest.raises(SerializationError):
        session.call("com.x", [object()], {}, {}, "refused")
    session.call("com.x", [], {}, {}, "second")
    assert [message.request_id for message in said(session)] == [1, 2]
    assert session.abandon() == ["first", "second"]


def test_message_over_the_limit_leaves_no_gap() -> None:
    session = joined_session(max_message_size=1024)
    with pytest.raises(SerializationError, match="WAMP_MAX_MESSAGE_SIZE"):
        session.call("com.x", ["x" * 1024], {}, {}, "refused")
    assert session.outgoing == []
    assert session.call("com.x", [], {}, {}, None) == 1


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_message_of_exactly_the_limit_is_sent(serializer: str) -> None:
    probe = joined_session(serializer=serializer)
    probe.call("com.x", ["x" * 900], {}, {}, None)
    size = len(probe.outgoing[0])
    session = joined_session(serializer=serializer, max_message_size=size)
    session.call("com.x", ["x" * 900], {}, {}, None)
    with pytest.raises(SerializationError):
        session.call("com.x", ["x" * 901], {}, {}, None)


# Calls.


def test_progressive_results_keep_the_ticket() -> None:
    session = joined_session()
    session.call("com.x", [], {}, {"receive_progress": True}, "ticket")
    for number in range(3):
        progress = m.Result(1, {"progress": True}, [number])
        assert session.receive(progress) == Answered("ticket", progress)
    last = m.Result(1, {}, ["end"])
    assert session.receive(last) == Answered("ticket", last)
    assert isinstance(session.receive(m.Result(1, {"progress": True}, [4])), Ignored)


def test_error_ends_progressive_results() -> None:
    session = joined_session()
    session.call("com.x", [], {}, {"receive_progress": True}, "ticket")
    session.receive(m.Result(1, {"progress": True}, [0]))
    session.receive(m.Error(48, 1, {}, "wamp.error.canceled"))
    assert session.abandon() == []


def test_cancel_of_a_call_that_waits() -> None:
    session = joined_session()
    session.call("com.x", [], {}, {}, "ticket")
    session.outgoing.clear()
    session.cancel(1, "killnowait")
    assert said(session) == [m.Cancel(1, {"mode": "killnowait"})]
    error = m.Error(48, 1, {}, "wamp.error.canceled")
    assert session.receive(error) == Answered("ticket", error)


@pytest.mark.parametrize("request_id", [1, 2])
def test_canceling_a_call_that_has_ended_sends_nothing(request_id: int) -> None:
    session = joined_session()
    session.call("com.x", [], {}, {}, "ticket")
    session.receive(m.Result(1, {}))
    session.outgoing.clear()
    session.cancel(request_id, "kill")
    assert session.outgoing == []


# Publications.


def test_an_unacknowledged_publication_keeps_no_ticket() -> None:
    session = joined_session()
    session.publish("com.x", [1], {"a": 2}, {"exclude_me": False})
    assert said(session) == [m.Publish(1, {"exclude_me": False}, "com.x", [1], {"a": 2})]
    assert session._pending == {}
    assert isinstance(session.receive(m.Error(16, 1, {}, "wamp.error.x")), Ignored)


# Any message at all.


def test_any_request_gets_the_next_id() -> None:
    session = joined_session()
    session.call("com.x", [], {}, {}, None)
    session.send_message(m.Subscribe(999999, {}, "com.y"))
    session.send_message(m.Goodbye({}, "wamp.close.normal"))
    assert said(session)[1:] == [m.Subscribe(2, {}, "com.y"), m.Goodbye({}, "wamp.close.normal")]
    assert isinstance(session.receive(m.Subscribed(2, 7)), Ignored)


# The end.


def test_abandon_returns_all_tickets_in_order() -> None:
    session = joined_session()
    for number, request in enumerate(REQUESTS.values()):
        request.ask(session, number)
    session.receive(m.Registered(3, 7))
    assert session.abandon() == [0, 1, 3, 4, 5]
    assert session.abandon() == []


def test_abandon_forgets_invocations() -> None:
    session = joined_session()
    session.register("com.x", {}, "f", None)
    session.receive(m.Registered(1, 7))
    session.receive(m.Invocation(1, 7, {}))
    session.abandon()
    session.outgoing.clear()
    assert session.yield_(1, [], {}) is False
    assert session.error(1, "wamp.error.x", [], {}) is False
    assert session.outgoing == []
