"""Registrations: patterns, shared ones, revocation, waiting for a successor."""

from __future__ import annotations

import collections
import typing as t

import pytest

from flask_wamp.protocol.identity import Identity, app_extra
from flask_wamp.router.app_api import BACKEND
from tests.embedded.pair import (
    CALL,
    CANCEL,
    ERROR,
    EVENT,
    GOODBYE,
    INVOCATION,
    REGISTER,
    RESULT,
    UNREGISTER,
    UNREGISTERED,
    YIELD,
    Line,
    TestRouter,
)

ADD = "com.example.add"


def called(caller: Line, callees: list[Line], uri: str = ADD) -> int:
    """Call a procedure. Return the index of the callee that gets and answers the call."""
    caller.call(uri)
    [place] = [place for place, callee in enumerate(callees) if callee.inbox]
    invocation = callees[place].take_last()
    callees[place].send(YIELD, invocation[1], {})
    assert caller.take_last()[0] == RESULT
    return place


# URIs.


@pytest.mark.parametrize(
    ("uri", "match"),
    [
        ("", "exact"),
        ("a..b", "exact"),
        (".a", "exact"),
        ("a.", "exact"),
        ("a b", "exact"),
        ("a#b", "exact"),
        ("a\tb", "exact"),
        ("a\x00", "exact"),
        ("a..b", "prefix"),
        ("", "prefix"),
        ("", "wildcard"),
        ("a b..c", "wildcard"),
        ("wamp", "exact"),
        ("wamp.session.count", "exact"),
        ("wamp.", "prefix"),
        ("wamp..count", "wildcard"),
    ],
)
def test_an_invalid_procedure(router: TestRouter, uri: str, match: str) -> None:
    assert router.join().refused(REGISTER, uri, match=match) == "wamp.error.invalid_uri"


@pytest.mark.parametrize("uri", ["", "a..b", "a b", "a.", "#"])
def test_calling_an_invalid_uri(router: TestRouter, uri: str) -> None:
    assert router.join().ask_in_vain(uri) == "wamp.error.invalid_uri"


@pytest.mark.parametrize(
    "options",
    [
        {"match": "suffix"},
        {"match": 7},
        {"match": ["exact"]},
        {"invoke": "load"},
        {"invoke": {}},
        {"concurrency": "many"},
        {"concurrency": -1},
        {"concurrency": True},
        {"force_reregister": "yes"},
        {"forward_timeout": 1},
    ],
    ids=repr,
)
def test_an_invalid_option(router: TestRouter, options: dict[str, t.Any]) -> None:
    line = router.join()
    assert line.refused(REGISTER, ADD, **options) == "wamp.error.invalid_argument"
    line.register(ADD)


def test_no_pattern_matches_the_routers_procedures(router: TestRouter) -> None:
    line = router.join()
    line.register("w", match="prefix")
    line.register("..", match="wildcard")
    for uri in ("wamp.session.nonsense", "wamp.x", "wamp"):
        assert line.ask_in_vain(uri) == "wamp.error.no_such_procedure"
    assert line.ask("wamp.session.count") == 1


# Patterns. The examples are those of the specification except for the dots at the end of prefixes: without
# them "a1.b2.c3" is a prefix of "a1.b2.c33.d4.e5", as the specification says elsewhere.

SPECIFICATION = [
    ("a1.b2.c3.d4.e55", "exact"),
    ("a1.b2.c3.", "prefix"),
    ("a1.b2.c3.d4.", "prefix"),
    ("a1.b2..d4.e5", "wildcard"),
    ("a1.b2.c33..e5", "wildcard"),
    ("a1.b2..d4.e5..g7", "wildcard"),
    ("a1.b2..d4..f6.g7", "wildcard"),
]


