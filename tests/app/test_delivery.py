"""``delivery="one"`` step by step: waiting events, the window, taking over and handing over."""

from __future__ import annotations

import collections
import contextlib
import queue
import threading
import time
import typing as t

import pytest

from flask_wamp import ApplicationError, FlaskWAMP
from flask_wamp.coordination.delivery import Delivery
from flask_wamp.coordination.forwarder import WINDOW, read_event, sign_event
from flask_wamp.coordination.signing import Signer
from flask_wamp.protocol import error_uris
from flask_wamp.protocol import messages as m
from flask_wamp.protocol.uris import COUNT_CALLEES, as_parts, own_prefix
from tests.app.conftest import Serve
from tests.conftest import eventually
from tests.support.memory import TIMEOUT, Held, MemoryRouter
from tests.support.memory_transport import MemoryTransport

TOPIC = "com.example.a"
OWN = "com.example.flask_wamp"
DELIVER = f"{OWN}.deliver.exact.{TOPIC}"
HANDOVER = f"{OWN}.handover.exact.{TOPIC}"


class Sink:
    """The procedure that gets the forwarded events. The test answers its calls."""

    def __init__(self, router: MemoryRouter) -> None:
        self._held = router.hold(DELIVER)

    def next(self) -> tuple[int, Held]:
        """Return the number in the next forwarded event, and its call."""
        held = self._held.get(timeout=TIMEOUT)
        return read_event(Signer(), DELIVER, held.message.args).args[0], held

    def handle(self, count: int) -> list[int]:
        """Handle some events. Return their numbers."""
        numbers = []
        for _ in range(count):
            number, held = self.next()
            held.answer()
            numbers.append(number)
        return numbers

    @property
    def empty(self) -> bool:
        return self._held.empty()


@pytest.fixture
def sink(router: MemoryRouter) -> Sink:
    router.register(COUNT_CALLEES, lambda number: 1)
    return Sink(router)


def subscribe(wamp: FlaskWAMP) -> None:
    wamp.subscriber(".a", delivery="one")(lambda number: None)


@pytest.fixture
def wamp(serve: Serve, router: MemoryRouter, sink: Sink) -> FlaskWAMP:
    """An app that forwards events."""
    _, wamp = serve(subscribe)
    eventually(lambda: TOPIC in router.topics)
    return wamp


def delivery(wamp: FlaskWAMP) -> Delivery:
    (declaration,) = wamp.client.declarations
    return t.cast(Delivery, declaration)


# The queue and the window.


def test_no_more_events_are_forwarded_at_once_than_the_window_allows(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink
) -> None:
    for number in range(WINDOW + 2):
        router.publish(TOPIC, number)
    calls = [sink.next() for _ in range(WINDOW)]
    assert [number for number, _ in calls] == list(range(WINDOW))
    assert sink.empty
    calls[5][1].answer()
    assert sink.next()[0] == WINDOW
    assert sink.empty
    for _, held in calls:
        held.answer()
    assert sink.next()[0] == WINDOW + 1


@pytest.mark.parametrize("uri", [error_uris.UNAVAILABLE, "wamp.error.no_such_procedure"])
def test_an_event_that_no_member_has_started_is_forwarded_again(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink, uri: str
) -> None:
    router.publish(TOPIC, 1)
    sink.next()[1].fail(uri)
    assert sink.handle(1) == [1]


