"""Calls: their callees, the disclosure of the caller, and their end."""

from __future__ import annotations

import typing as t

import pytest

from tests.embedded.pair import (
    CALL,
    CANCEL,
    ERROR,
    INTERRUPT,
    INVOCATION,
    RESULT,
    ROLES,
    UNREGISTER,
    UNREGISTERED,
    YIELD,
    Line,
    TestRouter,
)

ADD = "com.example.add"
CANCELED = "wamp.error.canceled"

#: A client that announces nothing.
PLAIN = {"caller": {}, "callee": {}}


def pending(router: TestRouter, callee_roles: t.Any = ROLES, **options: t.Any) -> tuple[Line, Line]:
    """Return a caller and the callee of its pending call."""
    caller, callee = router.join(), router.join(roles=callee_roles)
    callee.register(ADD)
    caller.call(ADD, **options)
    assert callee.take_last()[0] == INVOCATION
    return caller, callee


def nothing_is_left(*lines: Line) -> bool:
    """Return whether no call is pending."""
    return not any(line.session.calls or line.session.invocations for line in lines)


# Answers.


def test_an_error_reaches_the_caller(router: TestRouter) -> None:
    caller, callee = pending(router)
    callee.send(ERROR, INVOCATION, 1, {"odd": 1}, "com.example.error", ["why"], {"code": 7})
    assert caller.take_last() == [ERROR, CALL, 1, {}, "com.example.error", ["why"], {"code": 7}]
    assert nothing_is_left(caller, callee)


@pytest.mark.parametrize("uri", ["", "a b", "a..b", "a.#", "a\nb"])
def test_an_invalid_error_uri_is_not_forwarded(router: TestRouter, uri: str) -> None:
    caller, callee = pending(router)
    callee.send(ERROR, INVOCATION, 1, {}, uri, ["why"])
    assert caller.take_last() == [ERROR, CALL, 1, {}, "wamp.error.invalid_uri", ["why"]]


def test_a_call_is_answered_once(router: TestRouter) -> None:
    caller, callee = pending(router)
    callee.send(YIELD, 1, {}, [1])
    callee.send(YIELD, 1, {}, [2])
    callee.send(ERROR, INVOCATION, 1, {}, "com.example.error")
    assert caller.take_last() == [RESULT, 1, {}, [1]]
    assert callee.closed is None


@pytest.mark.parametrize("request_id", [0, 2, -1, 2**60])
def test_an_answer_to_no_invocation_is_a_violation(router: TestRouter, request_id: int) -> None:
    caller, callee = pending(router)
    callee.send(YIELD, request_id, {})
    assert callee.closed is False
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED, ["the callee has left"]]


def test_an_error_of_another_request_type_is_a_violation(router: TestRouter) -> None:
    _, callee = pending(router)
    callee.send(ERROR, CALL, 1, {}, "com.example.error")
    assert callee.closed is False


@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ([], []),
        ([None], [[]]),
        ([None, {"a": 1}], [[], {"a": 1}]),
        ([[1], None], [[1]]),
        ([[], {}], [[], {}]),
    ],
)
def test_null_is_not_a_payload(
    router: TestRouter, serializer: str, sent: list[t.Any], received: list[t.Any]
) -> None:
    caller, callee = router.join(serializer=serializer), router.join(serializer=serializer)
    callee.register(ADD)
    caller.call(ADD, *sent)
    assert callee.take_last()[4:] == received


def test_bytes_are_base64_in_json_and_bytes_elsewhere(router: TestRouter) -> None:
    json, msgpack, cbor = [router.join(serializer=name) for name in ("json", "msgpack", "cbor")]
    for callee in (json, msgpack, cbor):
        callee.register(f"com.example.{callee.serializer}")
    as_text, as_bytes = "\0AQL/", b"\x01\x02\xff"
    for caller, given in ((json, as_text), (msgpack, as_bytes), (cbor, as_bytes)):
        for callee, got in ((json, as_text), (msgpack, as_bytes), (cbor, as_bytes)):
            caller.call(f"com.example.{callee.serializer}", [[given]], {"a": {"b": given}})
            message = callee.take_last()
            assert message[4:] == [[[got]], {"a": {"b": got}}]


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        "\0not Base64!",
        {1: 2},
        {b"a": 1},
        {"deep": {2: 3}},
    ],
    ids=repr,
)
def test_a_payload_that_a_serializer_does_not_support_is_the_callers_error(
    router: TestRouter, value: t.Any
) -> None:
    caller, callee = router.join(serializer="msgpack"), router.join(serializer="json")
    callee.register(ADD)
    caller.call(ADD, [value])
    [code, kind, request_id, _, uri, args] = caller.take_last()
    assert (code, kind, request_id, uri) == (ERROR, CALL, 1, "wamp.error.invalid_argument")
    assert "JSON cannot carry" in args[0]
    assert not callee.inbox and nothing_is_left(caller, callee)
    assert callee.session.last_invocation_id == 0


