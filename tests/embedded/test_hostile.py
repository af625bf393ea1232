"""Hostile clients: whatever one of them sends, only its own session ends.

Witnesses of every serializer serve a procedure and are subscribed to everything. They must continue,
and must never get a message that their own client would treat as a violation by the router.
"""

from __future__ import annotations

import itertools
import random
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flask_wamp.protocol.serializers import get_serializer
from tests.embedded.pair import (
    AUTHENTICATE,
    CALL,
    CANCEL,
    ERROR,
    GOODBYE,
    HELLO,
    INVOCATION,
    PUBLISH,
    REGISTER,
    RESULT,
    ROLES,
    SUBSCRIBE,
    UNREGISTER,
    UNSUBSCRIBE,
    YIELD,
    TestRouter,
    encode,
)

SERIALIZERS = ["json", "msgpack", "cbor"]

OPTIONS: dict[str, t.Any] = {
    "match": "exact",
    "invoke": "single",
    "concurrency": 1,
    "force_reregister": False,
    "forward_timeout": False,
    "get_retained": True,
    "acknowledge": True,
    "exclude_me": True,
    "exclude": [1],
    "exclude_authid": ["x"],
    "exclude_authrole": ["x"],
    "eligible": [1],
    "eligible_authid": ["x"],
    "eligible_authrole": ["x"],
    "retain": False,
    "disclose_me": True,
    "timeout": 1000,
    "receive_progress": True,
    "progress": False,
    "transaction_hash": "x",
    "forward_for": [],
    "mode": "kill",
}

#: A valid message of each type.
MESSAGES: list[list[t.Any]] = [
    [HELLO, "realm1", {"roles": ROLES, "authid": "x", "authmethods": ["x"], "authextra": {}}],
    [AUTHENTICATE, "x", {}],
    [GOODBYE, {}, "wamp.close.close_realm"],
    [3, {}, "wamp.close.close_realm"],
    [ERROR, INVOCATION, 1, {}, "com.example.error", [1], {"a": 1}],
    [PUBLISH, 1, OPTIONS, "com.example.news", [1], {"a": 1}],
    [SUBSCRIBE, 1, OPTIONS, "com.example.news"],
    [UNSUBSCRIBE, 1, 1],
    [CALL, 1, OPTIONS, "com.example.add", [1], {"a": 1}],
    [CANCEL, 1, OPTIONS],
    [REGISTER, 1, OPTIONS, "com.example.other"],
    [UNREGISTER, 1, 1],
    [YIELD, 1, OPTIONS, [1], {"a": 1}],
]

ODD: list[t.Any] = [
    None,
    True,
    0,
    -1,
    2**53 + 1,
    2**64 - 1,
    1.5,
    "",
    "a..b",
    "wamp.session.kill",
    "\0AQ==",
    "\0",
    "x" * 1000,
    [],
    [[]],
    {},
    {"a": {}},
    [None, {"a": [1.5, "ä", "\u2028"]}],
]


class Witnesses:
    """Innocent sessions of every serializer."""

    def __init__(self, router: TestRouter) -> None:
        self.router = router
        self.lines = [router.join(serializer=name) for name in SERIALIZERS]
        for line in self.lines:
            line.register("com.example.add", invoke="roundrobin")
            for topic in ("com.", "wamp."):
                line.subscribe(topic, match="prefix")
                line.take_all()
        self.check()

    def check(self) -> None:
        """Check that they have received no invalid message and are still served."""
        for line in self.lines:
            assert line.closed is None, "an innocent session was cut off"
            serializer = get_serializer(line.serializer)
            for data in line.raw:
                message: t.Any = serializer.decode(data)
                if hasattr(message, "raw_args"):
                    message.decode_payload()
            line.raw.clear()
            line.inbox.clear()
            count = line.ask("wamp.session.count")
            assert count >= len(self.lines)
            line.raw.clear()
            line.inbox.clear()
        assert not self.router.counters.get("failures"), "a message was not handled"


def wrong_in_every_field() -> t.Iterator[list[t.Any]]:
    """Every message with every field and option replaced by an invalid value, removed, or added."""
    for message in MESSAGES:
        for at in range(len(message)):
            yield message[:at]
            for value in ODD:
                yield [*message[:at], value, *message[at + 1 :]]
            if isinstance(message[at], dict):
                for name in message[at]:
                    for value in ODD:
                        details = {**message[at], name: value}
                        yield [*message[:at], details, *message[at + 1 :]]
        yield [*message, None]
        yield [*message, *ODD]


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("when", ["connected", "joined"])
def test_messages_with_each_field_invalid(router: TestRouter, serializer: str, when: str) -> None:
    witnesses = Witnesses(router)
    for number, message in enumerate(wrong_in_every_field()):
        line = router.connect(serializer)
        if when == "joined":
            line.hello()
            line.take_all()
        line.send(*message)
        if number % 50 == 0:
            witnesses.check()
        line.send(*message)
        line.lose()
    witnesses.check()
    assert router.sessions == {line.session for line in witnesses.lines}
    assert list(router.realms) == ["realm1"]


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_answers_with_each_field_invalid(router: TestRouter, serializer: str) -> None:
    """A callee with a real invocation."""
    caller = router.join(serializer="json")
    witnesses = Witnesses(router)
    for message in wrong_in_every_field():
        if message[:1] not in ([YIELD], [ERROR]):
            continue
        line = router.join(serializer=serializer)
        line.register("com.example.hostile")
        caller.call("com.example.hostile", receive_progress=True)
        line.send(*message)
        line.lose()
        answers = caller.take_all()
        finals = [each for each in answers if each[0] == ERROR or not each[2].get("progress")]
        assert len(finals) == 1, (message, answers)
        assert caller.closed is None and not caller.session.calls
    witnesses.check()


