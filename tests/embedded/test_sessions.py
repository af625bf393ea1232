"""Legal messages by state. A violation ends only its session."""

from __future__ import annotations

import typing as t

import pytest

from flask_wamp.router import RouterSessionState
from tests.embedded.pair import (
    ABORT,
    AUTHENTICATE,
    CALL,
    CANCEL,
    ERROR,
    GOODBYE,
    HELLO,
    INVOCATION,
    PUBLISH,
    REGISTER,
    ROLES,
    SUBSCRIBE,
    UNREGISTER,
    UNSUBSCRIBE,
    WELCOME,
    YIELD,
    Line,
    TestRouter,
)

VIOLATION = "wamp.error.protocol_violation"

MESSAGES: dict[str, list[t.Any]] = {
    "HELLO": [HELLO, "realm1", {"roles": ROLES}],
    "AUTHENTICATE": [AUTHENTICATE, "signature", {}],
    "GOODBYE": [GOODBYE, {}, "wamp.close.close_realm"],
    "ERROR": [ERROR, INVOCATION, 1, {}, "com.example.error"],
    "PUBLISH": [PUBLISH, 1, {}, "com.example.news"],
    "SUBSCRIBE": [SUBSCRIBE, 1, {}, "com.example.news"],
    "UNSUBSCRIBE": [UNSUBSCRIBE, 1, 1],
    "CALL": [CALL, 1, {}, "com.example.add"],
    "CANCEL": [CANCEL, 1, {}],
    "REGISTER": [REGISTER, 1, {}, "com.example.add"],
    "UNREGISTER": [UNREGISTER, 1, 1],
    "YIELD": [YIELD, 1, {}],
    # Messages that only a router sends.
    "WELCOME": [2, 1, {}],
    "CHALLENGE": [4, "ticket", {}],
    "PUBLISHED": [17, 1, 1],
    "SUBSCRIBED": [33, 1, 1],
    "UNSUBSCRIBED": [35, 1],
    "EVENT": [36, 1, 1, {}],
    "RESULT": [50, 1, {}],
    "REGISTERED": [65, 1, 1],
    "UNREGISTERED": [67, 1],
    "INVOCATION": [68, 1, 1, {}],
    "INTERRUPT": [69, 1, {}],
    # Messages that no peer sends.
    "unknown": [99, 1, {}],
    "empty": [],
}


def is_cut_off(line: Line, reason: str = VIOLATION) -> bool:
    """Return whether a client got ABORT, and nothing after it."""
    *_, abort = line.take_all()
    assert abort[0] == ABORT and abort[2] == reason, abort
    assert isinstance(abort[1]["message"], str) and abort[1]["message"]
    assert line.closed is False
    assert line.session.state is RouterSessionState.CLOSED
    line.send(*MESSAGES["HELLO"])
    return not line.inbox and line.session not in line.router.sessions


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "HELLO"])
def test_other_messages_before_hello_are_a_violation(router: TestRouter, name: str) -> None:
    line = router.connect()
    line.send(*MESSAGES[name])
    assert is_cut_off(line)


@pytest.mark.parametrize("name", [name for name in MESSAGES if name != "AUTHENTICATE"])
def test_between_hello_and_welcome_only_authenticate_is_legal(
    make_router: t.Callable[..., TestRouter], name: str
) -> None:
    from flask_wamp.router import Challenge, Refusal

    challenge = Challenge("ticket", {}, lambda signature, extra: Refusal())
    line = make_router(authenticator=lambda request: challenge).connect()
    line.hello(authmethods=["ticket"])
    line.take_last()
    line.send(*MESSAGES[name])
    assert is_cut_off(line)


ILLEGAL_WHEN_JOINED = [
    "HELLO",
    "AUTHENTICATE",
    "ERROR",  # of an invocation that was never sent
    "YIELD",
    *list(MESSAGES)[list(MESSAGES).index("WELCOME") :],
]


@pytest.mark.parametrize("name", ILLEGAL_WHEN_JOINED)
def test_a_violation_ends_only_its_session(router: TestRouter, name: str) -> None:
    line, witness = router.join(), router.join()
    line.register("com.example.add")
    line.subscribe("com.example.news")
    line.send(*MESSAGES[name])
    assert is_cut_off(line)
    assert witness.ask("wamp.session.list") == [witness.id]
    assert witness.ask("wamp.registration.lookup", "com.example.add") is None
    assert witness.ask("wamp.subscription.lookup", "com.example.news") is None


@pytest.mark.parametrize("name", list(MESSAGES))
def test_messages_after_the_routers_goodbye_are_ignored(router: TestRouter, name: str) -> None:
    line = router.join()
    line.session.disconnect()
    line.take_last()
    line.send(*MESSAGES[name])
    assert not line.inbox
    assert line.closed is (False if name == "GOODBYE" else None)