@pytest.mark.parametrize("order", [1, -1])
@pytest.mark.parametrize(
    ("uri", "number"),
    [
        ("a1.b2.c3.d4.e55", 1),
        ("a1.b2.c3.d98.e74", 2),
        ("a1.b2.c3.d4.e325", 3),
        ("a1.b2.c55.d4.e5", 4),
        ("a1.b2.c33.d4.e5", 5),
        ("a1.b2.c88.d4.e5.f6.g7", 6),
        ("a2.b2.c2.d2.e2", 0),
    ],
)
def test_a_call_goes_to_the_best_match(
    router: TestRouter, uri: str, number: int, order: int
) -> None:
    caller = router.join()
    callees = [router.join() for _ in SPECIFICATION]
    for (pattern, match), callee in list(zip(SPECIFICATION, callees, strict=True))[::order]:
        callee.register(pattern, match=match)
    if not number:
        assert caller.ask_in_vain(uri) == "wamp.error.no_such_procedure"
        return
    caller.call(uri)
    details = callees[number - 1].take_last()[3]
    assert details.get("procedure") == (uri if number > 1 else None)
    assert not any(callee.inbox for callee in callees)


def test_a_prefix_need_not_end_at_a_dot(router: TestRouter) -> None:
    line = router.join()
    line.register("com.myapp.myobject1", match="prefix")
    for uri in ("com.myapp.myobject1.p", "com.myapp.myobject1-sub", "com.myapp.myobject1"):
        line.call(uri)
        assert line.take_last()[3]["procedure"] == uri
    for uri in ("com.myapp.myobject2", "com.myapp.myobject"):
        assert line.ask_in_vain(uri) == "wamp.error.no_such_procedure"


def test_an_unregistered_pattern_matches_nothing(router: TestRouter) -> None:
    line = router.join()
    ids = [line.register(pattern, match=match) for pattern, match in SPECIFICATION]
    assert len(set(ids)) == len(ids)
    for registration_id in ids:
        line.request(UNREGISTER, registration_id)
        assert line.take_last()[0] == UNREGISTERED
    for uri in ("a1.b2.c3.d4.e55", "a1.b2.c3", "a1.b2.c55.d4.e5", "a1.b2.c88.d4.e5.f6.g7"):
        assert line.ask_in_vain(uri) == "wamp.error.no_such_procedure"
    assert router.realms["realm1"].dealer.is_empty


def test_the_same_uri_by_another_match_is_another_registration(router: TestRouter) -> None:
    line = router.join()
    ids = {line.register(ADD, match=match) for match in ("exact", "prefix", "wildcard")}
    assert len(ids) == 3


# Shared registrations.


@pytest.mark.parametrize(
    ("invoke", "expected"),
    [("roundrobin", [0, 1, 2, 0, 1, 2, 0]), ("first", [0] * 7), ("last", [2] * 7)],
)
def test_calls_are_shared_by_the_policy(
    router: TestRouter, invoke: str, expected: list[int]
) -> None:
    caller, callees = router.join(), [router.join() for _ in range(3)]
    ids = {callee.register(ADD, invoke=invoke) for callee in callees}
    assert len(ids) == 1
    assert [called(caller, callees) for _ in range(7)] == expected


def test_random_calls_go_to_all(router: TestRouter) -> None:
    caller, callees = router.join(), [router.join() for _ in range(3)]
    for callee in callees:
        callee.register(ADD, invoke="random")
    counts = collections.Counter(called(caller, callees) for _ in range(300))
    assert set(counts) == {0, 1, 2}
    assert min(counts.values()) > 60


def test_roundrobin_continues_when_a_callee_leaves(router: TestRouter) -> None:
    caller, callees = router.join(), [router.join() for _ in range(3)]
    for callee in callees:
        callee.register(ADD, invoke="roundrobin")
    assert [called(caller, callees) for _ in range(2)] == [0, 1]
    callees[0].lose()
    assert [called(caller, callees) for _ in range(3)] == [2, 1, 2]
    callees[2].lose()
    assert [called(caller, callees) for _ in range(2)] == [1, 1]


@pytest.mark.parametrize("invoke", ["first", "last"])
def test_the_next_callee_takes_over(router: TestRouter, invoke: str) -> None:
    caller, callees = router.join(), [router.join() for _ in range(2)]
    for callee in callees:
        callee.register(ADD, invoke=invoke)
    active = called(caller, callees)
    callees[active].lose()
    assert called(caller, callees) == 1 - active


