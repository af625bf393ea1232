"""Joining and leaving, and the legal messages of a router by state."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.exceptions import AuthenticationError, ProtocolError, SerializationError
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.auth import Credentials
from flask_wamp.protocol.session import Session
from flask_wamp.protocol.session_events import Joined, Left
from flask_wamp.protocol.session_states import SessionState
from tests.support.wire import SERIALIZERS, SESSION_ID, joined_session, new_session, said

# Joining.


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_hello_names_realm_roles_and_agent(serializer: str) -> None:
    session = new_session(serializer=serializer)
    session.join()
    [hello] = said(session)
    assert isinstance(hello, m.Hello)
    assert hello.realm == "realm1"
    assert hello.details["agent"] == "tests"
    assert hello.details["authmethods"] == ["anonymous"]
    assert set(hello.details["roles"]) == {"caller", "callee", "publisher", "subscriber"}


def test_call_canceling_is_announced() -> None:
    # Without it Crossbar never answers a call whose timeout has passed.
    session = new_session()
    session.join()
    [hello] = said(session)
    for role in ("caller", "callee"):
        assert hello.details["roles"][role]["features"]["call_canceling"] is True


def test_progressive_calls_are_not_announced() -> None:
    # Crossbar 26.10 corrupts its registrations when it gets one.
    session = new_session()
    session.join()
    assert "progressive_call_invocations" not in str(said(session)[0].details["roles"])


def test_welcome_joins() -> None:
    session = new_session()
    session.join()
    assert session.state is SessionState.JOINING
    event = session.receive(m.Welcome(SESSION_ID, {"realm": "realm1"}))
    assert event == Joined(SESSION_ID, {"realm": "realm1"})
    assert session.state is SessionState.JOINED
    assert session.session_id == SESSION_ID


def test_challenge_is_answered() -> None:
    session = new_session(credentials=Credentials(authid="joe", ticket="secret!!!"))
    session.join()
    session.outgoing.clear()
    assert session.receive(m.Challenge("ticket", {})) is None
    assert said(session) == [m.Authenticate("secret!!!", {})]
    assert isinstance(session.receive(m.Welcome(1, {})), Joined)


def test_a_challenge_of_a_method_that_was_not_offered_is_not_answered() -> None:
    session = new_session(credentials=Credentials(authid="joe", secret="secret!!!"))
    session.join()
    session.outgoing.clear()
    with pytest.raises(AuthenticationError):
        session.receive(m.Challenge("ticket", {}))
    assert session.outgoing == []
    assert session.state is SessionState.JOINING


def test_router_that_cannot_prove_itself_is_not_joined() -> None:
    pytest.importorskip("argon2")
    session = new_session(credentials=Credentials(("scram",), authid="joe", secret="secret!!!"))
    session.join()
    with pytest.raises(AuthenticationError):
        session.receive(m.Welcome(SESSION_ID, {}))
    assert session.state is SessionState.JOINING


@pytest.mark.parametrize("reason", ["wamp.error.no_such_realm", "wamp.error.not_authorized"])
def test_abort_refuses_to_join(reason: str) -> None:
    session = new_session()
    session.join()
    event = session.receive(m.Abort({"message": "no"}, reason))
    assert event == Left(reason, {"message": "no"})
    assert session.state is SessionState.ENDED


# Leaving.


def test_our_goodbye_waits_for_the_routers() -> None:
    session = joined_session()
    session.leave()
    assert said(session) == [m.Goodbye({}, "wamp.close.normal")]
    assert session.state is SessionState.LEAVING
    event = session.receive(m.Goodbye({}, "wamp.close.goodbye_and_out"))
    assert event == Left("wamp.close.goodbye_and_out", {})
    assert session.state is SessionState.ENDED
    assert session.outgoing == []


def test_the_routers_goodbye_is_answered() -> None:
    session = joined_session()
    event = session.receive(m.Goodbye({}, "wamp.close.system_shutdown"))
    assert event == Left("wamp.close.system_shutdown", {})
    assert said(session) == [m.Goodbye({}, "wamp.close.goodbye_and_out")]
    assert session.state is SessionState.ENDED


def test_goodbyes_that_cross_are_enough() -> None:
    session = joined_session()
    session.leave()
    session.outgoing.clear()
    session.receive(m.Goodbye({}, "wamp.close.system_shutdown"))
    assert session.outgoing == []


def test_our_abort_ends_the_session_at_once() -> None:
    session = joined_session()
    session.abort("wamp.error.protocol_violation", "WELCOME again")
    assert said(session) == [m.Abort({"message": "WELCOME again"}, "wamp.error.protocol_violation")]
    assert session.state is SessionState.ENDED


def test_abort_ends_a_joined_session() -> None:
    session = joined_session()
    assert session.receive(m.Abort({}, "wamp.error.x")) == Left("wamp.error.x", {})
    assert session.state is SessionState.ENDED
    assert session.outgoing == []


def test_hello_over_the_limit_is_refused() -> None:
    session = new_session(max_message_size=512)
    with pytest.raises(SerializationError, match="512 bytes"):
        session.join()
    assert session.state is SessionState.NEW


# What is legal in which state. Source: WAMP Basic Profile, "Protocol Violations".

MESSAGES: dict[type[m.Message], m.Message] = {
    m.Welcome: m.Welcome(1, {}),
    m.Abort: m.Abort({}, "wamp.error.x"),
    m.Challenge: m.Challenge("ticket", {}),
    m.Goodbye: m.Goodbye({}, "wamp.close.normal"),
    m.Error: m.Error(48, 1, {}, "wamp.error.x"),
    m.Published: m.Published(1, 2),
    m.Subscribed: m.Subscribed(1, 2),
    m.Unsubscribed: m.Unsubscribed(1),
    m.Event: m.Event(1, 2, {}),
    m.Result: m.Result(1, {}),
    m.Registered: m.Registered(1, 2),
    m.Unregistered: m.Unregistered(1),
    m.Invocation: m.Invocation(1, 2, {}),
    m.Interrupt: m.Interrupt(1, {}),
}

AFTER_WELCOME = set(MESSAGES) - {m.Welcome, m.Challenge}

LEGAL: dict[SessionState, set[type[m.Message]]] = {
    SessionState.NEW: set(),
    SessionState.JOINING: {m.Welcome, m.Challenge, m.Abort},
    SessionState.JOINED: AFTER_WELCOME,
    SessionState.LEAVING: AFTER_WELCOME,
    SessionState.ENDED: set(),
}


def session_in(state: SessionState) -> Session:
    session = new_session(credentials=Credentials(ticket="x"))
    steps: list[t.Callable[[], t.Any]] = [
        session.join,
        lambda: session.receive(m.Welcome(1, {})),
        session.leave,
        lambda: session.receive(m.Goodbye({}, "wamp.close.goodbye_and_out")),
    ]
    for step in steps[: list(SessionState).index(state)]:
        step()
    assert session.state is state
    return session


@pytest.mark.parametrize("message", MESSAGES.values(), ids=lambda message: type(message).__name__)
@pytest.mark.parametrize("state", SessionState, ids=lambda state: state.value)
def test_legality(state: SessionState, message: m.Message) -> None:
    session = session_in(state)
    if type(message) in LEGAL[state]:
        session.receive(message)
    else:
        with pytest.raises(ProtocolError, match=rf"{type(message).__name__}.* {state.value}"):
            session.receive(message)
        assert session.state is state


def test_legality_table_is_complete() -> None:
    assert set(MESSAGES) == set(t.get_args(m.FromRouter))


@pytest.mark.parametrize("state", SessionState, ids=lambda state: state.value)
def test_messages_of_clients_are_never_legal(state: SessionState) -> None:
    for message in (m.Hello("realm1", {}), m.Call(1, {}, "com.x"), m.Yield(1, {})):
        with pytest.raises(ProtocolError):
            session_in(state).receive(message)


def test_no_message_is_sent_while_leaving() -> None:
    session = joined_session()
    session.register("com.example.add", {}, "target", None)
    session.receive(m.Registered(1, 7))
    session.leave()
    session.outgoing.clear()
    session.receive(m.Invocation(1, 7, {}))  # it has not read our GOODBYE
    assert session.outgoing == []