@pytest.mark.parametrize(("sender", "receiver"), [("msgpack", "cbor"), ("cbor", "msgpack")])
def test_nan_is_forwarded_if_both_serializers_support_it(
    router: TestRouter, sender: str, receiver: str
) -> None:
    caller, callee = router.join(serializer=sender), router.join(serializer=receiver)
    callee.register(ADD)
    caller.call(ADD, [[float("nan"), float("-inf"), 1]])
    assert repr(callee.take_last()[4]) == "[[nan, -inf, 1]]"
    assert caller.inbox == []


def test_nan_does_not_hide_an_integer_that_is_too_large(router: TestRouter) -> None:
    caller, callee = router.join(serializer="json"), router.join(serializer="cbor")
    callee.register(ADD)
    caller.send_bytes(f'[48,1,{{}},"{ADD}",[[1e999,{10**30}]]]'.encode())
    assert caller.take_last()[0] == ERROR
    assert callee.inbox == []


def test_a_result_that_cannot_be_forwarded_ends_the_call(router: TestRouter) -> None:
    caller, callee = router.join(serializer="json"), router.join(serializer="msgpack")
    callee.register(ADD)
    caller.call(ADD, receive_progress=True)
    caller.call(ADD)
    callee.take_all()
    callee.send(YIELD, 1, {"progress": True}, [float("nan")])
    assert callee.take_last() == [INTERRUPT, 1, {"mode": "killnowait"}]
    callee.send(YIELD, 2, {}, [float("nan")])
    for request_id, answer in enumerate(caller.take_all(), 1):
        assert answer[:3] == [ERROR, CALL, request_id]
        assert answer[4] == "wamp.error.invalid_argument"
    assert nothing_is_left(caller, callee)


@pytest.mark.parametrize("payload", [[{}], ["text"], [7], [[], []], [[], "x"], [True]])
@pytest.mark.parametrize("serializer", ["json", "msgpack", "cbor"])
def test_an_invalid_payload_ends_only_the_senders_session(
    router: TestRouter, serializer: str, payload: list[t.Any]
) -> None:
    victim = router.join(serializer=serializer)
    victim.register(ADD)
    victim.subscribe("com.example.news")
    for code in (CALL, 16):
        line = router.join(serializer=serializer)
        line.request(code, {}, {CALL: ADD, 16: "com.example.news"}[code], *payload)
        assert line.take_last()[2] == "wamp.error.protocol_violation"
        assert line.closed is False
    caller = router.join()
    caller.call(ADD)
    victim.take_last()
    victim.send(YIELD, 1, {}, *payload)
    assert caller.take_last()[4] == CANCELED
    assert victim.closed is False


def test_keywords_of_payloads_are_strings(router: TestRouter) -> None:
    callee = router.join(serializer="msgpack")
    callee.register(ADD)
    for serializer in ("msgpack", "cbor"):
        line = router.join(serializer=serializer)
        line.call(ADD, [], {1: 2})
        assert line.closed is False
    assert not callee.inbox


