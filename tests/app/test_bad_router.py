"""The client leaves a router that violates the protocol with ABORT, and joins again."""

from __future__ import annotations

import logging
import typing as t

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flask_wamp import FlaskWAMP, NotJoined, ProtocolError, SessionLost
from flask_wamp.protocol import messages as m
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, MemoryRouter

ADD = "com.example.add"

BYTES: dict[str, bytes] = {
    "nothing": b"",
    "garbage": b"\xc1\xff\x00garbage",
    "half a message": b"\x93\x32\x01",
    "unknown message": b"\x92\xcd\x01\x51\x01",
    "message of clients": b"\x94\x30\x01\x80\xa5com.x",
    "wrong types": b"\x93\x32\xa1x\x80",
    "text": b"HTTP/1.1 502 Bad Gateway\r\n\r\n",
}

ILLEGAL: dict[str, m.Message] = {
    "second welcome": m.Welcome(1, {}),
    "challenge after welcome": m.Challenge("ticket", {}),
}


def add(a: int, b: int = 1) -> int:
    return a + b


def assert_left_and_joined_again(router: MemoryRouter, wamp: FlaskWAMP) -> None:
    abort = router.wait_for(m.Abort)
    assert abort.reason == "wamp.error.protocol_violation"
    router.wait_for(m.Hello, 2)
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_bytes_that_are_not_a_message(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture, data: bytes
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(add))
    router.hold("com.example.held")
    future = wamp.client.submit("com.example.held")
    router.wait_for(m.Call)
    router.send_bytes(data)
    with pytest.raises(SessionLost) as info:
        future.result(TIMEOUT)
    assert isinstance(info.value.__cause__, ProtocolError)
    assert_left_and_joined_again(router, wamp)
    assert "the router broke the protocol: not a WAMP message in msgpack" in caplog.text
    assert "Traceback" not in caplog.text


@pytest.mark.parametrize("message", ILLEGAL.values(), ids=ILLEGAL)
def test_a_message_that_is_not_legal_in_this_state(
    serve: Serve, router: MemoryRouter, message: m.Message
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(add))
    router.send(message)
    assert_left_and_joined_again(router, wamp)


def test_messages_before_the_violation_are_handled(serve: Serve, router: MemoryRouter) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(add))
    held = router.hold("com.example.held")
    future = wamp.client.submit("com.example.held")
    call = held.get(timeout=TIMEOUT)
    call.answer("in time")
    router.send_bytes(b"\xc1")
    assert future.result(TIMEOUT) == "in time"
    assert_left_and_joined_again(router, wamp)


HARMLESS: dict[str, m.Message] = {
    "result of nothing": m.Result(999, {}, [1]),
    "error of nothing": m.Error(48, 999, {}, "wamp.error.x"),
    "error of an unknown kind": m.Error(1234, 1, {}, "wamp.error.x"),
    "published of nothing": m.Published(999, 1),
    "registered of nothing": m.Registered(999, 1),
    "registered for a register": m.Registered(1, 1),
    "subscribed of nothing": m.Subscribed(999, 1),
    "unregistered of nothing": m.Unregistered(999),
    "revocation of nothing": m.Unregistered(0, {"registration": 999}),
    "revocation of a list": m.Unregistered(0, {"registration": [1]}),
    "revocation of no subscription": m.Unsubscribed(0, {"subscription": {}}),
    "event of nothing": m.Event(999, 1, {}),
    "interrupt of nothing": m.Interrupt(999, {"mode": 5}),
}


@pytest.mark.parametrize("message", HARMLESS.values(), ids=HARMLESS)
def test_unexpected_message_is_ignored(
    serve: Serve, router: MemoryRouter, message: m.Message
) -> None:
    serve(lambda wamp: wamp.callee(add))
    router.send(message)
    assert router.call(ADD, 1) == 2
    assert router.attempts == 1


def test_invocation_of_nothing_is_answered(serve: Serve, router: MemoryRouter) -> None:
    serve(lambda wamp: wamp.callee(add))
    router.send(m.Invocation(999, 999, {}))
    error = router.wait_for(m.Error)
    assert (error.request_type, error.request_id) == (68, 999)
    assert error.error == "wamp.error.no_such_procedure"
    assert router.call(ADD, 1) == 2


STRANGE: list[m.Details] = [
    {"caller": "joe", "caller_authid": 5, "procedure": ["x"], "receive_progress": "yes"},
    {"procedure": None, "timeout": "soon", "trustlevel": -1},
]


@pytest.mark.parametrize("details", STRANGE)
def test_details_of_the_wrong_type_are_ignored(
    serve: Serve, router: MemoryRouter, details: m.Details
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(add))
    [declaration] = wamp.client.declarations
    assert declaration.id is not None
    router.send(m.Invocation(999, declaration.id, details, ["no number"]))
    assert router.wait_for(m.Error).error == "wamp.error.invalid_argument"
    assert router.call(ADD, 1) == 2