@pytest.mark.parametrize("serializer", SERIALIZERS)
@pytest.mark.parametrize("depth", [90, 150, 500, 100_000])
def test_payloads_nested_deeply(router: TestRouter, serializer: str, depth: int) -> None:
    witnesses = Witnesses(router)
    data = {
        "json": b'[16,1,{},"com.example.news",' + b"[" * depth + b"1" + b"]" * depth + b"]",
        "msgpack": b"\x95\x10\x01\x80\xb0com.example.news" + b"\x91" * depth + b"\x01",
        "cbor": b"\x85\x10\x01\xa0\x70com.example.news" + b"\x81" * depth + b"\x01",
    }[serializer]
    router.join(serializer=serializer).send_bytes(data)
    for witness in witnesses.lines:
        assert witness.closed is None
        # The receiver checks payloads that are forwarded undecoded. They fail only their message.
        for data in witness.raw:
            get_serializer(witness.serializer).decode(data)
        witness.raw.clear()
        witness.inbox.clear()
    witnesses.check()


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(SERIALIZERS),
    st.sampled_from(MESSAGES),
    st.integers(0, 2**32),
    st.integers(1, 4),
)
def test_messages_with_changed_bytes(
    serializer: str, message: list[t.Any], seed: int, changes: int
) -> None:
    router = TestRouter()
    witnesses = Witnesses(router)
    random_ = random.Random(seed)
    data = bytearray(encode(serializer, message))
    for _ in range(changes):
        at = random_.randrange(len(data) + 1)
        what = random_.randrange(3)
        if what == 0:
            data[at:at] = bytes([random_.randrange(256)])
        elif what == 1:
            del data[at : at + random_.randrange(1, 4)]
        elif at < len(data):
            data[at] = random_.randrange(256)
    for joins in (True, False):
        line = router.connect(serializer)
        if joins:
            line.hello()
            line.take_all()
        line.send_bytes(bytes(data))
        line.lose()
    for witness in witnesses.lines:
        assert witness.closed is None
        for each in witness.raw:
            get_serializer(witness.serializer).decode(each)
        witness.raw.clear()
        witness.inbox.clear()
    witnesses.check()


# Sizes at limits, and floods.


@pytest.mark.parametrize("serializer", SERIALIZERS)
def test_messages_of_the_largest_size_pass(
    make_router: t.Callable[..., TestRouter], serializer: str
) -> None:
    limit = 200_000
    router = make_router(max_message_size=limit)
    lines = [router.join(serializer=name, max_message_size=2 * limit) for name in SERIALIZERS]
    for line in lines:
        line.subscribe("com.example.news")
    publisher = router.join(serializer=serializer)
    empty = len(encode(serializer, [PUBLISH, 1, {}, "com.example.news", ["x" * 70_000]]))
    fits = "x" * (70_000 + limit - empty)
    publisher.publish("com.example.news", [fits])
    assert [line.take_last()[4] for line in lines] == [[fits]] * 3
    publisher.publish("com.example.news", [fits + "x"])
    assert publisher.closed is False
    assert not any(line.inbox for line in lines)


def test_a_flood_of_requests_is_limited(make_router: t.Callable[..., TestRouter]) -> None:
    router = make_router(
        max_registrations=10,
        max_subscriptions=10,
        max_pending_calls=10,
        max_testaments=10,
        max_retained=10,
    )
    callee, line = router.join(), router.join()
    callee.register("com.example.add")
    for number in range(200):
        line.request(REGISTER, {}, f"com.example.p{number}")
        line.request(SUBSCRIBE, {}, f"com.example.t{number}")
        line.call("com.example.add", timeout=60_000)
        line.call("wamp.session.add_testament", [f"com.example.t{number}"])
        line.publish(f"com.example.t{number}", retain=True)
    session, [realm] = line.session, router.realms.values()
    assert len(session.registrations) == len(session.subscriptions) == len(session.calls) == 10
    assert len(realm.broker.retained) == 10
    assert sum(map(len, session.testaments.values())) == 10
    assert len(router.timers) == 10
    line.lose()
    assert len(router.timers) == 0


def test_timers_of_answered_calls_do_not_pile_up(router: TestRouter) -> None:
    caller, callee = router.join(), router.join()
    callee.register("com.example.add")
    for number in itertools.islice(itertools.count(1), 5000):
        caller.call("com.example.add", timeout=60_000)
        callee.send(YIELD, number, {})
    assert len(router.timers) == 0
    assert len(router.timers._heap) < 2500


def test_a_session_that_joins_and_leaves_repeatedly(router: TestRouter) -> None:
    line = router.connect()
    for _ in range(500):
        line.hello()
        line.send(GOODBYE, {}, "wamp.close.close_realm")
        line.take_all()
    assert len(router.timers) == 1
    assert len(router.timers._heap) < 2500
    assert not router.realms


def test_an_answer_never_reaches_the_call_of_another_session(router: TestRouter) -> None:
    victim, callee, thief = router.join(), router.join(), router.join()
    callee.register("com.example.add")
    victim.call("com.example.add")
    thief.send(YIELD, 1, {}, ["forged"])
    assert thief.closed is False and not victim.inbox
    callee.send(YIELD, 1, {}, ["true"])
    assert victim.take_last() == [RESULT, 1, {}, ["true"]]