def test_text_that_is_not_utf8_does_not_reach_other_sessions(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.send_bytes(b'[48,1,{},"com.example.add",["\xff"]]')
    assert caller.closed is False
    assert not callee.inbox


# Sizes.


def test_an_invocation_that_the_callee_cannot_receive_is_the_callers_error(
    router: TestRouter,
) -> None:
    caller, callee = router.join(), router.join(max_message_size=512)
    callee.register(ADD)
    caller.call(ADD, ["x" * 512])
    assert caller.take_last()[4] == "wamp.error.payload_size_exceeded"
    caller.call(ADD)
    assert callee.take_last()[:2] == [INVOCATION, 1], "an invocation id was skipped"


def test_a_result_that_the_caller_cannot_receive_is_an_error(router: TestRouter) -> None:
    caller, callee = router.join(max_message_size=512), router.join()
    callee.register(ADD)
    caller.call(ADD)
    callee.send(YIELD, 1, {}, ["x" * 512])
    assert caller.take_last()[4] == "wamp.error.payload_size_exceeded"
    assert nothing_is_left(caller, callee)


# The caller.


def test_a_caller_is_disclosed_on_request(
    make_router: t.Callable[..., TestRouter],
) -> None:
    router = make_router(disclose=False)
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    for options, is_disclosed in (({}, False), ({"disclose_me": False}, False)):
        caller.call(ADD, **options)
        assert ("caller" in callee.take_last()[3]) == is_disclosed
    caller.call(ADD, disclose_me=True)
    assert callee.take_last()[3] == {
        "caller": caller.id,
        "caller_authid": caller.welcome["authid"],
        "caller_authrole": "anonymous",
    }


FORGED = {"session": 1, "authid": "root", "authrole": "admin"}


def test_a_session_cannot_call_in_the_name_of_another(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(
        ADD,
        forward_for=[FORGED],
        caller=1,
        caller_authid="root",
        caller_authrole="admin",
        procedure="com.example.other",
    )
    assert callee.take_last()[3] == {
        "caller": caller.id,
        "caller_authid": caller.welcome["authid"],
        "caller_authrole": "anonymous",
    }


def test_a_trusted_link_is_the_last_entry_of_forward_for(
    make_router: t.Callable[..., TestRouter],
) -> None:
    router = make_router(trusted_links=frozenset({"anonymous"}))
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(ADD, forward_for=[FORGED])
    details = callee.take_last()[3]
    assert details["caller"] == caller.id
    true = {"session": caller.id, "authid": caller.welcome["authid"], "authrole": "anonymous"}
    assert details["forward_for"] == [FORGED, true]
    caller.call(ADD, forward_for="root")
    assert caller.take_last()[4] == "wamp.error.invalid_argument"


def test_transaction_hash_is_forwarded(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(ADD, transaction_hash="00-abc-01")
    assert callee.take_last()[3]["transaction_hash"] == "00-abc-01"
    for wrong in (7, "x" * 257):
        caller.call(ADD, transaction_hash=wrong)
        assert caller.take_last()[4] == "wamp.error.invalid_argument"


# Progressive results.


def test_progressive_results_arrive_at_once_and_in_order(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(ADD, receive_progress=True)
    assert callee.take_last()[3]["receive_progress"] is True
    for number in range(3):
        callee.send(YIELD, 1, {"progress": True}, [number])
        assert caller.take_last() == [RESULT, 1, {"progress": True}, [number]]
    callee.send(YIELD, 1, {})
    assert caller.take_last() == [RESULT, 1, {}]
    callee.send(YIELD, 1, {"progress": True}, ["late"])
    assert not caller.inbox and nothing_is_left(caller, callee)


def test_a_caller_gets_no_progress_without_requesting_it(router: TestRouter) -> None:
    caller, callee = pending(router)
    callee.send(YIELD, 1, {"progress": True}, [1])
    assert not caller.inbox
    callee.send(YIELD, 1, {}, [2])
    assert caller.take_last() == [RESULT, 1, {}, [2]]


@pytest.mark.parametrize(
    "features", [{}, {"progressive_call_results": True}, {"call_canceling": True}]
)
def test_progress_is_requested_from_any_callee(
    router: TestRouter, features: dict[str, bool]
) -> None:
    """autobahn-js and wampy.js announce less than they do."""
    caller, callee = router.join(), router.join(roles={"callee": {"features": features}})
    callee.register(ADD)
    caller.call(ADD, receive_progress=True)
    assert callee.take_last()[3]["receive_progress"] is True
    callee.send(YIELD, 1, {"progress": True}, [1])
    assert caller.take_last() == [RESULT, 1, {"progress": True}, [1]]


@pytest.mark.parametrize("mode", ["skip", "kill", "killnowait"])
def test_progress_of_a_callee_that_cannot_be_interrupted_ends_with_the_call(
    router: TestRouter, mode: str
) -> None:
    caller, callee = router.join(), router.join(roles={"callee": {}})
    callee.register(ADD)
    caller.call(ADD, receive_progress=True)
    callee.take_last()
    caller.send(CANCEL, 1, {"mode": mode})
    assert caller.take_last()[4] == "wamp.error.canceled"
    callee.send(YIELD, 1, {"progress": True}, [1])
    callee.send(YIELD, 1, {}, [2])
    assert not caller.inbox and not callee.inbox and nothing_is_left(caller, callee)


def test_progressive_calls_are_refused(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(ADD, progress=True)
    assert caller.take_last()[4] == "wamp.error.invalid_argument"
    assert not callee.inbox


# Canceling.


@pytest.mark.parametrize("options", [{"mode": "killnowait"}, {}])
def test_killnowait_answers_at_once_and_interrupts(
    router: TestRouter, options: dict[str, str]
) -> None:
    caller, callee = pending(router)
    caller.send(CANCEL, 1, options)
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED]
    assert callee.take_last() == [INTERRUPT, 1, {"mode": "killnowait"}]
    callee.send(YIELD, 1, {}, ["late"])
    assert not caller.inbox and callee.closed is None
    assert nothing_is_left(caller, callee)


def test_skip_answers_at_once_and_does_not_interrupt(router: TestRouter) -> None:
    caller, callee = pending(router)
    caller.send(CANCEL, 1, {"mode": "skip"})
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED]
    assert not callee.inbox
    callee.send(ERROR, INVOCATION, 1, {}, "com.example.error")
    assert not caller.inbox and callee.closed is None


def test_kill_interrupts_and_waits_for_the_callee(router: TestRouter) -> None:
    caller, callee = pending(router)
    caller.send(CANCEL, 1, {"mode": "kill"})
    assert callee.take_last() == [INTERRUPT, 1, {"mode": "kill"}]
    assert not caller.inbox
    callee.send(ERROR, INVOCATION, 1, {}, CANCELED, ["cleaned up"])
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED, ["cleaned up"]]


def test_a_result_may_arrive_after_kill(router: TestRouter) -> None:
    caller, callee = pending(router)
    caller.send(CANCEL, 1, {"mode": "kill"})
    callee.send(YIELD, 1, {}, [3])
    assert caller.take_last() == [RESULT, 1, {}, [3]]


def test_a_caller_may_cancel_with_killnowait_after_kill(router: TestRouter) -> None:
    caller, callee = pending(router)
    caller.send(CANCEL, 1, {"mode": "kill"})
    caller.send(CANCEL, 1, {"mode": "killnowait"})
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED]
    assert [message[2]["mode"] for message in callee.take_all()] == ["kill", "killnowait"]


@pytest.mark.parametrize("mode", ["skip", "kill", "killnowait"])
def test_a_callee_that_has_not_announced_it_is_never_interrupted(
    router: TestRouter, mode: str
) -> None:
    caller, callee = pending(router, callee_roles=PLAIN)
    caller.send(CANCEL, 1, {"mode": mode})
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED]
    assert not callee.inbox