def test_single_is_the_default_and_excludes_others(router: TestRouter) -> None:
    one, other = router.join(), router.join()
    one.register(ADD)
    assert other.refused(REGISTER, ADD) == "wamp.error.procedure_already_exists"
    assert one.refused(REGISTER, ADD, invoke="single") == "wamp.error.procedure_already_exists"
    assert other.refused(REGISTER, ADD, invoke="first") == "wamp.error.procedure_already_exists"


OTHER_POLICY = "wamp.error.procedure_exists_with_different_invocation_policy"


def test_all_callees_have_one_policy(router: TestRouter) -> None:
    one, other = router.join(), router.join()
    one.register(ADD, invoke="roundrobin")
    for invoke in ("single", "first", "last", "random", None):
        assert other.refused(REGISTER, ADD, invoke=invoke) == OTHER_POLICY
    assert one.refused(REGISTER, ADD, invoke="roundrobin") == "wamp.error.procedure_already_exists"


# Concurrency.


@pytest.mark.parametrize("invoke", ["roundrobin", "random", "first", "last"])
def test_calls_go_to_free_callees(router: TestRouter, invoke: str) -> None:
    caller, callees = router.join(), [router.join() for _ in range(2)]
    for callee in callees:
        callee.register(ADD, invoke=invoke, concurrency=2)
    for _ in range(4):
        caller.call(ADD)
    assert [len(callee.take_all()) for callee in callees] == [2, 2]
    assert caller.ask_in_vain(ADD) == "wamp.error.unavailable"
    callees[1].send(YIELD, 1, {})
    caller.take_last()
    caller.call(ADD)
    assert callees[1].take_last()[:2] == [INVOCATION, 3]


@pytest.mark.parametrize("how", ["yield", "error", "cancel", "timeout", "caller gone", "too big"])
def test_concurrency_is_released_however_a_call_ends(router: TestRouter, how: str) -> None:
    callee, waiting = router.join(), router.join()
    caller = router.join(max_message_size=1000)
    callee.register(ADD, concurrency=1)
    caller.call(ADD, timeout=1000)
    assert waiting.ask_in_vain(ADD) == "wamp.error.unavailable"
    if how == "yield":
        callee.send(YIELD, 1, {})
    elif how == "error":
        callee.send(ERROR, INVOCATION, 1, {}, "com.example.error")
    elif how == "cancel":
        caller.send(CANCEL, 1, {"mode": "skip"})
    elif how == "timeout":
        router.pass_time(1)
    elif how == "too big":
        callee.send(YIELD, 1, {}, ["x" * 1000])
    else:
        caller.lose()
    callee.take_all()
    waiting.call(ADD)
    assert callee.take_last()[:2] == [INVOCATION, 2]
    assert waiting.ask_in_vain(ADD) == "wamp.error.unavailable"


# Revoking registrations.


def test_force_reregister_takes_it_from_all(router: TestRouter) -> None:
    old = [router.join() for _ in range(3)]
    silent = router.join(roles={"callee": {}})
    for callee in [*old, silent]:
        registration_id = callee.register(ADD, invoke="roundrobin")
    new = router.join()
    new.register(ADD, force_reregister=True)
    for callee in old:
        assert callee.take_last() == [
            UNREGISTERED,
            0,
            {"registration": registration_id, "reason": "wamp.error.unregistered"},
        ]
        assert not callee.session.registrations
    assert not silent.inbox and not silent.session.registrations
    caller = router.join()
    assert [called(caller, [*old, silent, new]) for _ in range(2)] == [4, 4]
    assert old[0].refused(REGISTER, ADD) == "wamp.error.procedure_already_exists"


def test_force_reregister_of_own_and_new_procedures(router: TestRouter) -> None:
    line, caller = router.join(), router.join()
    first = line.register(ADD, force_reregister=True)
    line.request(REGISTER, {"force_reregister": True}, ADD)
    [revoked, registered] = line.take_all()
    assert revoked[2]["registration"] == first
    assert registered[2] != first
    assert called(caller, [line]) == 0


