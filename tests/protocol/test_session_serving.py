"""Invocations, events and revocations of a session."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.exceptions import SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.session import Session
from flask_wamp.protocol.session_events import (
    Answered,
    Delivered,
    Ignored,
    Interrupted,
    Invoked,
    Revoked,
)
from flask_wamp.protocol.session_states import SessionState
from tests.support.wire import joined_session, said


def registered() -> Session:
    """A session with registration 7, whose target is "f"."""
    session = joined_session()
    session.register("com.x", {}, "f", None)
    session.receive(m.Registered(1, 7))
    session.outgoing.clear()
    return session


def invoked() -> Session:
    """The same, with a running invocation 1."""
    session = registered()
    session.receive(m.Invocation(1, 7, {}, [1], {"a": 2}))
    return session


def subscribed(*targets: str) -> Session:
    """A session with subscription 8 for some targets."""
    session = joined_session()
    for target in targets:
        request_id = session.subscribe("com.x", {}, target, None)
        session.receive(m.Subscribed(request_id, 8))
    session.outgoing.clear()
    return session


EVENT = m.Event(8, 4711, {}, ["hello"])

# Invocations.


def test_invocation_finds_its_target() -> None:
    message = m.Invocation(1, 7, {"caller": 5}, [1], {"a": 2})
    assert registered().receive(message) == Invoked("f", message)


def test_an_invocation_of_an_unknown_registration_is_answered_with_an_error() -> None:
    session = registered()
    message = m.Invocation(1, 99, {})
    assert session.receive(message) == Ignored(message)
    assert said(session) == [m.Error(68, 1, {}, "wamp.error.no_such_procedure")]


def test_yield_answers() -> None:
    session = invoked()
    assert session.yield_(1, [3], {"b": 4}) is True
    assert said(session) == [m.Yield(1, {}, [3], {"b": 4})]


def test_error_answers() -> None:
    session = invoked()
    assert session.error(1, "com.x.error", ["no"], {"b": 4}) is True
    assert said(session) == [m.Error(68, 1, {}, "com.x.error", ["no"], {"b": 4})]


ANSWERS: dict[str, t.Callable[[Session], bool]] = {
    "yield": lambda session: session.yield_(1, [], {}),
    "progress": lambda session: session.yield_(1, [], {}, progress=True),
    "error": lambda session: session.error(1, "wamp.error.x", [], {}),
}


@pytest.mark.parametrize("first", ["yield", "error"])
@pytest.mark.parametrize("second", list(ANSWERS))
def test_second_answer_is_refused(first: str, second: str) -> None:
    session = invoked()
    ANSWERS[first](session)
    session.outgoing.clear()
    assert ANSWERS[second](session) is False
    assert session.outgoing == []


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_an_answer_to_no_invocation_is_refused(answer: t.Callable[[Session], bool]) -> None:
    session = registered()
    assert answer(session) is False
    assert session.outgoing == []


def test_progress_does_not_answer() -> None:
    session = invoked()
    for number in range(3):
        assert session.yield_(1, [number], {}, progress=True) is True
    assert session.yield_(1, ["end"], {}) is True
    assert [message.options for message in said(session)] == [{"progress": True}] * 3 + [{}]


def test_refused_result_can_still_be_answered() -> None:
    session = invoked()
    with pytest.raises(SerializationError):
        session.yield_(1, [object()], {})
    with pytest.raises(SerializationError):
        session.error(1, "com.x.error", [object()], {})
    assert session.outgoing == []
    assert session.error(1, "wamp.error.runtime_error", [], {}) is True


def test_request_ids_of_the_router_are_its_own() -> None:
    session = registered()
    session.receive(m.Invocation(1, 7, {}))
    session.yield_(1, [], {})
    assert session.call("com.x", [], {}, {}, None) == 2


def test_an_interrupt_of_a_running_invocation() -> None:
    message = m.Interrupt(1, {"mode": "kill"})
    assert invoked().receive(message) == Interrupted(message)


def test_interrupt_leaves_the_answer_to_the_handler() -> None:
    session = invoked()
    session.receive(m.Interrupt(1, {}))
    assert session.error(1, "wamp.error.canceled", [], {}) is True


def test_an_interrupt_of_no_invocation_is_ignored() -> None:
    session = invoked()
    session.yield_(1, [], {})
    message = m.Interrupt(1, {"mode": "kill"})
    assert session.receive(message) == Ignored(message)


def test_unregistering_serves_until_it_is_granted() -> None:
    session = registered()
    session.unregister(7, None)
    assert isinstance(session.receive(m.Invocation(1, 7, {})), Invoked)
    session.receive(m.Unregistered(2))
    assert session.registrations == {}
    assert isinstance(session.receive(m.Invocation(2, 7, {})), Ignored)
    assert session.yield_(1, [], {}) is True  # the running invocation is answered


def test_unregistering_that_is_refused_changes_nothing() -> None:
    session = registered()
    session.unregister(7, None)
    session.receive(m.Error(66, 2, {}, "wamp.error.no_such_registration"))
    assert session.registrations == {7: "f"}


# Events.


def test_event_finds_its_target() -> None:
    assert subscribed("f").receive(EVENT) == Delivered(("f",), EVENT)


def test_an_event_of_an_unknown_subscription_is_ignored() -> None:
    message = m.Event(9, 4711, {})
    assert subscribed("f").receive(message) == Ignored(message)


def test_two_targets_share_a_subscription() -> None:
    # The router gives one id to all who subscribe to the same topic in one session.
    assert subscribed("f", "g").receive(EVENT) == Delivered(("f", "g"), EVENT)


def test_shared_subscription_lives_until_the_last_target_is_dropped() -> None:
    session = subscribed("f", "g")
    assert session.drop_target(8, "f") is False
    assert session.receive(EVENT) == Delivered(("g",), EVENT)
    assert said(session) == []
    assert session.drop_target(8, "g") is True
    assert said(session) == [m.Unsubscribe(3, 8)]
    assert session.receive(EVENT) == Ignored(EVENT)


def test_dropping_an_unknown_target() -> None:
    session = joined_session()
    assert session.drop_target(8, "f") is False
    assert said(session) == []


def test_subscribing_again_while_unsubscribing() -> None:
    session = subscribed("f")
    session.drop_target(8, "f")
    session.subscribe("com.x", {}, "g", None)
    session.receive(m.Unsubscribed(2))
    session.receive(m.Subscribed(3, 8))  # the subscription still existed, for another peer
    assert session.receive(EVENT) == Delivered(("g",), EVENT)


def test_a_pending_subscriber_keeps_the_subscription() -> None:
    session = subscribed("f")
    session.subscribe("com.x", {"match": "prefix"}, "p", None)
    session.subscribe("com.x", {}, "g", None)
    session.outgoing.clear()
    assert session.drop_target(8, "f") is False
    assert said(session) == []
    session.receive(m.Subscribed(3, 8))
    assert session.receive(EVENT) == Delivered(("g",), EVENT)


def test_subscribing_to_another_topic_keeps_nothing() -> None:
    session = subscribed("f")
    session.subscribe("com.x", {"match": "prefix"}, "p", None)
    session.subscribe("com.y", {}, "g", None)
    assert session.drop_target(8, "f") is True


def test_target_that_subscribes_again_is_there_once() -> None:
    assert subscribed("f", "f").receive(EVENT) == Delivered(("f",), EVENT)


def test_a_retained_event_is_for_the_last_target_that_requested_it() -> None:
    retained = m.Event(8, 4712, {"retained": True}, ["hello"])
    session = subscribed("f", "g")
    assert session.receive(retained) == Delivered(("g",), retained)
    session.subscribe("com.x", {}, "f", None)
    session.receive(m.Subscribed(3, 8))
    assert session.receive(retained) == Delivered(("f",), retained)
    assert session.receive(EVENT) == Delivered(("f", "g"), EVENT)
    session.drop_target(8, "f")
    assert session.receive(retained) == Ignored(retained)


# Revocation. Source: WAMP Advanced Profile, "Registration Revocation".


def test_a_registration_is_revoked() -> None:
    session = registered()
    details = {"registration": 7, "reason": "wamp.error.unregistered"}
    assert session.receive(m.Unregistered(0, details)) == Revoked(("f",), details)
    assert isinstance(session.receive(m.Invocation(1, 7, {})), Ignored)


def test_a_subscription_is_revoked_for_all_targets() -> None:
    session = subscribed("f", "g")
    details = {"subscription": 8, "reason": "wamp.error.unsubscribed"}
    assert session.receive(m.Unsubscribed(0, details)) == Revoked(("f", "g"), details)
    assert session.receive(EVENT) == Ignored(EVENT)


@pytest.mark.parametrize("number", [None, 99, "7", [7], {"id": 7}])
@pytest.mark.parametrize("kind", [m.Unregistered, m.Unsubscribed])
def test_a_revocation_of_an_unknown_id_is_ignored(kind: t.Any, number: t.Any) -> None:
    session = registered()
    name = "registration" if kind is m.Unregistered else "subscription"
    details = {} if number is None else {name: number}
    assert isinstance(session.receive(kind(0, details)), Ignored)
    assert session.registrations == {7: "f"}


# Messages over the limit of this peer.

TOO_LARGE = "wamp.error.payload_size_exceeded"


def test_invocation_that_is_too_large_is_answered() -> None:
    session = registered()
    message = m.Invocation(1, 7, {}, ["large"])
    assert session.refuse(message, "why") == Ignored(message)
    assert said(session) == [m.Error(68, 1, {}, TOO_LARGE, ["why"])]
    assert not session.unanswered


def test_result_that_is_too_large_is_an_error() -> None:
    session = joined_session()
    session.call("com.x", (), {}, {}, "ticket")
    event = session.refuse(m.Result(1, {}, ["large"]), "why")
    assert event == Answered("ticket", m.Error(48, 1, {}, TOO_LARGE, ["why"]))


def test_event_that_is_too_large_is_ignored() -> None:
    assert subscribed("f").refuse(EVENT, "why") == Ignored(EVENT)


def test_other_messages_count_whatever_their_size() -> None:
    session = registered()
    session.refuse(m.Goodbye({}, "wamp.close.system_shutdown"), "why")
    assert session.state is SessionState.ENDED