def test_an_invalid_mode_cancels_nothing(router: TestRouter) -> None:
    caller, callee = pending(router)
    caller.send(CANCEL, 1, {"mode": "softly"})
    assert caller.take_last()[:5] == [ERROR, CANCEL, 1, {}, "wamp.error.invalid_argument"]
    callee.send(YIELD, 1, {}, [3])
    assert caller.take_last() == [RESULT, 1, {}, [3]]


def test_canceling_an_answered_or_unknown_call_does_nothing(router: TestRouter) -> None:
    caller, callee = pending(router)
    callee.send(YIELD, 1, {})
    caller.take_last()
    for request_id in (1, 2, 0, -7):
        caller.send(CANCEL, request_id, {})
    assert not caller.inbox and not callee.inbox and caller.closed is None


def test_a_session_cannot_cancel_the_call_of_another(router: TestRouter) -> None:
    _, callee = pending(router)
    other = router.join()
    other.send(CANCEL, 1, {})
    assert not callee.inbox


# Timeouts.


def test_a_call_ends_after_its_timeout_in_milliseconds(router: TestRouter) -> None:
    caller, callee = pending(router, timeout=1500)
    router.pass_time(1.499)
    assert not caller.inbox
    router.pass_time(0.001)
    assert caller.take_last()[:5] == [ERROR, CALL, 1, {}, "wamp.error.timeout"]
    assert callee.take_last() == [INTERRUPT, 1, {"mode": "killnowait"}]
    callee.send(YIELD, 1, {}, ["late"])
    assert not caller.inbox and nothing_is_left(caller, callee)


def test_a_call_that_is_answered_has_no_timer(router: TestRouter) -> None:
    caller, callee = pending(router, timeout=1000)
    assert router.next_deadline == router.now + 1
    callee.send(YIELD, 1, {})
    caller.take_last()
    assert router.next_deadline is None
    router.pass_time(5)
    assert not caller.inbox and not callee.inbox


def test_the_timeout_is_for_each_progressive_result(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(ADD, timeout=1000, receive_progress=True)
    for _ in range(3):
        router.pass_time(0.9)
        callee.send(YIELD, 1, {"progress": True})
    assert [message[0] for message in caller.take_all()] == [RESULT] * 3
    router.pass_time(0.99)
    assert not caller.inbox
    router.pass_time(0.01)
    assert caller.take_last()[4] == "wamp.error.timeout"


@pytest.mark.parametrize("timeout", [0, None])
def test_a_timeout_of_zero_means_none(router: TestRouter, timeout: t.Any) -> None:
    caller, _ = pending(router, timeout=timeout)
    router.pass_time(1e6)
    assert not caller.inbox


@pytest.mark.parametrize("timeout", [-1, 1.5, "1000", True, [1]])
def test_an_invalid_timeout_is_an_error(router: TestRouter, timeout: t.Any) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD)
    caller.call(ADD, timeout=timeout)
    assert caller.take_last()[4] == "wamp.error.invalid_argument"
    assert not callee.inbox