@pytest.mark.parametrize("when", ["connected", "joined", "leaving"])
def test_abort_is_not_answered(router: TestRouter, when: str) -> None:
    line = router.connect() if when == "connected" else router.join()
    if when == "leaving":
        line.session.disconnect()
    line.take_all()
    line.send(ABORT, {}, "com.example.enough")
    assert not line.inbox
    assert line.closed is False
    assert not router.sessions


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize("data", [b"", b"\xff", b"{}", b"[", b"[1", b"\x91", b"null", b"[[]]"])
def test_bytes_that_are_not_a_message_are_a_violation(
    router: TestRouter, serializer: str, data: bytes
) -> None:
    line = router.join(serializer=serializer)
    line.send_bytes(data)
    assert is_cut_off(line)


# Request ids.


@pytest.mark.parametrize("request_id", [0, 2, -1, 2**53, 2**64 - 1])
def test_request_ids_are_sequential(router: TestRouter, request_id: int) -> None:
    line = router.join()
    line.send(CALL, request_id, {}, "com.example.add")
    assert is_cut_off(line)


def test_a_request_id_is_not_used_twice(router: TestRouter) -> None:
    line = router.join()
    line.subscribe("com.example.news")
    line.send(SUBSCRIBE, 1, {}, "com.example.other")
    assert is_cut_off(line)


def test_request_ids_count_over_all_requests(router: TestRouter) -> None:
    line = router.join()
    line.subscribe("com.example.news")
    line.register("com.example.add")
    line.publish("com.example.news")
    line.send(UNSUBSCRIBE, 4, 999)
    assert line.take_last()[:3] == [ERROR, UNSUBSCRIBE, 4]


def test_gaps_in_request_ids_may_be_allowed(make_router: t.Callable[..., TestRouter]) -> None:
    router = make_router(sequential_request_ids=False)
    line, callee = router.join(), router.join()
    callee.register("com.example.add")
    line.send(CALL, 77, {}, "com.example.add")
    line.send(CALL, 33, {}, "com.example.add")
    assert [message[0] for message in callee.take_all()] == [INVOCATION] * 2
    line.send(CALL, 77, {}, "com.example.add")
    assert is_cut_off(line)


# HELLO.


@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({}, VIOLATION),
        ({"roles": {}}, VIOLATION),
        ({"roles": None}, VIOLATION),
        ({"roles": ["caller"]}, VIOLATION),
        ({"roles": {"broker": {}}}, VIOLATION),
        ({"roles": {"callee": []}}, VIOLATION),
        ({"roles": ROLES, "authid": 7}, VIOLATION),
        ({"roles": ROLES, "authmethods": "ticket"}, VIOLATION),
        ({"roles": ROLES, "authmethods": [7]}, VIOLATION),
        ({"roles": ROLES, "authextra": []}, VIOLATION),
        ({"roles": ROLES, "authmethods": ["magic"]}, "wamp.error.no_matching_auth_method"),
    ],
)
def test_an_invalid_hello(router: TestRouter, details: t.Any, reason: str) -> None:
    line = router.connect()
    line.send(HELLO, "realm1", details)
    assert is_cut_off(line, reason)


@pytest.mark.parametrize("roles", [{"caller": {}}, {"callee": None}, {"callee": {"features": []}}])
def test_roles_without_features_are_enough(router: TestRouter, roles: t.Any) -> None:
    assert router.join(roles=roles).welcome["roles"].keys() == {"broker", "dealer"}


@pytest.mark.parametrize("realm", ["", "a..b", "a b", "#"])
def test_a_realm_is_a_uri(router: TestRouter, realm: str) -> None:
    line = router.connect()
    line.hello(realm)
    assert is_cut_off(line, "wamp.error.invalid_uri")


def test_only_configured_realms_exist(
    make_router: t.Callable[..., TestRouter],
) -> None:
    router = make_router(realms=("realm1",))
    line = router.connect()
    line.hello("realm2")
    assert is_cut_off(line, "wamp.error.no_such_realm")
    router.join("realm1").lose()
    assert list(router.realms) == ["realm1"]


def test_dynamic_realms_are_limited_and_end_with_their_sessions(
    make_router: t.Callable[..., TestRouter],
) -> None:
    router = make_router(max_realms=2)
    one, _ = router.join("realm1"), router.join("realm2")
    line = router.connect()
    line.hello("realm3")
    assert is_cut_off(line, "wamp.error.no_such_realm")
    one.lose()
    assert list(router.realms) == ["realm2"]
    router.join("realm3")


def test_hello_must_come_in_time(router: TestRouter) -> None:
    line = router.connect()
    router.pass_time(router.settings.hello_timeout - 0.001)
    assert line.closed is None
    router.pass_time(0.001)
    assert line.closed is False
    assert not router.sessions