def test_a_running_call_survives_force_reregister(router: TestRouter) -> None:
    old, new, caller = router.join(), router.join(), router.join()
    old.register(ADD)
    caller.call(ADD)
    new.register(ADD, force_reregister=True)
    old.send(YIELD, 1, {}, [3])
    assert caller.take_last() == [RESULT, 1, {}, [3]]


def test_removing_a_callee(router: TestRouter) -> None:
    callee, other, admin = router.join(), router.join(), router.join()
    registration_id = callee.register(ADD, invoke="roundrobin")
    other.register(ADD, invoke="roundrobin")
    name = "wamp.registration.remove_callee"
    assert admin.ask(name, registration_id, callee.id, reason="com.example.gone") is None
    assert callee.take_last() == [
        UNREGISTERED,
        0,
        {"registration": registration_id, "reason": "com.example.gone"},
    ]
    assert called(admin, [callee, other]) == 1
    assert admin.ask_in_vain(name, registration_id, callee.id) == "wamp.error.no_such_session"
    assert admin.ask_in_vain(name, 999, other.id) == "wamp.error.no_such_registration"
    assert admin.ask_in_vain(name, registration_id, other.id, "#") == "wamp.error.invalid_uri"


def test_only_a_callee_unregisters(router: TestRouter) -> None:
    callee, other = router.join(), router.join()
    registration_id = callee.register(ADD)
    for number in (registration_id, 999, 0, -1):
        request_id = other.request(UNREGISTER, number)
        assert other.take_last()[:5] == [
            ERROR,
            UNREGISTER,
            request_id,
            {},
            "wamp.error.no_such_registration",
        ]
    assert called(other, [callee]) == 0


# Waiting for a successor.


class LingeringRouter(TestRouter):
    """A router whose calls wait for the next process of an app."""

    def join_as_app(self, serializer: str = "json") -> Line:
        """Join as a process of an app, over the unix socket that only its user can open."""
        details = {"authextra": app_extra("shop")}
        return self.join(serializer=serializer, details=details, identity=BACKEND)


@pytest.fixture
def lingering() -> LingeringRouter:
    return LingeringRouter(linger=2.0, max_lingering_calls=3)


@pytest.mark.parametrize("how", ["lost", "unregistered"])
def test_calls_wait_for_the_next_callee(lingering: LingeringRouter, how: str) -> None:
    old, caller = lingering.join_as_app(), lingering.join()
    registration_id = old.register(ADD, invoke="roundrobin")
    if how == "lost":
        old.lose()
    else:
        old.request(UNREGISTER, registration_id)
    caller.call(ADD, ["one"])
    caller.call(ADD, ["two"])
    lingering.pass_time(1.9)
    assert not caller.inbox
    new = lingering.join_as_app("msgpack")
    new.register(ADD, invoke="single")
    assert [message[4] for message in new.take_all()] == [["one"], ["two"]]
    new.send(YIELD, 1, {}, [1])
    assert caller.take_last() == [RESULT, 1, {}, [1]]
    lingering.pass_time(10)
    assert not caller.inbox
    assert lingering.realms["realm1"].dealer.calls.held == 0


def test_calls_wait_no_longer_than_linger(lingering: LingeringRouter) -> None:
    old, caller = lingering.join_as_app(), lingering.join()
    old.register(ADD)
    old.lose()
    caller.call(ADD)
    lingering.pass_time(2)
    answer = caller.take_last()
    assert answer[:5] == [ERROR, CALL, 1, {}, "wamp.error.no_such_procedure"]
    assert answer[5] == [
        f"no procedure {ADD}: its last process has left, and none has followed in time"
    ]
    assert caller.ask_in_vain(ADD) == "wamp.error.no_such_procedure"
    assert lingering.realms["realm1"].dealer.is_empty
    assert lingering.next_deadline is None