def test_a_callee_that_announces_timeouts_gets_them(router: TestRouter) -> None:
    caller, knows, plain = router.join(), router.join(), router.join(roles=PLAIN)
    knows.register(ADD)
    plain.register("com.example.plain")
    caller.call(ADD, timeout=1000)
    caller.call("com.example.plain", timeout=1000)
    assert knows.take_last()[3]["timeout"] == 1000
    assert "timeout" not in plain.take_last()[3]


def test_a_callee_may_handle_timeouts_itself(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register(ADD, forward_timeout=True)
    caller.call(ADD, timeout=1000)
    router.pass_time(5)
    assert not caller.inbox
    callee.send(ERROR, INVOCATION, 1, {}, "wamp.error.timeout")
    assert caller.take_last()[4] == "wamp.error.timeout"


# Leaving.


def test_a_callee_that_leaves_ends_its_calls(router: TestRouter) -> None:
    caller, callee = pending(router, timeout=1000)
    callee.lose()
    assert caller.take_last() == [ERROR, CALL, 1, {}, CANCELED, ["the callee has left"]]
    assert nothing_is_left(caller) and router.next_deadline is None


def test_a_caller_that_leaves_interrupts_its_callees(router: TestRouter) -> None:
    caller, callee = pending(router)
    caller.lose()
    assert callee.take_last() == [INTERRUPT, 1, {"mode": "killnowait"}]
    callee.send(YIELD, 1, {}, ["late"])
    assert callee.closed is None and nothing_is_left(callee)


def test_a_caller_that_leaves_does_not_interrupt_a_callee_without_the_feature(
    router: TestRouter,
) -> None:
    caller, callee = pending(router, callee_roles=PLAIN)
    caller.lose()
    assert not callee.inbox


def test_a_session_may_call_itself_and_leave(router: TestRouter) -> None:
    line = router.join()
    line.register(ADD)
    line.call(ADD)
    line.lose()
    assert nothing_is_left(line)


def test_a_call_continues_when_its_procedure_is_unregistered(router: TestRouter) -> None:
    caller, callee = pending(router)
    [registration_id] = callee.session.registrations
    callee.request(UNREGISTER, registration_id)
    assert callee.take_last() == [UNREGISTERED, 2]
    callee.send(YIELD, 1, {}, [3])
    assert caller.take_last() == [RESULT, 1, {}, [3]]
    assert caller.ask_in_vain(ADD) == "wamp.error.no_such_procedure"


@pytest.mark.parametrize(
    "tagged",
    [b"\xc1\x1a\x51\x4b\x67\xb0", b"\xc2\x49\x01" + bytes(8), b"\xd8\x1d\x00"],
    ids=["date", "number", "reference"],
)
def test_a_cbor_tag_drops_only_its_message(router: TestRouter, tagged: bytes) -> None:
    """A date, a number of 65 bits, a reference: no other serializer supports them."""
    line, callee = router.join(serializer="cbor"), router.join()
    callee.register(ADD)
    line.send_bytes(b"\x85\x18\x30\x01\xa0\x6fcom.example.add\x81" + tagged)
    assert line.take_last()[:5] == [ERROR, CALL, 1, {}, "wamp.error.invalid_argument"]
    assert not callee.inbox and line.closed is None
    line.last_request_id = 1
    line.register("com.example.other")
    callee.call("com.example.other")
    line.take_last()
    line.send_bytes(b"\x84\x18\x46\x01\xa0\x81" + tagged)
    assert callee.take_last()[4] == "wamp.error.invalid_argument"
    assert not line.inbox and line.closed is None
    assert nothing_is_left(line, callee)


def test_a_cbor_bignum_is_forwarded_as_an_integer(router: TestRouter) -> None:
    """autobahn-js sends integers that a Number cannot hold in this form."""
    caller, callee = router.join(serializer="cbor"), router.join(serializer="msgpack")
    callee.register(ADD)
    caller.send_bytes(b"\x85\x18\x30\x01\xa0\x6fcom.example.add\x81\xc2\x47\x20" + bytes(6))
    assert callee.take_last()[4] == [2**53]