def test_a_transport_is_not_kept_after_goodbye(router: TestRouter) -> None:
    line = router.join()
    line.send(GOODBYE, {}, "wamp.close.close_realm")
    router.pass_time(router.settings.hello_timeout)
    assert line.closed is False


def test_realms_are_separate(router: TestRouter) -> None:
    one, other = router.join("realm1"), router.join("realm2")
    one.register("com.example.add")
    one.subscribe("com.example.news")
    assert other.ask_in_vain("com.example.add") == "wamp.error.no_such_procedure"
    other.publish("com.example.news", ["hello"])
    assert not one.inbox
    assert other.ask("wamp.session.list") == [other.id]
    assert other.ask_in_vain("wamp.session.get", one.id) == "wamp.error.no_such_session"


# Limits.


def test_a_message_over_the_limit_ends_its_session(
    make_router: t.Callable[..., TestRouter],
) -> None:
    router = make_router(max_message_size=1000)
    line = router.join()
    size = 1000 - len('[16,1,{},"com.example.news",[""]]')
    line.publish("com.example.news", ["x" * size])
    assert not line.inbox
    line.publish("com.example.news", ["x" * (size + 1)])
    assert is_cut_off(line, "wamp.error.payload_size_exceeded")


def test_a_session_that_does_not_read_is_closed(make_router: t.Callable[..., TestRouter]) -> None:
    router = make_router(max_unsent=1000)
    line, witness = router.join(), router.join()
    line.subscribe("com.example.news")
    line.session.report_unsent(1000)
    assert line.closed is None
    line.session.report_unsent(1001)
    assert line.closed is True
    assert router.counters["cut_off"] == 1
    line.session.report_unsent(1001)
    line.lose()
    assert witness.ask("wamp.session.list") == [witness.id]


@pytest.mark.parametrize(
    ("limit", "request_"),
    [
        ("max_registrations", [REGISTER, {}, "com.example.p{}"]),
        ("max_subscriptions", [SUBSCRIBE, {}, "com.example.p{}"]),
    ],
)
def test_registrations_and_subscriptions_of_a_session_are_limited(
    make_router: t.Callable[..., TestRouter], limit: str, request_: list[t.Any]
) -> None:
    line = make_router(**{limit: 2}).join()
    code, options, uri = request_
    for number in range(3):
        line.request(code, options, uri.format(number))
    *allowed, refused = line.take_all()
    assert [message[0] for message in allowed] == [code + 1] * 2
    assert refused[:3] == [ERROR, code, 3]
    assert refused[4] == "wamp.error.unavailable"


def test_calls_in_flight_are_limited(make_router: t.Callable[..., TestRouter]) -> None:
    router = make_router(max_pending_calls=2)
    caller, callee = router.join(), router.join()
    callee.register("com.example.add")
    for _ in range(3):
        caller.call("com.example.add")
    assert caller.take_last()[:5] == [ERROR, CALL, 3, {}, "wamp.error.unavailable"]
    callee.send(YIELD, 1, {})
    caller.take_last()
    caller.call("com.example.add")
    assert not caller.inbox


# Ends.


def test_a_session_that_is_lost_leaves_nothing(router: TestRouter) -> None:
    line, witness = router.join(), router.join()
    witness.subscribe("wamp.session.on_leave")
    line.register("com.example.add")
    line.subscribe("com.example.news")
    line.lose()
    line.lose()
    assert witness.take_last()[4] == [line.id, line.welcome["authid"], "anonymous"]
    line.send(CALL, 1, {}, "com.example.add")
    line.session.disconnect()
    line.session.abort("com.example.reason", "late")
    assert not line.inbox and line.closed is None
    assert len(router.sessions) == 1


def test_an_internal_error_ends_only_its_session(
    router: TestRouter, monkeypatch: pytest.MonkeyPatch
) -> None:
    line, witness = router.join(), router.join()
    realm = router.realms["realm1"]
    monkeypatch.setattr(realm.broker.retained, "latest", lambda *args: 1 / 0)
    line.request(SUBSCRIBE, {"get_retained": True}, "com.example.news")
    assert is_cut_off(line, "wamp.error.runtime_error")
    assert router.counters["failures"] == 1
    assert witness.ask("wamp.session.list") == [witness.id]


def test_an_event_to_a_session_that_ends_in_between(router: TestRouter) -> None:
    """Check the order of messages at the end: no event arrives after UNSUBSCRIBED or GOODBYE."""
    line, publisher = router.join(), router.join()
    line.subscribe("com.example.news")
    line.send(GOODBYE, {}, "wamp.close.close_realm")
    publisher.publish("com.example.news")
    assert [message[0] for message in line.take_all()] == [GOODBYE]
    line.hello()
    publisher.publish("com.example.news")
    assert [message[0] for message in line.take_all()] == [WELCOME]