def test_a_call_that_waits_can_be_canceled_and_times_out(lingering: LingeringRouter) -> None:
    old, caller, gone = lingering.join_as_app(), lingering.join(), lingering.join()
    old.register(ADD)
    old.lose()
    caller.call(ADD)
    caller.call(ADD, timeout=500)
    gone.call(ADD)
    gone.lose()
    caller.send(CANCEL, 1, {"mode": "kill"})
    assert caller.take_last() == [ERROR, CALL, 1, {}, "wamp.error.canceled"]
    lingering.pass_time(0.5)
    assert caller.take_last()[2:5] == [2, {}, "wamp.error.timeout"]
    assert lingering.realms["realm1"].dealer.calls.held == 0


def test_the_waiting_time_of_a_call_counts(lingering: LingeringRouter) -> None:
    old, new, caller = lingering.join_as_app(), lingering.join_as_app(), lingering.join()
    old.register(ADD)
    old.lose()
    caller.call(ADD, timeout=1500)
    lingering.pass_time(1)
    new.register(ADD)
    lingering.pass_time(0.5)
    assert caller.take_last()[4] == "wamp.error.timeout"
    assert [message[0] for message in new.take_all()] == [INVOCATION, 69]


def test_the_number_of_waiting_calls_is_limited(lingering: LingeringRouter) -> None:
    old, caller = lingering.join_as_app(), lingering.join()
    old.register(ADD)
    old.lose()
    for _ in range(4):
        caller.call(ADD)
    assert caller.take_last()[2:5] == [4, {}, "wamp.error.unavailable"]


def test_the_meta_api_does_not_show_procedures_without_callees(lingering: LingeringRouter) -> None:
    old, line = lingering.join_as_app(), lingering.join()
    line.subscribe("wamp.registration.", match="prefix")
    registration_id = old.register(ADD)
    old.lose()
    events = [message[3]["topic"].rpartition(".")[2] for message in line.take_all()]
    assert events == ["on_create", "on_register", "on_unregister", "on_delete"]
    assert line.ask("wamp.registration.lookup", ADD) is None
    assert line.ask("wamp.registration.match", ADD) is None
    name = "wamp.registration.get"
    assert line.ask_in_vain(name, registration_id) == "wamp.error.no_such_registration"
    new = lingering.join_as_app()
    assert new.register(ADD) == registration_id
    assert [message[0] for message in line.take_all()] == [EVENT, EVENT]


def test_calls_do_not_wait_for_a_procedure_that_was_taken_over(lingering: LingeringRouter) -> None:
    old, new, caller = lingering.join_as_app(), lingering.join_as_app(), lingering.join()
    first = old.register(ADD)
    assert new.register(ADD, force_reregister=True) != first
    assert called(caller, [new]) == 0


@pytest.mark.parametrize("how", ["lost", "goodbye", "unregistered"])
@pytest.mark.parametrize(
    ("identity", "authextra"),
    [
        (None, {}),
        (None, app_extra("shop")),  # a page or device cannot claim to be the app
        (BACKEND, {}),  # another program of the app's user
    ],
    ids=["client", "client that names the app", "program of the same user"],
)
def test_calls_do_not_wait_for_other_clients(
    lingering: LingeringRouter,
    identity: Identity | None,
    authextra: dict[str, object],
    how: str,
) -> None:
    details = {"authextra": authextra}
    device, caller = lingering.join(details=details, identity=identity), lingering.join()
    registration_id = device.register(ADD)
    if how == "lost":
        device.lose()
    elif how == "goodbye":
        device.send(GOODBYE, {}, "wamp.close.close_realm")
    else:
        device.request(UNREGISTER, registration_id)
    assert caller.ask_in_vain(ADD) == "wamp.error.no_such_procedure"
    assert lingering.realms["realm1"].dealer.is_empty


def test_calls_do_not_wait_for_a_client_that_has_followed_the_app(
    lingering: LingeringRouter,
) -> None:
    old, device, caller = lingering.join_as_app(), lingering.join(), lingering.join()
    old.register(ADD)
    old.lose()
    caller.call(ADD)
    device.register(ADD)
    assert device.take_last()[0] == INVOCATION
    device.lose()
    assert caller.take_last()[4] == "wamp.error.canceled"
    assert caller.ask_in_vain(ADD) == "wamp.error.no_such_procedure"
    assert lingering.next_deadline is None