# The router ends the session.


@pytest.mark.parametrize(
    "message",
    [
        m.Goodbye({}, "wamp.close.system_shutdown"),
        m.Abort({"message": "no"}, "wamp.error.protocol_violation"),
    ],
)
def test_the_client_joins_again_after_the_router_ended_the_session(
    serve: Serve, router: MemoryRouter, message: m.Message
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(add))
    router.hold("com.example.held")
    future = wamp.client.submit("com.example.held")
    router.wait_for(m.Call)
    router.send(message)
    with pytest.raises(SessionLost, match=f"the router ended the session: {message.reason}"):
        future.result(TIMEOUT)
    router.wait_for(m.Hello, 2)
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2
    goodbyes = [each.reason for each in router.sent(m.Goodbye)]
    assert goodbyes == ["wamp.close.goodbye_and_out"] * isinstance(message, m.Goodbye)


def test_a_registration_that_the_router_revokes(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    _, wamp = serve(lambda wamp: wamp.callee(add))
    [declaration] = wamp.client.declarations
    details = {"registration": declaration.id, "reason": "wamp.error.unregistered"}
    router.send(m.Unregistered(0, details))
    eventually(lambda: declaration.id is None)
    assert "com.example.add was taken away by the router" in caplog.text
    assert wamp.client.registration_map == {}


# While it joins.


@pytest.mark.parametrize("data", BYTES.values(), ids=BYTES)
def test_answer_to_hello_that_is_not_a_message(
    make_app: t.Any, router: MemoryRouter, data: bytes
) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app())
    wamp.callee(add)
    wamp.start()
    router.wait_for(m.Hello)
    router.send_bytes(data)
    router.wait_for(m.Hello, 2)
    router.welcome()
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2


@pytest.mark.parametrize(
    "message",
    [m.Result(1, {}), m.Goodbye({}, "wamp.close.x"), m.Challenge("wampcra", {"challenge": 5})],
)
def test_answer_to_hello_that_is_not_legal(
    make_app: t.Any, router: MemoryRouter, message: m.Message
) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app())
    wamp.start()
    router.wait_for(m.Hello)
    router.send(message)
    router.wait_for(m.Hello, 2)
    router.welcome()
    wamp.client.wait_until_joined(TIMEOUT)


def test_no_answer_to_hello(make_app: t.Any, router: MemoryRouter) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app(WAMP_CONNECT_TIMEOUT=0.05))
    with pytest.raises(NotJoined, match="did not answer in time|still connecting"):
        wamp.client.call(ADD)
    router.wait_for(m.Hello, 2)


def test_a_connection_that_breaks_before_the_answer_to_hello(
    make_app: t.Any, router: MemoryRouter
) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app())
    wamp.start()
    router.wait_for(m.Hello)
    router.drop()
    with pytest.raises(NotJoined, match="closed the connection instead of answering HELLO"):
        wamp.client.call(ADD)


def test_refusal_is_logged_once_and_tried_again(
    make_app: t.Any, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    router.abort = m.Abort({"message": "no"}, "wamp.error.not_authorized")
    wamp = FlaskWAMP(make_app(WAMP_RECONNECT_MAX=0.06))
    wamp.callee(add)
    wamp.start()
    router.wait_for_attempts(4)
    said = [record for record in caplog.records if "not_authorized" in record.getMessage()]
    assert [record.levelno for record in said] == [logging.WARNING]
    router.abort = None
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2


def test_messages_that_arrive_together_with_welcome(make_app: t.Any, router: MemoryRouter) -> None:
    router.silent = True
    wamp = FlaskWAMP(make_app())
    wamp.start()
    router.wait_for(m.Hello)
    transport = router.transports[-1]
    # The result must be the same whether the reader receives all of it at once or not.
    with router.together:
        for message in (m.Welcome(4711, {}), m.Event(1, 2, {}), m.Invocation(5, 6, {})):
            transport.put(message)
    assert router.wait_for(m.Error).request_id == 5
    assert wamp.client.session_id == 4711
    router.silent = False


# Any bytes.


@settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4))
def test_fuzz(serve: Serve, router: MemoryRouter, said: list[bytes]) -> None:
    if "app" not in router.__dict__:
        pauses = {"WAMP_RECONNECT_MIN": 0.001, "WAMP_RECONNECT_MAX": 0.001}
        router.__dict__["app"] = serve(lambda wamp: wamp.callee(add), **pauses)
    _, wamp = router.__dict__["app"]
    for data in said:
        wamp.client.wait_until_joined(TIMEOUT)
        transport = router.transports[-1]
        transport.put_bytes(data)
        eventually(lambda old=transport: router.transports[-1:] not in ([], [old]))
    wamp.client.wait_until_joined(TIMEOUT)
    assert router.call(ADD, 1) == 2