def test_pauses_grow_while_no_member_takes_an_event(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    peer = wamp.client.peer
    assert peer is not None
    pauses: list[float] = []
    call_at = peer.call_at

    def soon(deadline: float, function: t.Callable[[], None]) -> t.Any:
        pauses.append(deadline - time.monotonic())
        return call_at(time.monotonic(), function)

    monkeypatch.setattr(peer, "call_at", soon)
    router.publish(TOPIC, 1)
    for _ in range(10):
        sink.next()[1].fail("wamp.error.no_such_procedure")
    assert sink.handle(1) == [1]
    assert pauses[0] <= 0.05
    assert all(after > before for before, after in zip(pauses[::2], pauses[2:6:2], strict=False))
    assert 0.9 < pauses[9] <= 2.0


def test_event_that_may_have_been_handled_is_not_forwarded_again(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    router.publish(TOPIC, 1)
    sink.next()[1].fail("wamp.error.canceled", "the callee is gone")
    router.publish(TOPIC, 2)
    assert sink.handle(1) == [2]
    eventually(lambda: "1 forwarded events of com.example.a may not" in caplog.text)
    assert sink.empty


def test_an_event_that_cannot_be_forwarded_does_not_block_the_next_one(
    serve: Serve, router: MemoryRouter, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    serve(subscribe, WAMP_MAX_MESSAGE_SIZE=4096)
    eventually(lambda: TOPIC in router.topics)
    router.publish(TOPIC, 1, "x" * 3990)  # below the limit, and above it in its envelope
    router.publish(TOPIC, 2)
    assert sink.handle(1) == [2]
    assert "it cannot be forwarded" in caplog.text


def test_values_that_only_some_serializers_support_are_forwarded(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink
) -> None:
    """Signed messages have their own encoding, independent of the connection's serializer."""
    deep: list[t.Any] = []
    for _ in range(99):
        deep = [deep]
    router.publish(TOPIC, 1, deep, b"\x00\xff")
    assert sink.handle(1) == [1]
    odd = m.Event(1, 2, {}, [2**70, "\ud800"])
    assert read_event(SIGNER, DELIVER, sign_event(SIGNER, DELIVER, odd)).args == odd.args


def test_waiting_events_outlive_the_session(
    wamp: FlaskWAMP, router: MemoryRouter, sink: Sink
) -> None:
    for number in range(WINDOW + 3):
        router.publish(TOPIC, number)
    for _ in range(WINDOW):
        sink.next()
    router.drop()
    assert sink.handle(3) == [WINDOW, WINDOW + 1, WINDOW + 2]  # running ones may have been handled
    eventually(lambda: TOPIC in router.topics)
    router.publish(TOPIC, 1000)
    assert sink.handle(1) == [1000]


# Taking over.


def taken(*publications: int) -> list[bytes]:
    """Return the answer of a predecessor that has handled these events since it released the lease."""
    return Signer().sign_now(f"{HANDOVER}:taken", list(publications))


def take_over(serve: Serve, router: MemoryRouter) -> Held:
    """Let an app take over from the test. Return its call to the predecessor."""
    question = router.hold(HANDOVER)
    serve(subscribe)
    return question.get(timeout=TIMEOUT)


def test_events_of_the_predecessor_are_skipped(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    question = take_over(serve, router)
    publications = [router.publish(TOPIC, number) for number in range(6)]
    assert sink.empty
    question.answer(*taken(publications[0], publications[1], 12345))
    assert sink.handle(4) == [2, 3, 4, 5]
    router.publish(TOPIC, 6)
    assert sink.handle(1) == [6]


def test_all_events_are_forwarded_after_the_predecessor_was_killed(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    question = take_over(serve, router)
    for number in range(3):
        router.publish(TOPIC, number)
    question.fail("wamp.error.canceled")
    assert sink.handle(3) == [0, 1, 2]


@pytest.mark.parametrize(("predecessor", "expected"), [(True, [2]), (False, [1, 2])])
def test_a_retained_event_is_not_handled_again_by_a_successor(
    serve: Serve, router: MemoryRouter, sink: Sink, predecessor: bool, expected: list[int]
) -> None:
    question = router.hold(HANDOVER)
    _, wamp = serve(subscribe)
    held = question.get(timeout=TIMEOUT)
    number = delivery(wamp).subscription.id
    assert number is not None
    router.send(m.Event(number, 77, {"retained": True}, [1]))
    router.publish(TOPIC, 2)
    if predecessor:
        held.answer(*taken())
    else:
        held.fail("wamp.error.no_such_procedure")
    assert sink.handle(len(expected)) == expected


def test_events_of_the_predecessor_are_skipped_if_they_arrive_later(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    """The router may send the same publication to both, to the successor last."""
    question = router.hold(HANDOVER)
    _, wamp = serve(subscribe)
    held = question.get(timeout=TIMEOUT)
    number = delivery(wamp).subscription.id
    assert number is not None
    held.answer(*taken(4711))
    router.publish(TOPIC, 1)
    assert sink.handle(1) == [1]  # it has the answer
    router.send(m.Event(number, 4711, {}, [2]))
    router.publish(TOPIC, 3)
    assert sink.handle(1) == [3]


def test_a_predecessor_that_does_not_answer_does_not_block_events(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    question = router.hold(HANDOVER)
    serve(subscribe, WAMP_CALL_TIMEOUT=0.2)
    question.get(timeout=TIMEOUT)  # and no answer
    for number in range(3):
        router.publish(TOPIC, number)
    assert sink.handle(3) == [0, 1, 2]


def test_a_forged_answer_of_a_predecessor_skips_no_events(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    question = router.hold(HANDOVER)
    _, wamp = serve(subscribe, SECRET_KEY="mine")
    held = question.get(timeout=TIMEOUT)
    publication = router.publish(TOPIC, 1)
    held.answer(*taken(publication))  # signed with no key
    forwarded = router.hold(DELIVER).get(timeout=TIMEOUT)
    signer = Signer(lambda: [b"mine"])
    assert read_event(signer, DELIVER, forwarded.message.args).args == [1]
    forwarded.answer()


def test_taking_over_continues_after_a_lost_session(
    serve: Serve, router: MemoryRouter, sink: Sink
) -> None:
    take_over(serve, router)
    router.publish(TOPIC, 1)  # the predecessor may have handled it
    question = router.hold(HANDOVER)
    router.drop()
    question.get(timeout=TIMEOUT).fail("wamp.error.no_such_procedure")
    router.publish(TOPIC, 2)
    assert sink.handle(1) == [2]


def test_a_session_that_is_lost_while_it_takes_over_has_refused_nothing(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    asked = threading.Event()

    def say_nothing(transport: MemoryTransport, message: m.Message) -> bool:
        if isinstance(message, m.Subscribe) and message.topic == TOPIC:
            asked.set()
            return True
        return False

    router.script = say_nothing
    _, wamp = serve(subscribe)
    assert asked.wait(TIMEOUT)
    router.give_up()
    eventually(lambda: wamp.client.session_id is None)
    eventually(lambda: wamp.health()["in_hand"] == {"running": 0, "waiting": 0})
    assert delivery(wamp).refused is None
    assert "is not delivered by this process" not in caplog.text


def test_a_refused_topic_is_logged_and_shown_in_health(
    serve: Serve, router: MemoryRouter, caplog: pytest.LogCaptureFixture
) -> None:
    router.refuse(TOPIC)
    _, wamp = serve(subscribe)
    said = "cannot deliver events of com.example.a: wamp.error.not_authorized"
    eventually(lambda: said in caplog.text)
    assert wamp.health()["topics"]["refused"] == {TOPIC: "wamp.error.not_authorized: 'not today'"}


@pytest.mark.parametrize("how", ["refused", "unanswered"])
def test_member_that_cannot_subscribe_gives_up_the_lease(
    serve: Serve,
    router: MemoryRouter,
    sink: Sink,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    lease = f"{OWN}.lease.deliver.exact.{TOPIC}"
    first: list[object] = []

    def refuse_first(transport: MemoryTransport, message: m.Message) -> bool:
        if not isinstance(message, m.Subscribe) or message.topic != TOPIC:
            return False
        if transport not in (first or [transport]):
            return False
        first[:] = [transport]
        if how == "refused":
            code = m.code(m.Subscribe)
            transport.put(m.Error(code, message.request_id, {}, error_uris.NOT_AUTHORIZED))
        return True

    router.script = refuse_first
    serve(subscribe, WAMP_CALL_TIMEOUT=0.2)
    eventually(lambda: "cannot deliver events of" in caplog.text)
    serve(subscribe)
    eventually(lambda: TOPIC in router.topics)
    assert lease in router.procedures
    router.publish(TOPIC, 1)
    assert sink.handle(1) == [1]


def test_member_that_could_not_subscribe_tries_again(
    serve: Serve, router: MemoryRouter, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    router.refuse(TOPIC)
    _, wamp = serve(subscribe)
    eventually(lambda: "cannot deliver events of" in caplog.text)
    router.refused.discard(TOPIC)
    eventually(lambda: TOPIC in router.topics)
    router.publish(TOPIC, 1)
    assert sink.handle(1) == [1]
    assert wamp.health()["topics"]["refused"] == {}


def test_member_that_unsubscribed_without_a_session_does_not_take_over(
    wamp: FlaskWAMP, router: MemoryRouter
) -> None:
    router.down = True
    router.drop()
    eventually(lambda: not wamp.client.joined)
    wamp.client.unsubscribe(TOPIC)
    router.down = False
    wamp.client.wait_until_joined(TIMEOUT)
    wamp.subscriber(".b", delivery="one")(lambda: None)
    eventually(lambda: "com.example.b" in router.topics)
    assert TOPIC not in router.topics


# Handing over, between two apps that stand for two processes.


@pytest.fixture
def callees(router: MemoryRouter) -> t.Iterator[list[int]]:
    """The number of members of the app that the router counts."""
    count = [2]
    router.register(COUNT_CALLEES, lambda number: count[0])
    yield count
    count[0] = 1  # the members are stopped one after the other


@pytest.fixture
def seen() -> queue.SimpleQueue[tuple[str, int]]:
    return queue.SimpleQueue()


@pytest.fixture
def two(
    serve: Serve,
    router: MemoryRouter,
    callees: list[int],
    seen: queue.SimpleQueue[tuple[str, int]],
) -> list[FlaskWAMP]:
    """Two members of an app; the first one forwards."""

    def make(name: str) -> FlaskWAMP:
        def setup(wamp: FlaskWAMP) -> None:
            wamp.subscriber(".a", delivery="one")(lambda number: seen.put((name, number)))

        _, wamp = serve(setup)
        return wamp

    members = [make("first")]
    eventually(lambda: TOPIC in router.topics)
    return [*members, make("second")]


def test_a_member_that_leaves_hands_over_the_lease(
    two: list[FlaskWAMP], router: MemoryRouter, seen: queue.SimpleQueue[tuple[str, int]]
) -> None:
    published = 0
    stopping = threading.Thread(target=two[0].stop)
    for _ in range(20):
        router.publish(TOPIC, published)
        published += 1
    stopping.start()
    while stopping.is_alive():
        router.publish(TOPIC, published)
        published += 1
        stopping.join(0.001)
    router.publish(TOPIC, published)
    published += 1
    handled = [seen.get(timeout=TIMEOUT) for _ in range(published)]
    assert collections.Counter(number for _, number in handled) == dict.fromkeys(
        range(published), 1
    )
    assert {name for name, _ in handled} == {"first", "second"}
    assert handled[-1][0] == "second"


def test_a_member_that_leaves_returns_events_that_it_has_not_started(
    serve: Serve, router: MemoryRouter, callees: list[int]
) -> None:
    gate, began = threading.Event(), threading.Event()
    seen: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()

    def slow(number: int) -> None:
        began.set()
        assert gate.wait(TIMEOUT)
        seen.put(("slow", number))

    serve(
        lambda wamp: wamp.subscriber(".a", delivery="one")(
            lambda number: seen.put(("fast", number))
        )
    )
    eventually(lambda: TOPIC in router.topics)
    _, second = serve(lambda wamp: wamp.subscriber(".a", delivery="one")(slow))
    for number in range(10):
        router.publish(TOPIC, number)
    assert began.wait(TIMEOUT)
    stopping = threading.Thread(target=second.stop)
    stopping.start()
    eventually(lambda: delivery(second).pass_on is not None)
    gate.set()
    stopping.join(TIMEOUT)
    handled = [seen.get(timeout=TIMEOUT) for _ in range(10)]
    assert sorted(number for _, number in handled) == list(range(10))
    assert [name for name, _ in handled].count("slow") == 1


def test_member_without_a_registration_hands_over_too(
    serve: Serve, router: MemoryRouter, callees: list[int]
) -> None:
    """The router refused its registration. It still forwards events: it cannot ask for other members."""
    seen: queue.SimpleQueue[int] = queue.SimpleQueue()
    first: list[object] = []

    def refuse_first(transport: MemoryTransport, message: m.Message) -> bool:
        if not isinstance(message, m.Register) or message.procedure != DELIVER:
            return False
        if transport not in (first or [transport]):
            return False
        first[:] = [transport]
        code = m.code(m.Register)
        transport.put(m.Error(code, message.request_id, {}, error_uris.NOT_AUTHORIZED))
        return True

    router.script = refuse_first

    def setup(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".a", delivery="one")(lambda number: seen.put(number))

    _, leaving = serve(setup)
    eventually(lambda: TOPIC in router.topics)
    serve(setup)
    assert delivery(leaving).id is None
    published = 0
    stopping = threading.Thread(target=leaving.stop)
    stopping.start()
    while stopping.is_alive():
        router.publish(TOPIC, published)
        published += 1
        stopping.join(0.001)
    router.publish(TOPIC, published)
    handled = sorted(seen.get(timeout=TIMEOUT) for _ in range(published + 1))
    assert handled == list(range(published + 1))


# Forgeries: any session that may call and publish below the app's prefix.


@pytest.fixture
def signed(serve: Serve, router: MemoryRouter) -> tuple[FlaskWAMP, list[int]]:
    """An app with a key, and the events of its subscriber."""
    router.register(COUNT_CALLEES, lambda number: 1)
    got: list[int] = []
    _, wamp = serve(
        lambda wamp: wamp.subscriber(".a", delivery="one")(lambda number: got.append(number)),
        SECRET_KEY="secret",
    )
    eventually(lambda: TOPIC in router.topics)
    return wamp, got


SIGNER = Signer(lambda: [b"secret"])
EVENT = m.Event(1, 2, {"publisher_authid": "admin"}, [666])

FORGERIES = {
    "unsigned": [1, 2, {"publisher_authid": "admin"}, [666], {}],
    "no key": sign_event(Signer(), DELIVER, EVENT),
    "another key": sign_event(Signer(lambda: [b"guessed"]), DELIVER, EVENT),
    "another purpose": SIGNER.sign(f"{DELIVER}:state", [1, 2, {}, [666], {}]),
    "another topic": sign_event(SIGNER, DELIVER + ".b", EVENT),
    "changed": [
        sign_event(SIGNER, DELIVER, EVENT)[0] + b"\x00",
        *sign_event(SIGNER, DELIVER, EVENT)[1:],
    ],
    "text": ["data", "digest"],
    "nothing": [],
    "no event": SIGNER.sign(f"{DELIVER}:event", {"a": 1}),
    "half an event": SIGNER.sign(f"{DELIVER}:event", [1]),
}


@pytest.mark.parametrize("kind", FORGERIES)
def test_a_forged_event_is_refused(
    signed: tuple[FlaskWAMP, list[int]], router: MemoryRouter, kind: str
) -> None:
    _, got = signed
    with pytest.raises(ApplicationError) as refused:
        router.call(DELIVER, *FORGERIES[kind])
    assert refused.value.uri == error_uris.NOT_AUTHORIZED
    router.publish(TOPIC, 1)
    eventually(lambda: got == [1])


def test_an_old_key_is_accepted_while_it_is_being_replaced(
    serve: Serve, router: MemoryRouter
) -> None:
    got: list[int] = []
    config = {"SECRET_KEY": "new", "SECRET_KEY_FALLBACKS": ["secret"]}
    _, wamp = serve(
        lambda wamp: wamp.subscriber(".a", delivery="one")(lambda number: got.append(number)),
        **config,
    )
    assert router.invoke(DELIVER, *sign_event(SIGNER, DELIVER, EVENT)).result(TIMEOUT).args == []
    assert got == [666]


def test_outsiders_cannot_make_a_holder_hand_over(
    two: list[FlaskWAMP], router: MemoryRouter, seen: queue.SimpleQueue[tuple[str, int]]
) -> None:
    forged = [
        [],
        SIGNER.sign_now(f"{HANDOVER}:ask", None),
        Signer().sign(f"{HANDOVER}:ask", [0.0, None]),  # long ago
        Signer().sign(f"{HANDOVER}:ask", [float("nan"), None]),
    ]
    stopping = threading.Thread(target=two[0].stop)
    lease = f"{OWN}.lease.deliver.exact.{TOPIC}"
    router.refuse(lease)  # so that the second cannot take over yet
    stopping.start()
    eventually(lambda: HANDOVER in router.procedures)
    for message in forged:
        with pytest.raises(ApplicationError) as refused:
            router.call(HANDOVER, *message)
        assert refused.value.uri == error_uris.NOT_AUTHORIZED
    router.publish(TOPIC, 1)
    assert seen.get(timeout=TIMEOUT)[1] == 1  # it still receives them
    router.refused.discard(lease)
    stopping.join(TIMEOUT)


# URIs.


@pytest.mark.parametrize(
    ("prefix", "name", "own"),
    [
        ("com.example", "shop", "com.example.flask_wamp"),
        (None, "my-shop.web", "my_shop_web.flask_wamp"),
        (None, "__main__", "main.flask_wamp"),
        (None, "-", "app.flask_wamp"),
    ],
)
def test_own_uris_are_below_the_prefix_or_the_app_name(
    prefix: str | None, name: str, own: str
) -> None:
    assert own_prefix(prefix, name) == own


def test_patterns_become_different_parts_of_uris() -> None:
    patterns = ["com..x", "com._.x", "com.__.x", "com.x", "com.x.", ".x", "_.x"]
    parts = [as_parts(pattern) for pattern in patterns]
    assert len(set(parts)) == len(patterns)
    assert as_parts("com.my_shop.on_order") == "com.my_shop.on_order"
    assert all(all(part.split(".")) for part in parts)


@pytest.mark.parametrize("first", [error_uris.NO_SUCH_PROCEDURE, error_uris.UNAVAILABLE])
def test_the_last_process_handles_what_no_other_one_accepts(
    serve: Serve, router: MemoryRouter, sink: Sink, first: str
) -> None:
    handled: list[int] = []

    def declare(wamp: FlaskWAMP) -> None:
        wamp.subscriber(".a", delivery="one")(lambda number: handled.append(number))

    _, wamp = serve(declare)
    eventually(lambda: TOPIC in router.topics)
    router.publish(TOPIC, 1)
    call = sink.next()[1]
    leaving = threading.Thread(target=wamp.stop)
    leaving.start()
    eventually(lambda: TOPIC not in router.topics)
    call.fail(first)  # UNAVAILABLE: by a process that is leaving too
    while leaving.is_alive():
        with contextlib.suppress(queue.Empty):
            sink._held.get(timeout=0.05).fail(error_uris.NO_SUCH_PROCEDURE)
    assert handled == [1]


# The app's own events.


@pytest.mark.parametrize("topic", [TOPIC, "com.example.a.b"])
@pytest.mark.parametrize("best_effort", [False, True])
def test_a_process_handles_its_own_events(
    serve: Serve, router: MemoryRouter, topic: str, best_effort: bool
) -> None:
    handled: queue.Queue[int] = queue.Queue()

    def setup(wamp: FlaskWAMP) -> None:
        match: t.Any = "exact" if topic == TOPIC else "prefix"
        wamp.subscriber(TOPIC, delivery="one", match=match)(lambda n: handled.put(n))

    client = serve(setup)[1].client
    eventually(lambda: TOPIC in router.topics)
    client.with_options(exclude_me=True).publish(topic, 1)
    client.publish("com.example.elsewhere", 2)
    client.with_options(best_effort=best_effort).publish(topic, 3)
    assert handled.get(timeout=TIMEOUT) == 3
    sent = [
        each.options
        for each in router.sent(m.Publish)
        if each.topic in (topic, "com.example.elsewhere")
    ]
    assert sent == [{"exclude_me": True}, {}, {"exclude_me": False}]


def test_own_events_are_excluded_again_without_a_subscriber(
    serve: Serve, router: MemoryRouter
) -> None:
    client = serve()[1].client
    client.subscribe(lambda n: None, TOPIC, delivery="one")
    client.publish(TOPIC, 1)
    client.unsubscribe(TOPIC)
    client.publish(TOPIC, 2)
    eventually(lambda: len([e for e in router.sent(m.Publish) if e.topic == TOPIC]) == 2)
    sent = [each.options for each in router.sent(m.Publish) if each.topic == TOPIC]
    assert sent == [{"exclude_me": False}, {}]


def test_the_log_counts_what_the_app_declares(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "flask_wamp")

    def setup(wamp: FlaskWAMP) -> None:
        wamp.callee(".sum")(lambda: None)
        wamp.subscriber(TOPIC, delivery="one")(lambda n: None)
        wamp.authorizer(lambda identity, action, uri, options: None)

    serve(setup, WAMP_AUTHID="app")
    eventually(lambda: "joined realm" in caplog.text)
    assert caplog.text.split("joined realm")[1].strip().endswith(": 1 procedure and 1 topic")
